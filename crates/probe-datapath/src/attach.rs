//! Attaching to one interface: which hooks are tried, in which order, and why.

mod check;
mod tc;
mod xdp;

use aya::{programs::ProgramError, util::KernelVersion};
use probe_common::control::{MAX_INTERFACES, programs};

pub use self::check::{CheckError, reattach};
pub use self::tc::tcx_programs;
use self::tc::{TcDirection, TcHook};
use super::{
    link::{Link, LinkHeader},
    load::{LoadError, Object, kernel_version},
    netlink::NetlinkError,
    promisc::PromiscuousError,
};
use probe_capture::{
    interface::{Hook, InterfaceConfig},
    source::Attachment,
};

/// XDP got bpf_link in 5.9 (commit aa8d3a716b59). Before, an attachment would outlive the agent.
const XDP_LINK_KERNEL: KernelVersion = KernelVersion::new(5, 9, 0);

/// A hook that sees received packets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HookCandidate {
    /// XDP in the driver.
    XdpNative,
    /// XDP in the network stack.
    XdpGeneric,
    /// TCX: a TC program held by a bpf_link, since 6.6.
    Tcx,
    /// TC by a filter on the clsact qdisc.
    Clsact,
}

impl HookCandidate {
    /// Name in the log, the status and the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::XdpNative => "xdp-native",
            Self::XdpGeneric => "xdp-generic",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }

    const fn is_xdp(self) -> bool {
        matches!(self, Self::XdpNative | Self::XdpGeneric)
    }
}

/// One step of the plan for an interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HookAttempt {
    /// The hook is tried; the first that works is used.
    Try(HookCandidate),
    /// The hook is left out, for this reason.
    Skip(HookCandidate, &'static str),
}

/// Holds an interface's programs attached until it is dropped.
#[derive(Debug)]
pub struct Attached {
    ingress: Hooked<IngressHook>,
    egress: Hooked<TcHook>,
}

/// One of our programs at one hook.
#[derive(Debug)]
struct Hooked<H> {
    candidate: HookCandidate,
    /// The program, by the kernel's number.
    program: u32,
    /// Detaches the program when it is dropped. Nothing since the program was lost.
    hook: Option<H>,
}

#[derive(Debug)]
enum IngressHook {
    Xdp(#[expect(dead_code, reason = "held for its drop")] xdp::XdpHook),
    Tc(TcHook),
}

/// Why an interface cannot be captured.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// It has a slot of the counters and programs at its hooks.
    #[error("it is captured already: detach and release it first")]
    AlreadyCaptured,
    /// It was never attached, or was detached.
    #[error("it is not captured")]
    NotCaptured,
    /// The link was removed.
    #[error("it is gone")]
    Gone,
    /// As many interfaces are captured as the object was loaded for.
    #[error(
        "all {slots} interface slots are taken: restart the agent after adding many interfaces by \
         name; {MAX_INTERFACES} are the most"
    )]
    NoSlot {
        /// Slots that the object was loaded with.
        slots: usize,
    },
    /// The kernel does not tell what the link is.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// It cannot be put into promiscuous mode, which its settings ask for.
    #[error(transparent)]
    Promiscuous(#[from] PromiscuousError),
    /// Its frames start with something that the parser does not know.
    #[error(
        "its frames have link headers of type {arphrd} (ARPHRD), which are not supported: capture \
         the device above or below it"
    )]
    UnknownHeader {
        /// Hardware type of the link, an `ARPHRD_` number of linux/if_arp.h.
        arphrd: u16,
    },
    /// Nothing that was tried, or was allowed to be tried, worked.
    #[error("no hook can be used ({tried}): try hook: auto, or detach what is in the way")]
    NoHook {
        /// All hooks with what became of them.
        tried: String,
        /// What the last hook that was tried said; none if none was tried.
        #[source]
        refusal: Option<Box<Refusal>>,
    },
    /// Sent packets cannot be captured.
    #[error("sent packets cannot be captured ({tried}): detach what is in the way")]
    NoEgressHook {
        /// All hooks with what became of them.
        tried: String,
        /// What the last hook that was tried said.
        #[source]
        refusal: Option<Box<Refusal>>,
    },
}

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

/// What would be tried on a link, in order. Touches nothing.
pub fn plan(config: &InterfaceConfig, link: &Link) -> Vec<HookAttempt> {
    let xdp = |candidate| match xdp_obstacle(link, kernel_version()) {
        Some(obstacle) => HookAttempt::Skip(candidate, obstacle),
        None => HookAttempt::Try(candidate),
    };
    let tc = TC_CANDIDATES.map(HookAttempt::Try);
    match config.hook {
        Hook::XdpNative => vec![xdp(HookCandidate::XdpNative)],
        Hook::XdpGeneric => vec![xdp(HookCandidate::XdpGeneric)],
        Hook::Xdp => vec![
            xdp(HookCandidate::XdpNative),
            xdp(HookCandidate::XdpGeneric),
        ],
        Hook::Tc => tc.to_vec(),
        Hook::Auto => {
            let native = match xdp_cost(config, link) {
                Some(cost) => HookAttempt::Skip(HookCandidate::XdpNative, cost),
                None => xdp(HookCandidate::XdpNative),
            };
            [native].into_iter().chain(tc).collect()
        }
    }
}

