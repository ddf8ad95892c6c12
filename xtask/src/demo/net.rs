//! The demo's network: two namespaces and a veth pair, removed when dropped.

use std::{
    fs::File,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::workspace::{output, run};

pub(super) const HOST_V4: &str = "198.18.0.1";
pub(super) const PEER_V4: &str = "198.18.0.2";
pub(super) const HOST_V6: &str = "fd00::1";
pub(super) const PEER_V6: &str = "fd00::2";
/// The link that the agent watches.
pub(super) const LINK: &str = "demo0";

pub(super) const ETHERNET_HEADER_BYTES: u64 = 14;

/// Two namespaces: `host`, where the agent runs on [`LINK`], and `peer`, whom it talks to.
pub(super) struct Lab {
    pub(super) host: String,
    pub(super) peer: String,
}

/// What the kernel counted on [`LINK`], both directions.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct LinkCounters {
    pub(super) packets: u64,
    /// Whole frames.
    pub(super) bytes: u64,
}

impl LinkCounters {
    /// Bytes without Ethernet headers.
    pub(super) fn octets(&self) -> u64 {
        self.bytes
            .saturating_sub(ETHERNET_HEADER_BYTES * self.packets)
    }
}

impl Lab {
    /// Makes namespaces and links. The links stay down until [`Self::go_up`], so that an agent
    /// that attaches in between sees every packet that the link counts.
    pub(super) fn new() -> Result<Self> {
        let id = std::process::id();
        let lab = Self {
            host: format!("probe-demo-{id}-host"),
            peer: format!("probe-demo-{id}-peer"),
        };
        for namespace in [&lab.host, &lab.peer] {
            run(Command::new("ip").args(["netns", "add", namespace]))?;
            ip(&["-n", namespace, "link", "set", "lo", "up"])?;
            // Quiet: no duplicate address detection, routers or link-local addresses.
            for setting in ["accept_dad=0", "router_solicitations=0", "addr_gen_mode=1"] {
                let (key, value) = setting.split_once('=').unwrap_or_default();
                let path = format!("/proc/sys/net/ipv6/conf/default/{key}");
                in_namespace(namespace, move || std::fs::write(&path, value))??;
            }
        }
        let (host, peer) = (lab.host.as_str(), lab.peer.as_str());
        ip(&[
            "-n", host, "link", "add", LINK, "type", "veth", "peer", "name", LINK, "netns", peer,
        ])?;
        for (namespace, v4, v6) in [(host, HOST_V4, HOST_V6), (peer, PEER_V4, PEER_V6)] {
            // Link counters count super-packets once, the agent counts segments: without
            // super-packets the two can be compared.
            ip(&["-n", namespace, "link", "set", LINK, "gso_max_segs", "1"])?;
            ip(&[
                "-n",
                namespace,
                "address",
                "add",
                &format!("{v4}/24"),
                "dev",
                LINK,
            ])?;
            ip(&[
                "-n",
                namespace,
                "address",
                "add",
                &format!("{v6}/64"),
                "dev",
                LINK,
                "nodad",
            ])?;
        }
        Ok(lab)
    }

    pub(super) fn go_up(&self) -> Result<()> {
        for namespace in [&self.host, &self.peer] {
            ip(&["-n", namespace, "link", "set", LINK, "up"])?;
        }
        Ok(())
    }

    /// The link's counters once nothing has passed for a while: multicast membership reports
    /// (RFC 3810, section 9.11: up to a second apart) trail behind.
    pub(super) fn quiet_link_counters(&self) -> Result<LinkCounters> {
        let (quiet, patience) = (Duration::from_millis(1100), Duration::from_secs(10));
        let begin = Instant::now();
        let (mut counters, mut since) = (self.link_counters()?, begin);
        while since.elapsed() < quiet && begin.elapsed() < patience {
            thread::sleep(Duration::from_millis(50));
            let now = self.link_counters()?;
            if now != counters {
                (counters, since) = (now, Instant::now());
            }
        }
        Ok(counters)
    }

    pub(super) fn link_counters(&self) -> Result<LinkCounters> {
        let text =
            output(Command::new("ip").args(["-n", &self.host, "-s", "-j", "link", "show", LINK]))?;
        let json: Value = serde_json::from_str(&text).context("`ip -s -j link` wrote no JSON")?;
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
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let made = |namespace: &&&String| Path::new("/run/netns").join(namespace).exists();
        for namespace in [&self.host, &self.peer].iter().filter(made) {
            if let Err(error) = run(Command::new("ip").args(["netns", "delete", namespace])) {
                eprintln!("warning: {error:#}");
            }
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    run(Command::new("ip").args(arguments))
}

/// Runs a closure in a namespace, on a thread of its own.
pub(super) fn in_namespace<T: Send + 'static>(
    namespace: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let path = format!("/run/netns/{namespace}");
    let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    let thread = thread::spawn(move || {
        move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&file),
            Some(LinkNameSpaceType::Network),
        )
        .context("cannot enter the namespace")?;
        Ok(body())
    });
    thread
        .join()
        .map_err(|_| anyhow!("a thread in namespace {namespace} panicked"))?
}
