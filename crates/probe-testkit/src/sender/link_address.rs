//! The address of a link, as packet sockets take it.

#![expect(
    unsafe_code,
    reason = "rustix reads an address of its own kinds only by a pointer"
)]

use anyhow::{Context, Result};
use rustix::net::{SocketAddrAny, addr::SocketAddrStorage};

/// Address family `AF_PACKET` of linux/socket.h.
const AF_PACKET: u16 = 17;
/// Octets of `struct sockaddr_ll` (linux/if_packet.h): family, protocol, index of the link, and 12 that
/// only receivers read.
const LEN: u8 = 20;

/// The octets, aligned as any socket address.
#[repr(C, align(8))]
struct Octets([u8; LEN as usize]);

/// The link of this index, and no protocol, so that nothing is received.
pub(super) fn from_ifindex(ifindex: u32) -> Result<SocketAddrAny> {
    let ifindex = i32::try_from(ifindex).context("no index of a link")?;
    let mut address = Octets([0; LEN as usize]);
    address.0[..2].copy_from_slice(&AF_PACKET.to_ne_bytes());
    address.0[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    let first = (&raw const address).cast::<SocketAddrStorage>();
    // SAFETY: `first` points to LEN initialised octets, which are a whole `struct sockaddr_ll`, and no
    // more than LEN octets are read.
    Ok(unsafe { SocketAddrAny::read(first, LEN.into()) })
}
