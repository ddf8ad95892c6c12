//! Two namespaces joined by a veth pair as the kernel makes it, with all its offloads.

use std::{
    fs::{self, File},
    os::fd::AsFd,
    process::Command,
    thread,
};

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::command::run;

/// The link that is monitored or not.
pub(crate) const LINK: &str = "bench0";
pub(crate) const HOST_V4: &str = "198.18.0.1";

/// `host`, whose end of the link is monitored, and `peer`. Removed when dropped.
pub(crate) struct Lab {
    pub(crate) host: String,
    pub(crate) peer: String,
}

impl Lab {
    pub(crate) fn new() -> Result<Self> {
        let id = std::process::id();
        let lab = Self {
            host: format!("probe-bench-{id}-host"),
            peer: format!("probe-bench-{id}-peer"),
        };
        for namespace in [&lab.host, &lab.peer] {
            run(Command::new("ip").args(["netns", "add", namespace]))?;
            run(ip(namespace).args(["link", "set", "lo", "up"]))?;
        }
        lab.join(LINK)?;
        for (namespace, address) in [(&lab.host, "198.18.0.1/24"), (&lab.peer, "198.18.0.2/24")] {
            run(ip(namespace).args(["address", "add", address, "dev", LINK]))?;
        }
        Ok(lab)
    }

    /// A veth pair between the two, whose ends have the same name and are up.
    pub(crate) fn join(&self, link: &str) -> Result<()> {
        let pair = [
            "link", "add", link, "type", "veth", "peer", "name", link, "netns",
        ];
        run(ip(&self.host).args(pair).arg(&self.peer))?;
        for namespace in [&self.host, &self.peer] {
            run(ip(namespace).args(["link", "set", link, "up"]))?;
        }
        Ok(())
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

/// A command of `ip` for a namespace.
pub(crate) fn ip(namespace: &str) -> Command {
    let mut ip = Command::new("ip");
    ip.args(["-netns", namespace]);
    ip
}

/// Runs a closure inside a namespace, on a thread of its own.
pub(crate) fn enter<T: Send>(
    namespace: &str,
    body: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let path = format!("/run/netns/{namespace}");
    let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    let inside = || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("cannot enter {namespace}"))?;
        body()
    };
    thread::scope(|scope| {
        let joined = scope.spawn(inside).join();
        joined.map_err(|_| anyhow!("a thread in {namespace} panicked"))?
    })
}

/// A command that will run inside a namespace, before all else that wants the CPUs.
pub(crate) fn urgent(namespace: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "-20", "ip", "netns", "exec", namespace]);
    command.arg(program);
    command
}

/// Puts the session of this process, with iperf3 and the agent, before all else that wants the CPUs;
/// back when dropped. Where iperf3 has to compete, each wake-up on its CPU brings it forward, so it
/// is faster with an agent than without: such a comparison is one of the scheduler.
pub(crate) struct Priority;

/// `CONFIG_SCHED_AUTOGROUP`: `nice` counts within a session only, and this between sessions.
const AUTOGROUP: &str = "/proc/self/autogroup";

impl Priority {
    pub(crate) fn raise() -> Self {
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
