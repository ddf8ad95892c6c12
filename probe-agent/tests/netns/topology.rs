//! Links of every kind between the two ends of the testbed.

use std::process::Command;

use super::{
    eventually,
    netns::Namespace,
    process::Process,
    testbed::{HOST_MAC, LINK, LinkLayer, PEER_LINK, PEER_MAC, Testbed, wait_until_up},
};

const PUMP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/tun_pump.py");

/// The link below [`LINK`], where it is made of another one.
pub(crate) const LOWER: &str = "lower0";
/// Its other end.
pub(crate) const PEER_LOWER: &str = "lower1";

/// How to make a link and what it carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// As `ip link add … type` has it.
    pub(crate) name: &'static str,
    pub(crate) layer: LinkLayer,
    pub(crate) below: Below,
    /// IP versions that it carries.
    pub(crate) families: &'static [u8],
    /// Words behind the type, at the host's end; the peer's end mirrors them.
    options: &'static str,
}

/// What the link below sees of the same traffic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Below {
    /// There is none.
    Nothing,
    /// The same packets.
    Same,
    /// Packets of a tunnel that are so many octets longer.
    Tunnel(u64),
}

const BOTH: &[u8] = &[4, 6];

impl Kind {
    const fn new(
        name: &'static str,
        layer: LinkLayer,
        below: Below,
        options: &'static str,
    ) -> Self {
        Self {
            name,
            layer,
            below,
            families: BOTH,
            options,
        }
    }

    const fn carries(mut self, families: &'static [u8]) -> Self {
        self.families = families;
        self
    }
}

use self::Below::{Same, Tunnel};
use super::testbed::LinkLayer::{Ethernet, None as NoHeader};

const V4_ENDS: &str = "local 198.19.0.1 remote 198.19.0.2";
const V6_ENDS: &str = "local fd00:198:19::1 remote fd00:198:19::2";

pub(crate) const VETH: Kind = Kind::new("veth", Ethernet, Below::Nothing, "");
pub(crate) const BRIDGE: Kind = Kind::new("bridge", Ethernet, Same, "");
pub(crate) const BOND: Kind = Kind::new("bond", Ethernet, Same, "mode active-backup");
pub(crate) const MACVLAN: Kind = Kind::new("macvlan", Ethernet, Same, "mode bridge");
pub(crate) const VLAN: Kind = Kind::new("vlan", Ethernet, Same, "id 5");
// What a tunnel adds: its own headers, and the inner Ethernet header where there is one.
pub(crate) const VXLAN: Kind = Kind::new(
    "vxlan",
    Ethernet,
    Tunnel(20 + 8 + 8 + 14),
    "id 7 dstport 4789 {v4}",
);
pub(crate) const VXLAN6: Kind = Kind::new(
    "vxlan",
    Ethernet,
    Tunnel(40 + 8 + 8 + 14),
    "id 7 dstport 4789 {v6}",
);
pub(crate) const GENEVE: Kind = Kind::new(
    "geneve",
    Ethernet,
    Tunnel(20 + 8 + 8 + 14),
    "id 7 remote 198.19.0.2",
);
pub(crate) const GRETAP: Kind = Kind::new("gretap", Ethernet, Tunnel(20 + 4 + 14), "{v4}");
pub(crate) const GRE: Kind = Kind::new("gre", NoHeader, Tunnel(20 + 4), "{v4}");
pub(crate) const GRE_KEY: Kind = Kind::new("gre", NoHeader, Tunnel(20 + 8), "key 7 {v4}");
pub(crate) const IPIP: Kind = Kind::new("ipip", NoHeader, Tunnel(20), "{v4}").carries(&[4]);
pub(crate) const SIT: Kind = Kind::new("sit", NoHeader, Tunnel(20), "{v4}").carries(&[6]);
pub(crate) const IP6TNL: Kind = Kind::new(
    "ip6tnl",
    NoHeader,
    Tunnel(40),
    "mode any encaplimit none {v6}",
);
pub(crate) const IP6GRE: Kind =
    Kind::new("ip6gre", NoHeader, Tunnel(40 + 4), "encaplimit none {v6}");
pub(crate) const TAP: Kind = Kind::new("tap", Ethernet, Below::Nothing, "");
pub(crate) const TUN: Kind = Kind::new("tun", NoHeader, Below::Nothing, "");

/// The testbed with such a link, which is up, and what keeps it there.
pub(crate) struct Connected {
    pub(crate) testbed: Testbed,
    _pump: Option<Process>,
}

/// Makes the link; `None` if the kernel knows no such kind.
#[track_caller]
pub(crate) fn connect(kind: Kind) -> Option<Connected> {
    let testbed = Testbed::without_links();
    let pump = match kind.name {
        "tun" | "tap" => Some(pump(&testbed, kind.name, 0)),
        name if !is_known(&testbed.host, name) => return None,
        _ => {
            make(&testbed, kind);
            None
        }
    };
    testbed.connect(kind.layer);
    Some(Connected {
        testbed,
        _pump: pump,
    })
}

