//! Promiscuous mode, as tcpdump does it: through a packet socket.
//!
//! The kernel counts who wants it and takes our vote back when the socket is closed, even by
//! SIGKILL. Setting the link's flag instead would leave it on, or take it from somebody else.

use std::os::fd::OwnedFd;

use super::syscall;

/// Keeps a link in promiscuous mode until it is dropped.
#[derive(Debug)]
pub struct Promiscuous {
    _socket: OwnedFd,
}

/// The link could not be put into promiscuous mode.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot switch to promiscuous mode: {0}: this needs CAP_NET_RAW, which the agent gives back at its start unless an interface asks for promiscuous mode: restart it, or set promisc: false"
)]
pub struct PromiscuousError(#[from] std::io::Error);

impl Promiscuous {
    /// Puts the link into promiscuous mode.
    ///
    /// # Errors
    ///
    /// [`PromiscuousError`]: `CAP_NET_RAW` is missing (`EPERM`), or there is no link with this
    /// index (`ENODEV`).
    pub fn enter(ifindex: u32) -> Result<Self, PromiscuousError> {
        Ok(Self {
            _socket: syscall::promiscuous_socket(ifindex)?,
        })
    }
}