/// The program that would see a link's received packets at a hook.
pub fn ingress_program(candidate: HookCandidate, link: &Link) -> &'static str {
    match candidate {
        HookCandidate::XdpNative | HookCandidate::XdpGeneric => xdp::program_name(),
        HookCandidate::Tcx | HookCandidate::Clsact => {
            tc::program_name(link.header, TcDirection::Ingress)
        }
    }
}

/// The program that would see a link's sent packets.
pub fn egress_program(link: &Link) -> &'static str {
    tc::program_name(link.header, TcDirection::Egress)
}

/// Why this kernel cannot have a program of the object at all.
pub fn program_obstacle(program: &str) -> Option<&'static str> {
    let is_too_new = program == programs::XDP_INGRESS && xdp::program_name() != program;
    is_too_new.then_some("XDP frames in several buffers came with Linux 5.18")
}

/// What makes XDP impossible on a link.
fn xdp_obstacle(link: &Link, kernel: KernelVersion) -> Option<&'static str> {
    if link.header != LinkHeader::Ethernet {
        Some("XDP needs Ethernet headers")
    } else if kernel < XDP_LINK_KERNEL {
        Some("before Linux 5.9 an XDP program would stay attached after a kill of the agent")
    } else if link.has_xdp {
        Some("another XDP program is attached")
    } else {
        None
    }
}

/// What native XDP would cost, where `auto` may choose.
fn xdp_cost(config: &InterfaceConfig, link: &Link) -> Option<&'static str> {
    if config.ignore_vlans {
        Some("ignore_vlans is set, and devices strip VLAN tags where XDP cannot see it")
    } else if link.kind.as_deref() == Some("veth") {
        Some("on veth it switches off segmentation offload for the peer")
    } else if link.is_virtio {
        Some("on virtio it switches off the offloads of the hypervisor")
    } else if !link.is_physical() {
        Some("not a physical device")
    } else {
        None
    }
}

/// TC hooks, best first.
const TC_CANDIDATES: [HookCandidate; 2] = [HookCandidate::Tcx, HookCandidate::Clsact];

/// Attaches the programs to a link, which must have its slot already.
///
/// # Errors
///
/// [`AttachError::UnknownHeader`]: the parser does not know the link's headers.
/// [`AttachError::NoHook`] and [`AttachError::NoEgressHook`]: no hook for received or for sent
/// packets can be used.
pub fn attach(
    object: &mut Object,
    config: &InterfaceConfig,
    link: &Link,
) -> Result<(Attached, Attachment), AttachError> {
    attach_with(object, plan(config, link), &TC_CANDIDATES, link)
}

/// Attaches by clsact alone, as on kernels before 6.6: for tests on newer ones.
///
/// # Errors
///
/// As [`attach`].
pub fn attach_clsact(
    object: &mut Object,
    link: &Link,
) -> Result<(Attached, Attachment), AttachError> {
    let only = [HookCandidate::Clsact];
    attach_with(
        object,
        vec![HookAttempt::Try(HookCandidate::Clsact)],
        &only,
        link,
    )
}

fn attach_with(
    object: &mut Object,
    ingress_steps: Vec<HookAttempt>,
    egress_candidates: &[HookCandidate],
    link: &Link,
) -> Result<(Attached, Attachment), AttachError> {
    if let LinkHeader::Unknown(arphrd) = link.header {
        return Err(AttachError::UnknownHeader { arphrd });
    }
    let (ingress, reason) = attach_ingress(object, ingress_steps, link)?;
    let (egress, _) = attach_egress(object, egress_candidates, link)?;
    let attached = Attached { ingress, egress };
    let attachment = attached.attachment(reason);
    Ok((attached, attachment))
}

impl Attached {
    fn attachment(&self, reason: String) -> Attachment {
        Attachment {
            ingress: self.ingress.candidate.name(),
            egress: self.egress.candidate.name(),
            reason,
        }
    }
}

fn attach_ingress(
    object: &mut Object,
    steps: Vec<HookAttempt>,
    link: &Link,
) -> Result<(Hooked<IngressHook>, String), AttachError> {
    let mut tried = Vec::new();
    let hooked = first_that_works(&mut tried, steps, |candidate| {
        attach_ingress_candidate(object, candidate, link)
    });
    let tried = tried.join("; ");
    match hooked {
        Ok(hooked) => Ok((hooked, tried)),
        Err(refusal) => Err(AttachError::NoHook { tried, refusal }),
    }
}

/// XDP sees only what comes in; what goes out is always TC's.
fn attach_egress(
    object: &mut Object,
    candidates: &[HookCandidate],
    link: &Link,
) -> Result<(Hooked<TcHook>, String), AttachError> {
    let mut tried = Vec::new();
    let steps = candidates.iter().copied().map(HookAttempt::Try).collect();
    let hooked = first_that_works(&mut tried, steps, |candidate| {
        tc::attach(object, candidate, link, TcDirection::Egress)
    });
    let tried = tried.join("; ");
    match hooked {
        Ok(hooked) => Ok((hooked, tried)),
        Err(refusal) => Err(AttachError::NoEgressHook { tried, refusal }),
    }
}

