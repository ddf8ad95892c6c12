//! What there is to know about each kind of link: how to make it, what it carries, what the link
//! below it sees.

use self::{
    Below::{Hidden, Same},
    Recipe::{Lines, Master, Pair, Process, Tunnel},
};
use crate::{
    flows::Counts,
    testbed::LinkLayer::{self, Ethernet, None as NoHeader},
};

/// How to make a link and what it carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// As `ip link add … type` has it.
    pub(crate) name: &'static str,
    pub(crate) layer: LinkLayer,
    pub(crate) below: Below,
    /// IP versions that it carries.
    pub(crate) families: &'static [u8],
    pub(super) recipe: Recipe,
    /// Programs that make it, besides `ip`, and its traffic.
    pub(crate) tools: &'static [&'static str],
}

/// How a link is made. Lines are those of `ip -batch`, for either end: see `End::fill_in`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Recipe {
    /// Both ends at once, the peer's in its namespace.
    Pair,
    /// At the host only, with one port that is the other end of the peer's link. Words behind the type.
    Master(&'static str),
    /// The type and the words behind it, through the lower link.
    Tunnel(&'static str),
    /// Lines that make the link of, or through, the lower one.
    Lines(&'static str),
    /// By a process that has the link for as long as it runs.
    Process,
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
    /// Packets of WireGuard: so many octets longer, after the packet was filled up.
    Padded(u64),
    /// As many frames, which are not IP.
    Hidden,
}

/// WireGuard fills packets up to a multiple of so many octets.
const PADDING: u64 = 16;

/// IP octets of WireGuard's message without content (keepalive), over IPv4.
pub(crate) const KEEPALIVE_OCTETS: u64 = 20 + 8 + 16 + 16;

impl Below {
    /// What the link below counts in all while these flows pass.
    pub(crate) fn around<'a>(self, flows: impl IntoIterator<Item = &'a Counts>) -> Counts {
        let mut sum = Counts::default();
        for counts in flows {
            sum += Counts {
                packets_rcvd: counts.packets_rcvd,
                packets_sent: counts.packets_sent,
                bytes_rcvd: self.octets(counts.bytes_rcvd, counts.packets_rcvd),
                bytes_sent: self.octets(counts.bytes_sent, counts.packets_sent),
                tcp_flags: 0,
            };
        }
        sum
    }

    /// Octets of so many packets of one flow and direction, which all have the same size.
    fn octets(self, octets: u64, packets: u64) -> u64 {
        match self {
            Self::Tunnel(header_octets) => octets + packets * header_octets,
            Self::Padded(header_octets) if packets > 0 => {
                assert_eq!(octets % packets, 0, "packets of one size");
                let padded = (octets / packets).next_multiple_of(PADDING);
                packets * (padded + header_octets)
            }
            _ => octets,
        }
    }
}

impl Kind {
    const fn new(name: &'static str, layer: LinkLayer, below: Below, recipe: Recipe) -> Self {
        Self {
            name,
            layer,
            below,
            families: &[4, 6],
            recipe,
            tools: &[],
        }
    }

    const fn carries(mut self, families: &'static [u8]) -> Self {
        self.families = families;
        self
    }

    const fn made_with(mut self, tools: &'static [&'static str]) -> Self {
        self.tools = tools;
        self
    }
}

pub(crate) const VETH: Kind = Kind::new("veth", Ethernet, Below::Nothing, Pair);

pub(crate) const BRIDGE: Kind = Kind::new("bridge", Ethernet, Same, Master(""));
pub(crate) const BOND: Kind = Kind::new("bond", Ethernet, Same, Master("mode active-backup"));
pub(crate) const TEAM: Kind = Kind::new("team", Ethernet, Same, Master("")).made_with(&["teamnl"]);

pub(crate) const VLAN: Kind = Kind::new(
    "vlan",
    Ethernet,
    Same,
    Lines("link add link {lower} name {link} address {mac} type vlan id 5"),
);
pub(crate) const MACVLAN: Kind = Kind::new(
    "macvlan",
    Ethernet,
    Same,
    Lines("link add link {lower} name {link} address {mac} type macvlan mode bridge"),
);
pub(crate) const IPVLAN: Kind = Kind::new(
    "ipvlan",
    Ethernet,
    Same,
    Lines("link set {lower} address {mac}\nlink add link {lower} name {link} type ipvlan mode l2"),
);
pub(crate) const MACSEC: Kind = Kind::new(
    "macsec",
    Ethernet,
    Hidden,
    Lines(
        "link add link {lower} name {link} address {mac} type macsec encrypt on\n\
         macsec add {link} tx sa 0 pn 1 on key 01 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a\n\
         macsec add {link} rx port 1 address {far_mac}\n\
         macsec add {link} rx port 1 address {far_mac} sa 0 pn 1 on \
         key 01 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
    ),
);

