//! Who listens on a unix socket: asked without ever waiting for the answer of the process.

use std::fs;

use probe_flow::text::escaped;
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
        sockopt::socket_peercred,
    },
};

/// The process that listens there, as a message names it; none if there is only a file that a process
/// has left behind.
///
/// # Errors
///
/// What `connect` says but `ECONNREFUSED`: there is no such file (`ENOENT`), or no right to write
/// to it (`EACCES`).
pub fn listener_of(addr: &SocketAddrUnix) -> Result<Option<String>, Errno> {
    // A connection to a process that takes none would wait for ever once its backlog is full.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, addr) {
        // The credentials are of the process that began to listen (unix(7), SO_PEERCRED).
        Ok(()) => Ok(Some(process(socket_peercred(&socket)?.pid.as_raw_pid()))),
        Err(Errno::AGAIN) => Ok(Some(
            "a process that takes no connections (`ss -lxp` tells which)".to_owned(),
        )),
        Err(Errno::CONNREFUSED) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A process as messages name it: its number and its command, if that is known.
pub fn process(pid: i32) -> String {
    match fs::read(format!("/proc/{pid}/comm")) {
        Ok(command) => format!("process {pid} ({})", escaped(command.trim_ascii_end())),
        Err(_) => format!("process {pid}"),
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};

    use super::listener_of;

    #[test]
    fn the_process_is_named_and_never_waited_for() {
        let name = format!("probe-test-{}", std::process::id());
        let addr = SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap();
        assert_eq!(listener_of(&addr).unwrap(), None);
        let server = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        bind(&server, &addr).unwrap();
        listen(&server, 0).unwrap();
        let first = listener_of(&addr).unwrap().unwrap();
        let us = format!("process {} (", std::process::id());
        assert!(first.starts_with(&us), "{first}");
        // The connection that was not taken fills the backlog.
        let full = listener_of(&addr).unwrap().unwrap();
        assert!(full.contains("takes no connections"), "{full}");
    }
}
