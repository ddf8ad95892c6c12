//! Two namespaces joined by a veth pair as the kernel makes it, with all its offloads.

use std::{ffi::OsStr, fs, process::Command};

use anyhow::{Context, Result};
use probe_testkit::{command::output, netns::Namespace, testbed::Testbed};
use serde_json::Value;

/// The link that is monitored or not.
pub(crate) const LINK: &str = "bench0";
pub(crate) const HOST_V4: &str = "198.18.0.1";
const PEER_V4: &str = "198.18.0.2";

/// `host`, whose end of [`LINK`] is monitored, and `peer`.
pub(crate) fn testbed() -> Result<Testbed> {
    let testbed = Testbed::try_bare()?;
    join(&testbed, LINK)?;
    for (namespace, address) in [(&testbed.host, HOST_V4), (&testbed.peer, PEER_V4)] {
        namespace.try_ip(&format!("address add {address}/24 dev {LINK}\n"))?;
    }
    Ok(testbed)
}

/// A veth pair between the two, whose ends have the same name and are up.
pub(crate) fn join(testbed: &Testbed, link: &str) -> Result<()> {
    let peer = testbed.peer.name();
    testbed.host.try_ip(&format!(
        "link add {link} type veth peer name {link} netns {peer}\n"
    ))?;
    for namespace in [&testbed.host, &testbed.peer] {
        namespace.try_ip(&format!("link set {link} up\n"))?;
    }
    Ok(())
}

/// What the kernel tells of a link, counters included.
pub(crate) fn shown_link(namespace: &Namespace, link: &str) -> Result<Value> {
    let mut ip = Command::new("ip");
    ip.args(["-netns", namespace.name()]);
    let text = output(ip.args(["-s", "-j", "link", "show", link]))?;
    let json: Value = serde_json::from_str(&text).context("`ip -s -j link` wrote no JSON")?;
    Ok(json[0].clone())
}

/// A command that will run inside a namespace, before all else that wants the CPUs.
pub(crate) fn urgent(namespace: &Namespace, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "-20", "ip", "netns", "exec", namespace.name()]);
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