// What a tunnel adds: its own headers, and the inner Ethernet header where there is one.
pub(crate) const VXLAN: Kind = Kind::new(
    "vxlan",
    Ethernet,
    Below::Tunnel(20 + 8 + 8 + 14),
    Tunnel("vxlan id 7 dstport 4789 {v4_ends}"),
);
pub(crate) const VXLAN6: Kind = Kind::new(
    "vxlan",
    Ethernet,
    Below::Tunnel(40 + 8 + 8 + 14),
    Tunnel("vxlan id 7 dstport 4789 {v6_ends}"),
);
pub(crate) const GENEVE: Kind = Kind::new(
    "geneve",
    Ethernet,
    Below::Tunnel(20 + 8 + 8 + 14),
    Tunnel("geneve id 7 remote {far_v4}"),
);
pub(crate) const GRETAP: Kind = Kind::new(
    "gretap",
    Ethernet,
    Below::Tunnel(20 + 4 + 14),
    Tunnel("gretap {v4_ends}"),
);
pub(crate) const IP6GRETAP: Kind = Kind::new(
    "ip6gretap",
    Ethernet,
    Below::Tunnel(40 + 4 + 14),
    Tunnel("ip6gretap encaplimit none {v6_ends}"),
);
pub(crate) const GRE: Kind = Kind::new(
    "gre",
    NoHeader,
    Below::Tunnel(20 + 4),
    Tunnel("gre {v4_ends}"),
);
pub(crate) const GRE_KEY: Kind = Kind::new(
    "gre",
    NoHeader,
    Below::Tunnel(20 + 8),
    Tunnel("gre key 7 {v4_ends}"),
);
pub(crate) const IPIP: Kind = Kind::new(
    "ipip",
    NoHeader,
    Below::Tunnel(20),
    Tunnel("ipip {v4_ends}"),
)
.carries(&[4]);
pub(crate) const SIT: Kind =
    Kind::new("sit", NoHeader, Below::Tunnel(20), Tunnel("sit {v4_ends}")).carries(&[6]);
pub(crate) const IP6TNL: Kind = Kind::new(
    "ip6tnl",
    NoHeader,
    Below::Tunnel(40),
    Tunnel("ip6tnl mode any encaplimit none {v6_ends}"),
);
pub(crate) const IP6GRE: Kind = Kind::new(
    "ip6gre",
    NoHeader,
    Below::Tunnel(40 + 4),
    Tunnel("ip6gre encaplimit none {v6_ends}"),
);
/// Version 3 in UDP: flags, session, Linux's default sublayer, the inner Ethernet header.
pub(crate) const L2TP: Kind = Kind::new(
    "l2tp",
    Ethernet,
    Below::Tunnel(20 + 8 + 4 + 4 + 4 + 14),
    Lines(
        "l2tp add tunnel tunnel_id 1 peer_tunnel_id 1 encap udp udp_sport 1701 udp_dport 1701 \
         {v4_ends}\n\
         l2tp add session name {link} tunnel_id 1 session_id 1 peer_session_id 1\n\
         link set {link} address {mac} mtu 1446",
    ),
);
/// In UDP: WireGuard's header and the tag of its cipher.
pub(crate) const WIREGUARD: Kind = Kind::new(
    "wireguard",
    NoHeader,
    Below::Padded(20 + 8 + 16 + 16),
    Lines("link add name {link} mtu 1420 type wireguard"),
)
.made_with(&["wg"]);

/// As PPP over Ethernet.
pub(crate) const PPP: Kind = Kind::new("ppp", NoHeader, Same, Process).made_with(&["python3"]);
pub(crate) const TAP: Kind =
    Kind::new("tap", Ethernet, Below::Nothing, Process).made_with(&["python3"]);
pub(crate) const TUN: Kind =
    Kind::new("tun", NoHeader, Below::Nothing, Process).made_with(&["python3"]);
