//! The demo's network: two namespaces and a veth pair, removed when dropped.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use probe_testkit::{command::output, testbed::Testbed};
use serde_json::Value;

pub(super) const HOST_V4: &str = "198.18.0.1";
pub(super) const PEER_V4: &str = "198.18.0.2";
pub(super) const HOST_V6: &str = "fd00::1";
pub(super) const PEER_V6: &str = "fd00::2";
/// The link that the agent watches.
pub(super) const LINK: &str = "demo0";

pub(super) const ETHERNET_HEADER_BYTES: u64 = 14;

/// What the kernel counted on [`LINK`], both directions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct LinkCounters {
    pub(super) packets: u64,
    /// Octets of whole frames.
    pub(super) bytes: u64,
    /// Packets that the link was given and has not carried: the egress hook saw them before. On a busy
    /// machine veth drops what finds the backlog of the CPU full (`enqueue_to_backlog` in
    /// net/core/dev.c).
    pub(super) dropped: u64,
}

impl LinkCounters {
    /// What came after `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            packets: self.packets - earlier.packets,
            bytes: self.bytes - earlier.bytes,
            dropped: self.dropped - earlier.dropped,
        }
    }

    /// Bytes without Ethernet headers.
    pub(super) fn octets(&self) -> u64 {
        self.bytes
            .saturating_sub(ETHERNET_HEADER_BYTES * self.packets)
    }
}

/// Makes namespaces and links: `host`, where the agent runs on [`LINK`], and `peer`, whom it talks to.
/// The links stay down until [`go_up`].
pub(super) fn testbed() -> Result<Testbed> {
    let testbed = Testbed::try_bare()?;
    for namespace in [&testbed.host, &testbed.peer] {
        // Quiet: no duplicate address detection, routers or link-local addresses.
        for setting in ["accept_dad=0", "router_solicitations=0", "addr_gen_mode=1"] {
            let (key, value) = setting.split_once('=').unwrap_or_default();
            namespace.try_set(&format!("ipv6/conf/default/{key}"), value)?;
        }
    }
    testbed.host.try_ip(&format!(
        "link add {LINK} type veth peer name {LINK} netns {}\n",
        testbed.peer.name()
    ))?;
    for (namespace, v4, v6) in [
        (&testbed.host, HOST_V4, HOST_V6),
        (&testbed.peer, PEER_V4, PEER_V6),
    ] {
        // Link counters count super-packets once, the agent counts segments: without super-packets
        // the two can be compared.
        namespace.try_ip(&format!(
            "link set {LINK} gso_max_segs 1\n\
             address add {v4}/24 dev {LINK}\n\
             address add {v6}/64 dev {LINK} nodad\n"
        ))?;
    }
    Ok(testbed)
}

/// Brings both ends of the link up.
pub(super) fn go_up(testbed: &Testbed) -> Result<()> {
    for namespace in [&testbed.host, &testbed.peer] {
        namespace.try_ip(&format!("link set {LINK} up\n"))?;
    }
    Ok(())
}

/// The link's counters once nothing has passed for a while: multicast membership reports
/// (RFC 3810, section 9.11: up to a second apart) trail behind.
pub(super) fn quiet_link_counters(testbed: &Testbed) -> Result<LinkCounters> {
    let (quiet, patience) = (Duration::from_millis(1100), Duration::from_secs(10));
    let begin = Instant::now();
    let (mut counters, mut since) = (link_counters(testbed)?, begin);
    while since.elapsed() < quiet && begin.elapsed() < patience {
        thread::sleep(Duration::from_millis(50));
        let now = link_counters(testbed)?;
        if now != counters {
            (counters, since) = (now, Instant::now());
        }
    }
    Ok(counters)
}

/// The link's counters at the host's end.
pub(super) fn link_counters(testbed: &Testbed) -> Result<LinkCounters> {
    let mut ip = Command::new("ip");
    ip.args(["-n", testbed.host.name(), "-s", "-j", "link", "show", LINK]);
    let json: Value =
        serde_json::from_str(&output(&mut ip)?).context("`ip -s -j link` wrote no JSON")?;
    let stats = &json[0]["stats64"];
    let sum = |field: &str| -> Result<u64> {
        let of = |direction: &str| stats[direction][field].as_u64();
        of("rx")
            .zip(of("tx"))
            .map(|(rx, tx)| rx + tx)
            .ok_or_else(|| anyhow!("`ip -s -j link` shows no {field}"))
    };
    Ok(LinkCounters {
        packets: sum("packets")?,
        bytes: sum("bytes")?,
        dropped: stats["tx"]["dropped"]
            .as_u64()
            .context("`ip -s -j link` shows no dropped packets")?,
    })
}
