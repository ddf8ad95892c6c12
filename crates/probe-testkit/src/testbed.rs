//! Two namespaces, `host` and `peer`, and a veth pair between them.
//!
//! The peer's end is the wire: it neither cuts nor merges packets, so what passes it is what a
//! switch would have seen, whatever the host's end does.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::Command,
};

use anyhow::Result;

use crate::{
    command::run,
    eventually::eventually,
    netns::{Namespace, delete_orphans},
};

/// The link of the host, which the agent watches.
pub const LINK: &str = "probe0";
/// Name of the other end's link.
pub const PEER_LINK: &str = "peer0";

/// IPv4 address of [`LINK`], of a /24.
pub const HOST_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1));
/// IPv4 address of [`PEER_LINK`].
pub const PEER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2));
/// IPv6 address of [`LINK`], of a /64.
pub const HOST_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x198, 0x18, 0, 0, 0, 0, 1));
/// IPv6 address of [`PEER_LINK`].
pub const PEER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x198, 0x18, 0, 0, 0, 0, 2));

/// Hardware address of [`LINK`], if it has one.
pub const HOST_MAC: &str = "02:00:00:00:00:01";
/// Hardware address of [`PEER_LINK`], if it has one.
pub const PEER_MAC: &str = "02:00:00:00:00:02";

/// What the host's end of the link does to packets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offloads {
    /// Nothing that can be switched off. (TCP hands down super-packets all the same.)
    Off,
    /// Super-packets are cut below the hooks (GSO) and put together above the driver (GRO).
    On,
}

/// What the frames of a link start with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LinkLayer {
    /// An Ethernet header, so that neighbours have addresses.
    Ethernet,
    /// Frames start with the IP header.
    None,
}

/// Two namespaces, removed when dropped.
#[derive(Debug)]
pub struct Testbed {
    /// Where the agent runs.
    pub host: Namespace,
    /// The namespace that talks to it.
    pub peer: Namespace,
}

impl Testbed {
    /// The two namespaces, joined by [`LINK`] and [`PEER_LINK`], a veth pair that is up and has its
    /// addresses.
    #[track_caller]
    pub fn new(offloads: Offloads) -> Self {
        let testbed = Self::without_links();
        testbed.host.ip(&format!(
            "link add {LINK} address {HOST_MAC} type veth \
             peer name {PEER_LINK} address {PEER_MAC} netns {}\n",
            testbed.peer.name()
        ));
        testbed.connect(LinkLayer::Ethernet);
        let merging = if offloads == Offloads::On {
            "on"
        } else {
            "off"
        };
        set_offloads(&testbed.host, LINK, merging);
        set_offloads(&testbed.peer, PEER_LINK, "off");
        testbed
    }

    /// The two namespaces as the kernel makes them, with loopback devices that are up.
    ///
    /// # Errors
    ///
    /// A namespace cannot be made, or its loopback device not be brought up.
    pub fn try_bare() -> Result<Self> {
        delete_orphans();
        let testbed = Self {
            host: Namespace::try_new("host")?,
            peer: Namespace::try_new("peer")?,
        };
        for namespace in [&testbed.host, &testbed.peer] {
            namespace.try_ip("link set lo up\n")?;
        }
        Ok(testbed)
    }

    /// The two namespaces with nothing but their loopback devices.
    #[track_caller]
    pub fn without_links() -> Self {
        let testbed = match Self::try_bare() {
            Ok(testbed) => testbed,
            Err(error) => panic!("{error:#}"),
        };
        for namespace in [&testbed.host, &testbed.peer] {
            namespace.set(GROUP_REPORT_INTERVAL, "1");
        }
        testbed
    }

    /// As [`Self::without_links`], with bridges of these names in the host: links that nothing is needed
    /// for.
    #[track_caller]
    pub fn with_bridges(names: &[&str]) -> Self {
        let testbed = Self::without_links();
        let links = names
            .iter()
            .map(|name| format!("link add {name} type bridge\n"));
        testbed.host.ip(&links.collect::<String>());
        testbed
    }

