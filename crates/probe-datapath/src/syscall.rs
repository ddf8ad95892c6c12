//! System calls that no crate of ours wraps.

#![expect(unsafe_code, reason = "raw system calls")]
#![expect(
    clippy::cast_possible_truncation,
    reason = "small constants, whose types differ between C's headers and its structs"
)]

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    time::Duration,
};

/// `BPF_TCX_INGRESS` of `enum bpf_attach_type` (include/uapi/linux/bpf.h, 6.6); egress is next.
const BPF_TCX_INGRESS: u32 = 46;

/// Opens a packet socket that receives nothing and holds the link in promiscuous mode for as long
/// as it is open (packet(7), `PACKET_MR_PROMISC`).
pub(super) fn promiscuous_socket(ifindex: u32) -> io::Result<OwnedFd> {
    // Protocol 0: the socket is bound to nothing and never gets a packet.
    // SAFETY: `socket` takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just opened by `socket`, and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let membership = libc::packet_mreq {
        mr_ifindex: ifindex.cast_signed(),
        mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    let len = size_of_val(&membership) as libc::socklen_t;
    // SAFETY: the socket is open, and the kernel reads `len` bytes at the pointer, which are those
    // of `membership`.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const membership).cast(),
            len,
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

/// Layout of `struct ethtool_drvinfo` in include/uapi/linux/ethtool.h.
#[repr(C)]
struct DriverInfo {
    cmd: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

const _: () = assert!(size_of::<DriverInfo>() == 196);

/// The `ETHTOOL_GDRVINFO` command of linux/ethtool.h.
const DRIVER_INFO: u32 = 3;

/// Name of a link's driver, by the ethtool ioctl, which needs no privileges. Not from sysfs, which
/// may be that of another network namespace.
pub(super) fn driver(link: &[u8]) -> io::Result<String> {
    // SAFETY: `socket` takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just opened by `socket`, and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut name = [0; libc::IFNAMSIZ];
    if link.len() >= name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in name.iter_mut().zip(link) {
        // Signed on some architectures and unsigned on others.
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let mut info = DriverInfo {
        cmd: DRIVER_INFO,
        driver: [0; 32],
        rest: [0; 160],
    };
    let mut request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: (&raw mut info).cast(),
        },
    };
    // SAFETY: the socket is open, the request names a link by a NUL-terminated string, and its
    // pointer is to a writable `ethtool_drvinfo`, which outlives the call.
    let answer = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCETHTOOL as libc::Ioctl,
            &raw mut request,
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    let driver = info.driver.split(|byte| *byte == 0).next();
    Ok(probe_flow::text::escaped(driver.unwrap_or_default()))
}

/// The eBPF programs at the TCX hook of a link, by the kernel's numbers, in the order in which they
/// run. `direction` is [`probe_common::record::INGRESS`] or `EGRESS`.
///
/// A library call would ask for each program's details too, for which a process needs
/// `CAP_SYS_ADMIN`; this needs `CAP_NET_ADMIN`, which the agent has.
pub(super) fn tcx_programs(ifindex: u32, direction: u8) -> io::Result<Vec<u32>> {
    /// What `BPF_PROG_QUERY` reads and writes of `union bpf_attr` (include/uapi/linux/bpf.h, 6.6).
    #[repr(C)]
    #[derive(Default)]
    struct Query {
        target_ifindex: u32,
        attach_type: u32,
        flags: u32,
        attach_flags: u32,
        prog_ids: u64,
        count: u32,
        reserved: u32,
        prog_attach_flags: u64,
        link_ids: u64,
        link_attach_flags: u64,
        revision: u64,
    }
    const BPF_PROG_QUERY: libc::c_long = 16;
    /// Programs that one hook can have (`BPF_MPROG_MAX`).
    const MOST_PROGRAMS: usize = 64;

    let mut programs = [0_u32; MOST_PROGRAMS];
    let mut query = Query {
        target_ifindex: ifindex,
        attach_type: BPF_TCX_INGRESS + u32::from(direction),
        prog_ids: programs.as_mut_ptr().expose_provenance() as u64,
        count: MOST_PROGRAMS as u32,
        ..Query::default()
    };
    // SAFETY: the kernel reads and writes `size_of::<Query>()` bytes of `query`, all of which are
    // initialised integers, and writes at most `count` numbers to `prog_ids`, which is `programs`:
    // both are borrowed mutably nowhere else and outlive the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_QUERY,
            &raw mut query,
            size_of::<Query>(),
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    let count = (query.count as usize).min(MOST_PROGRAMS);
    Ok(programs[..count].to_vec())
}

/// Attaches a TC program before all others at the TCX hook of a link, for as long as the answer is
/// open. `direction` is [`probe_common::record::INGRESS`] or `EGRESS`.
///
/// A library call would take the link's name and open and close a socket to look up its index, for
/// which the kernel then makes the next program wait: see [`super::netlink::Connection`]. And the name
/// may be another link's by then.
pub(super) fn attach_tcx(
    program: BorrowedFd<'_>,
    ifindex: u32,
    direction: u8,
) -> io::Result<OwnedFd> {
    /// What `BPF_LINK_CREATE` reads of `union bpf_attr` for TCX (include/uapi/linux/bpf.h, 6.6).
    #[repr(C)]
    struct LinkCreate {
        prog_fd: i32,
        target_ifindex: u32,
        attach_type: u32,
        flags: u32,
        relative_fd: u32,
        reserved: u32,
        expected_revision: u64,
    }
    const BPF_LINK_CREATE: libc::c_long = 28;
    /// Without anybody to be before: before all.
    const BPF_F_BEFORE: u32 = 1 << 3;

    let create = LinkCreate {
        prog_fd: program.as_raw_fd(),
        target_ifindex: ifindex,
        attach_type: BPF_TCX_INGRESS + u32::from(direction),
        flags: BPF_F_BEFORE,
        relative_fd: 0,
        reserved: 0,
        expected_revision: 0,
    };
    // SAFETY: the kernel reads `size_of::<LinkCreate>()` bytes of `create`, all of which are
    // initialised integers without padding, and `program` is open for the length of the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_LINK_CREATE,
            &raw const create,
            size_of::<LinkCreate>(),
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just opened it (close-on-exec, as all that `bpf` opens), and nothing else
    // owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(answer as libc::c_int) })
}

/// `struct sched_attr`, include/uapi/linux/sched/types.h, in its first form.
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

const _: () = assert!(size_of::<SchedAttr>() == 48);

/// The `SCHED_FLAG_KEEP_POLICY` flag of linux/sched.h.
const KEEP_POLICY: u64 = 0x08;

/// Asks that the calling thread runs in slices of this length, 0.1 to 100 ms. It gets no more of a
/// CPU than others, but sooner: a thread that wants little at a time goes before one that wants much.
///
/// Kernels before 6.12 take no notice (commit 857b158dc5e8). Needs no privilege.
pub(crate) fn run_in_slices(slice: Duration) -> io::Result<()> {
    let attr = SchedAttr {
        size: 48,
        flags: KEEP_POLICY,
        nice: rustix::process::getpriority_process(None)?,
        runtime_ns: u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX),
        ..SchedAttr::default()
    };
    // SAFETY: the kernel reads `size` bytes at the pointer, which are those of `attr`; 0 is the
    // calling thread.
    let answer = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::run_in_slices;

    #[test]
    fn anybody_may_ask_for_short_slices() {
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| run_in_slices(Duration::from_micros(100)));
            asked.join().unwrap().unwrap();
        });
    }
}
