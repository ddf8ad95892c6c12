//! Why a hook takes no program, in words.

use aya::programs::ProgramError;

use crate::{load::LoadError, netlink::NetlinkError};

/// Why a hook did not take a program.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The kernel refused it, with an error number.
    #[error("{errno} ({words})", errno = name_of(*errno), words = words_for(*errno))]
    Kernel {
        /// Number of the error, as in `errno(3)`.
        errno: i32,
    },
    /// aya refused it, without an error number of the kernel.
    #[error(transparent)]
    Program(Box<ProgramError>),
    /// A system call failed without an error number.
    #[error(transparent)]
    Io(std::io::Error),
    /// The qdiscs of the link cannot be listed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A filter for sent packets there would be given the received ones.
    #[error(
        "the interface has a qdisc {kind} in the place of clsact: replace it, `tc qdisc replace dev \
         {interface} clsact`"
    )]
    OtherQdisc {
        /// Kind of the qdisc.
        kind: String,
        /// Name of the link.
        interface: String,
    },
    /// Filters are put on a link by its name.
    #[error(
        "its name is no plain text, and filters need one: give the link another name (`ip link set`)"
    )]
    OddName,
    /// The kernel was built without clsact.
    #[error("the kernel has no clsact qdisc (CONFIG_NET_CLS_ACT, CONFIG_NET_SCH_INGRESS)")]
    NoClsact,
    /// The attachment would stay after a kill of the agent.
    #[error("the kernel has no bpf_link for it, and it would outlive the agent")]
    NoBpfLink,
    /// The program cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl From<ProgramError> for Refusal {
    fn from(error: ProgramError) -> Self {
        let errno = match &error {
            ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
            ProgramError::IOError(error) => error.raw_os_error(),
            ProgramError::NetlinkError(error) => error.raw_os_error(),
            ProgramError::XdpError(aya::programs::xdp::XdpError::NetlinkError(error))
            | ProgramError::TcError(aya::programs::tc::TcError::NetlinkError(error)) => {
                error.raw_os_error()
            }
            ProgramError::TcError(aya::programs::tc::TcError::IoError(error)) => {
                error.raw_os_error()
            }
            _ => None,
        };
        match errno {
            Some(errno) => Self::Kernel { errno },
            None => Self::Program(Box::new(error)),
        }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::Kernel { errno },
            None => Self::Io(error),
        }
    }
}

fn name_of(errno: i32) -> String {
    match errno {
        libc::EOPNOTSUPP => "EOPNOTSUPP".to_owned(),
        libc::EBUSY => "EBUSY".to_owned(),
        libc::EEXIST => "EEXIST".to_owned(),
        libc::EINVAL => "EINVAL".to_owned(),
        libc::ENODEV => "ENODEV".to_owned(),
        libc::EPERM => "EPERM".to_owned(),
        libc::ENOMEM => "ENOMEM".to_owned(),
        libc::EMFILE => "EMFILE".to_owned(),
        other => format!("errno {other}"),
    }
}

fn words_for(errno: i32) -> String {
    match errno {
        libc::EOPNOTSUPP => "the driver cannot do it".to_owned(),
        libc::EBUSY | libc::EEXIST => "another program is attached there".to_owned(),
        libc::EINVAL => "kernel or driver cannot do it with these settings".to_owned(),
        libc::ENODEV => "the interface is gone".to_owned(),
        libc::EPERM => "CAP_NET_ADMIN is missing".to_owned(),
        libc::EMFILE => {
            "the agent may open no more files: raise the hard limit, LimitNOFILE= or `ulimit -Hn`"
                .to_owned()
        }
        libc::ENOMEM => "the driver has no queues or memory left for it".to_owned(),
        other => std::io::Error::from_raw_os_error(other).to_string(),
    }
}
