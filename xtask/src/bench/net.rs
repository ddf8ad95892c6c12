//! Two namespaces joined by a veth pair as the kernel makes it, with all its offloads.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

use crate::workspace::run;

/// The link that is monitored or not.
pub(super) const LINK: &str = "bench0";
pub(super) const HOST_V4: &str = "198.18.0.1";

/// `host`, whose end of the link is monitored, and `peer`. Removed when dropped.
pub(super) struct Lab {
    pub(super) host: String,
    pub(super) peer: String,
}

impl Lab {
    pub(super) fn new() -> Result<Self> {
        let id = std::process::id();
        let lab = Self {
            host: format!("probe-bench-{id}-host"),
            peer: format!("probe-bench-{id}-peer"),
        };
        for namespace in [&lab.host, &lab.peer] {
            run(Command::new("ip").args(["netns", "add", namespace]))?;
        }
        let (host, peer) = (lab.host.as_str(), lab.peer.as_str());
        let pair = [
            "link", "add", LINK, "type", "veth", "peer", "name", LINK, "netns",
        ];
        run(ip(host).args(pair).arg(peer))?;
        for (namespace, address) in [(host, "198.18.0.1/24"), (peer, "198.18.0.2/24")] {
            run(ip(namespace).args(["address", "add", address, "dev", LINK]))?;
            run(ip(namespace).args(["link", "set", LINK, "up"]))?;
        }
        Ok(lab)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [&self.host, &self.peer] {
            if let Err(error) = run(Command::new("ip").args(["netns", "delete", namespace])) {
                eprintln!("warning: {error:#}");
            }
        }
    }
}

fn ip(namespace: &str) -> Command {
    let mut ip = Command::new("ip");
    ip.args(["-netns", namespace]);
    ip
}

/// A command that will run inside a namespace.
pub(super) fn inside(namespace: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "-20", "ip", "netns", "exec", namespace]);
    command.arg(program);
    command
}

/// Puts the session of this process, with iperf3 and the agent, before all else that wants the CPUs;
/// back when dropped. Where iperf3 has to compete, each wake-up on its CPU brings it forward, so it
/// is faster with an agent than without: such a comparison is one of the scheduler.
pub(super) struct Priority;

/// `CONFIG_SCHED_AUTOGROUP`: `nice` counts within a session only, and this between sessions.
const AUTOGROUP: &str = "/proc/self/autogroup";

impl Priority {
    pub(super) fn raise() -> Self {
        // Absent where the kernel has no such groups; then `nice` is enough.
        drop(fs::write(AUTOGROUP, "-20"));
        Self
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        drop(fs::write(AUTOGROUP, "0"));
    }
}

/// A child that is killed when dropped.
pub(super) struct Server(pub(super) Child);

impl Server {
    pub(super) fn spawn(command: &mut Command) -> Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Ok(Self(
            child.with_context(|| format!("{command:?} did not start"))?,
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