    /// Gives [`LINK`] and [`PEER_LINK`], which exist, their addresses and brings them up. Neighbours
    /// are known and there is no link-local address: all packets are the test's own.
    #[track_caller]
    pub fn connect(&self, layer: LinkLayer) {
        let ends = [
            (
                &self.host,
                LINK,
                [HOST_V4, HOST_V6],
                [PEER_V4, PEER_V6],
                PEER_MAC,
            ),
            (
                &self.peer,
                PEER_LINK,
                [PEER_V4, PEER_V6],
                [HOST_V4, HOST_V6],
                HOST_MAC,
            ),
        ];
        for (namespace, link, [v4, v6], neighbours, mac) in &ends {
            namespace.ip(&format!(
                "link set {link} addrgenmode none\n\
                 address add {v4}/24 dev {link}\n\
                 address add {v6}/64 dev {link} nodad\n\
                 link set {link} up\n"
            ));
            let neighbours = match layer {
                LinkLayer::Ethernet => neighbours.as_slice(),
                LinkLayer::None => &[],
            };
            for neighbour in neighbours {
                namespace.ip(&format!(
                    "neighbour replace {neighbour} lladdr {mac} dev {link} nud permanent\n"
                ));
            }
        }
        for (namespace, link, ..) in &ends {
            wait_until_up(namespace, link);
        }
    }

    /// Waits until no TCP connection is open: then no segment is under way any more.
    #[track_caller]
    pub fn wait_until_quiet(&self) {
        for namespace in [&self.host, &self.peer] {
            eventually("all connections are closed", || {
                namespace.enter(connections).is_empty().then_some(())
            });
        }
    }
}

/// A testbed for a generator. Neither end says anything of its own, not even when the link comes up.
/// A queue before the link makes the generator wait where the link is slower (native XDP), instead of
/// losing packets before they are on the wire.
#[track_caller]
pub fn quiet_testbed() -> Testbed {
    let testbed = Testbed::new(Offloads::Off);
    for (namespace, link) in [(&testbed.host, LINK), (&testbed.peer, PEER_LINK)] {
        namespace.set(&format!("ipv6/conf/{link}/disable_ipv6"), "1");
        namespace.ip(&format!("address flush dev {link}\n"));
    }
    let mut tc = testbed.peer.command("tc");
    run(tc.args(["qdisc", "replace", "dev", PEER_LINK, "root", "pfifo"]));
    testbed
}

/// Multicast groups are reported when the link comes up and, for the case that this was not heard,
/// once more at a random time. By default that is in the midst of the test; here within 1 ms.
const GROUP_REPORT_INTERVAL: &str = "ipv6/conf/default/mldv2_unsolicited_report_interval";

fn set_offloads(namespace: &Namespace, link: &str, merging: &str) {
    let mut command = namespace.command("ethtool");
    command.args(["-K", link, "tso", "off", "tx-udp-segmentation", "off"]);
    run(command.args(["gso", merging, "gro", merging]));
}

/// Waits until a link is up. Before that it drops what it is given.
#[track_caller]
pub fn wait_until_up(namespace: &Namespace, link: &str) {
    eventually(&format!("{link} is up"), || {
        let mut command = Command::new("ip");
        command.args(["-netns", namespace.name(), "link", "show", link]);
        let shown = run(&mut command);
        // Devices without carrier of their own, such as tunnels, never say more than UNKNOWN.
        let is_up = ["state UP", "state UNKNOWN"];
        is_up.iter().any(|it| shown.contains(it)).then_some(())
    });
}

/// The open TCP connections of the calling thread's namespace, by the kernel's lines.
fn connections() -> Vec<String> {
    // States of include/net/tcp_states.h in which nothing more will be sent.
    const TIME_WAIT: &str = "06";
    const CLOSE: &str = "07";
    const LISTEN: &str = "0A";
    let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
    let text = tables.map(|table| fs::read_to_string(table).expect("a table"));
    let lines = text.iter().flat_map(|table| table.lines().skip(1));
    let is_open = |line: &&str| {
        let state = line.split_whitespace().nth(3).unwrap_or_default();
        ![TIME_WAIT, CLOSE, LISTEN].contains(&state)
    };
    lines.filter(is_open).map(str::to_owned).collect()
}
