//! System calls that no crate of ours wraps: the one file with `unsafe` in the agent.

#![expect(unsafe_code, reason = "raw system calls")]
#![expect(
    clippy::cast_possible_truncation,
    reason = "small constants, whose types differ between C's headers and its structs"
)]

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

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

/// `struct ethtool_drvinfo`, include/uapi/linux/ethtool.h.
#[repr(C)]
struct DriverInfo {
    cmd: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

const _: () = assert!(size_of::<DriverInfo>() == 196);

/// `ETHTOOL_GDRVINFO`.
const DRIVER_INFO: u32 = 3;

/// Name of a link's driver, by the ethtool ioctl, which needs no privileges. Not from sysfs, which
/// may be that of another network namespace.
pub(super) fn driver(link: &str) -> io::Result<String> {
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
    for (to, from) in name.iter_mut().zip(link.bytes()) {
        // Signed on some architectures and unsigned on others.
        *to = libc::c_char::from_ne_bytes([from]);
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
    Ok(String::from_utf8_lossy(driver.unwrap_or_default()).into_owned())
}