/// Tries the candidates in order, and writes down what became of each candidate. If none works, the error is what
/// the last one said.
fn first_that_works<H>(
    tried: &mut Vec<String>,
    steps: Vec<HookAttempt>,
    mut attach: impl FnMut(HookCandidate) -> Result<(H, u32), Refusal>,
) -> Result<Hooked<H>, Option<Box<Refusal>>> {
    let mut last = None;
    for step in steps {
        match step {
            HookAttempt::Skip(candidate, why) => {
                tried.push(format!("{}: not tried, {why}", candidate.name()));
            }
            HookAttempt::Try(candidate) => match attach(candidate) {
                Ok((hook, program)) => {
                    tried.push(format!("{}: attached", candidate.name()));
                    return Ok(Hooked {
                        candidate,
                        program,
                        hook: Some(hook),
                    });
                }
                Err(refusal) => {
                    tried.push(format!("{}: refused, {refusal}", candidate.name()));
                    last = Some(Box::new(refusal));
                }
            },
        }
    }
    Err(last)
}

/// A hook with the number of the program at it.
fn attach_ingress_candidate(
    object: &mut Object,
    candidate: HookCandidate,
    link: &Link,
) -> Result<(IngressHook, u32), Refusal> {
    if candidate.is_xdp() {
        let (hook, program) = xdp::attach(object, candidate, link.ifindex)?;
        Ok((IngressHook::Xdp(hook), program))
    } else {
        let (hook, program) = tc::attach(object, candidate, link, TcDirection::Ingress)?;
        Ok((IngressHook::Tc(hook), program))
    }
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
        libc::ENOMEM => "the driver has no queues or memory left for it".to_owned(),
        other => std::io::Error::from_raw_os_error(other).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{HookAttempt, HookCandidate, plan, xdp_obstacle};
    use crate::link::{Link, LinkHeader};
    use probe_capture::interface::{Hook, InterfaceConfig};

    fn physical() -> Link {
        Link {
            ifindex: 2,
            name: "eth0".to_owned(),
            odd_name: None,
            header: LinkHeader::Ethernet,
            kind: None,
            is_loopback: false,
            is_virtio: false,
            has_xdp: false,
        }
    }

    fn first_step(link: &Link, hook: Hook) -> HookAttempt {
        let config = InterfaceConfig {
            hook,
            ..InterfaceConfig::default()
        };
        plan(&config, link).remove(0)
    }

    #[test]
    fn auto_takes_native_xdp_only_where_it_costs_nothing() {
        assert_eq!(
            first_step(&physical(), Hook::Auto),
            HookAttempt::Try(HookCandidate::XdpNative)
        );
        let veth = Link {
            kind: Some("veth".to_owned()),
            ..physical()
        };
        let virtio = Link {
            is_virtio: true,
            ..physical()
        };
        let taken = Link {
            has_xdp: true,
            ..physical()
        };
        let loopback = Link {
            is_loopback: true,
            ..physical()
        };
        let wireguard = Link {
            kind: Some("wireguard".to_owned()),
            header: LinkHeader::None,
            ..physical()
        };
        for link in [veth, virtio, taken, loopback, wireguard] {
            let step = first_step(&link, Hook::Auto);
            assert!(
                matches!(step, HookAttempt::Skip(HookCandidate::XdpNative, _)),
                "{step:?}"
            );
        }
    }

    #[test]
    fn vlans_are_ignored_in_tc() {
        let config = InterfaceConfig {
            ignore_vlans: true,
            ..InterfaceConfig::default()
        };
        let step = plan(&config, &physical()).remove(0);
        assert!(
            matches!(step, HookAttempt::Skip(HookCandidate::XdpNative, _)),
            "{step:?}"
        );
    }

    #[test]
    fn what_is_asked_for_is_tried_and_nothing_else() {
        let veth = Link {
            kind: Some("veth".to_owned()),
            ..physical()
        };
        for (hook, candidates) in [
            (
                Hook::Xdp,
                vec![HookCandidate::XdpNative, HookCandidate::XdpGeneric],
            ),
            (Hook::XdpNative, vec![HookCandidate::XdpNative]),
            (Hook::XdpGeneric, vec![HookCandidate::XdpGeneric]),
            (Hook::Tc, vec![HookCandidate::Tcx, HookCandidate::Clsact]),
        ] {
            let config = InterfaceConfig {
                hook,
                ..InterfaceConfig::default()
            };
            let steps: Vec<_> = candidates.into_iter().map(HookAttempt::Try).collect();
            assert_eq!(plan(&config, &veth), steps, "{hook:?}");
        }
    }

    #[test]
    fn xdp_without_bpf_link_is_refused() {
        let old = aya::util::KernelVersion::new(5, 8, 0);
        assert!(xdp_obstacle(&physical(), old).is_some());
    }
}
