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