/// Makes [`LINK`] and [`PEER_LINK`] as tun devices that pretend to be of another type, or as tap
/// devices, and passes on what they are given. They are not up yet.
#[track_caller]
pub(crate) fn pump(testbed: &Testbed, mode: &str, arphrd: u16) -> Process {
    let mut command = Command::new("python3");
    command.args([PUMP, mode, &arphrd.to_string()]);
    command.args([testbed.host.name(), LINK, testbed.peer.name(), PEER_LINK]);
    let pump = Process::spawn(&mut command);
    let ends = [
        (&testbed.host, LINK, HOST_MAC),
        (&testbed.peer, PEER_LINK, PEER_MAC),
    ];
    for (namespace, link, mac) in ends {
        eventually(&format!("{link} exists"), || {
            let mut ip = Command::new("ip");
            ip.args(["-netns", namespace.name(), "link", "show", link]);
            let shown = ip.output().expect("ip runs");
            shown.status.success().then_some(())
        });
        if mode == "tap" {
            namespace.ip(&format!("link set {link} address {mac}\n"));
        }
    }
    pump
}

/// Whether links of this kind can be made.
fn is_known(namespace: &Namespace, kind: &str) -> bool {
    let mut ip = Command::new("ip");
    ip.args([
        "-netns",
        namespace.name(),
        "link",
        "add",
        "try0",
        "type",
        kind,
    ]);
    let output = ip.output().expect("ip runs");
    if output.status.success() {
        namespace.ip("link delete try0\n");
        return true;
    }
    // Whatever else it says, it knows the kind and wants to hear more about it.
    let told = String::from_utf8_lossy(&output.stderr);
    !["Unknown device type", "not supported"]
        .iter()
        .any(|it| told.contains(it))
}

#[track_caller]
fn make(testbed: &Testbed, kind: Kind) {
    let (host, peer) = (&testbed.host, &testbed.peer);
    let options = kind
        .options
        .replace("{v4}", V4_ENDS)
        .replace("{v6}", V6_ENDS);
    let name = kind.name;
    match name {
        "veth" => host.ip(&format!(
            "link add {LINK} address {HOST_MAC} type veth \
             peer name {PEER_LINK} address {PEER_MAC} netns {}\n",
            peer.name()
        )),
        // The peer is on the port's wire.
        "bridge" | "bond" => host.ip(&format!(
            "link add {LOWER} type veth peer name {PEER_LINK} address {PEER_MAC} netns {}\n\
             link add {LINK} address {HOST_MAC} type {name} {options}\n\
             link set {LOWER} master {LINK}\n\
             link set {LOWER} up\n",
            peer.name()
        )),
        _ => {
            make_lower(testbed);
            let parent = match name {
                "macvlan" | "vlan" => format!("link {LOWER}"),
                _ => String::new(),
            };
            let mac = |mac: &str| match kind.layer {
                Ethernet => format!("address {mac}"),
                NoHeader => String::new(),
            };
            // So that nothing below has to be cut into fragments.
            let mtu = match kind.below {
                Tunnel(header_octets) => format!("mtu {}", 1500 - header_octets),
                _ => String::new(),
            };
            let host_mac = mac(HOST_MAC);
            host.ip(&format!(
                "link add name {LINK} {parent} {host_mac} {mtu} type {name} {options}\n"
            ));
            let parent = parent.replace(LOWER, PEER_LOWER);
            let (peer_mac, options) = (mac(PEER_MAC), mirrored(&options));
            peer.ip(&format!(
                "link add name {PEER_LINK} {parent} {peer_mac} {mtu} type {name} {options}\n"
            ));
        }
    }
}

/// A veth pair with addresses, for links that are made of it and tunnels that go through it.
#[track_caller]
fn make_lower(testbed: &Testbed) {
    testbed.host.ip(&format!(
        "link add {LOWER} address 02:00:00:00:01:01 type veth \
         peer name {PEER_LOWER} address 02:00:00:00:01:02 netns {}\n",
        testbed.peer.name()
    ));
    for (namespace, link, near, far) in [
        (&testbed.host, LOWER, 1, 2),
        (&testbed.peer, PEER_LOWER, 2, 1),
    ] {
        namespace.ip(&format!(
            "link set {link} addrgenmode none\n\
             address add 198.19.0.{near}/24 dev {link}\n\
             address add fd00:198:19::{near}/64 dev {link} nodad\n\
             link set {link} up\n\
             neighbour replace 198.19.0.{far} lladdr 02:00:00:00:01:0{far} dev {link} nud permanent\n\
             neighbour replace fd00:198:19::{far} lladdr 02:00:00:00:01:0{far} dev {link} nud permanent\n"
        ));
    }
    wait_until_up(&testbed.host, LOWER);
    wait_until_up(&testbed.peer, PEER_LOWER);
}

/// The same tunnel, seen from the peer.
fn mirrored(options: &str) -> String {
    let words = options.split(' ').map(|word| match word {
        "198.19.0.1" => "198.19.0.2",
        "198.19.0.2" => "198.19.0.1",
        "fd00:198:19::1" => "fd00:198:19::2",
        "fd00:198:19::2" => "fd00:198:19::1",
        other => other,
    });
    words.collect::<Vec<_>>().join(" ")
}
