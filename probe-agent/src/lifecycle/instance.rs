//! Whether another agent captures in the network namespace.
//!
//! Two agents may run side by side: hooks take several programs. But what both capture is counted
//! twice, and what the first has attached by clsact looks to the second as if a dead agent had left
//! it. So each agent takes a name that a network namespace has once, an abstract unix socket
//! (unix(7)), and the kernel frees the name with the process.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
};

use probe_api::listener::listener_of;
use rustix::net::SocketAddrUnix;

const NAME: &[u8] = b"probe-agent";

/// What a start has found.
#[derive(Debug)]
pub enum Instance {
    /// The first agent of the namespace, for as long as this is held.
    First {
        /// Holds the name; nothing is ever read from it.
        _name: UnixListener,
    },
    /// Another agent was there before: this process, as a message names it.
    Beside(String),
}

impl Instance {
    /// Takes the name, if it is free.
    ///
    /// # Errors
    ///
    /// The system gives no socket.
    pub fn claim() -> io::Result<Self> {
        Self::claim_name(NAME)
    }

    fn claim_name(name: &[u8]) -> io::Result<Self> {
        match UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?) {
            Ok(listener) => Ok(Self::First { _name: listener }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let other = listener_of(&SocketAddrUnix::new_abstract_name(name)?)?;
                let other = other.unwrap_or_else(|| "a process that is just ending".to_owned());
                Ok(Self::Beside(other))
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Instance;

    #[test]
    fn the_second_agent_learns_of_the_first() {
        let name = format!("probe-instance-{}", std::process::id());
        let first = Instance::claim_name(name.as_bytes()).unwrap();
        assert!(matches!(first, Instance::First { .. }));
        let Instance::Beside(other) = Instance::claim_name(name.as_bytes()).unwrap() else {
            panic!("the name is taken");
        };
        let us = format!("process {} (", std::process::id());
        assert!(other.starts_with(&us), "{other}");
        drop(first);
        let next = Instance::claim_name(name.as_bytes()).unwrap();
        assert!(matches!(next, Instance::First { .. }));
    }
}
