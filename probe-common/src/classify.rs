//! Which end of a flow is the client, decided from one packet when the flow is new.

use core::cmp::Ordering;

use crate::{
    ephash::EpHash,
    headers::{
        ip_protocol::{ICMP, ICMPV6, TCP},
        tcp_flags::{ACK, SYN},
    },
    ports::PortRange,
};

/// How the orientation of a flow was decided. The numbers are stored with flows: never reuse one.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Evidence {
    /// Nothing to go by but the order of packets: the source is the end that sent first.
    #[default]
    None = 0,
    /// One port is more of a server's than the other: [`PortRange`].
    Ports = 1,
    /// One end is a multicast or broadcast address, which is never a source.
    Multicast = 2,
    /// ICMP or ICMPv6 type of a request, a reply or an error.
    IcmpType = 3,
    /// TCP SYN or SYN+ACK.
    Handshake = 4,
}

impl Evidence {
    /// Name as written into flows and shown to people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ports => "ports",
            Self::Multicast => "multicast",
            Self::IcmpType => "icmp-type",
            Self::Handshake => "handshake",
        }
    }

    /// Whether the decision is more than a guess from port numbers.
    pub const fn is_high_confidence(self) -> bool {
        !matches!(self, Self::None | Self::Ports)
    }
}

/// Verdict on a packet of a new flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Direction {
    /// The packet travels from server to client: store the reversed key.
    pub reverse: bool,
    /// What the verdict rests on.
    pub evidence: Evidence,
}

impl Direction {
    const fn keep(evidence: Evidence) -> Self {
        Self {
            reverse: false,
            evidence,
        }
    }

    const fn reverse(evidence: Evidence) -> Self {
        Self {
            reverse: true,
            evidence,
        }
    }
}

/// Addresses whose kind decides a direction.
trait Address {
    /// Whether it stands for several hosts, and so is never a source (RFC 1122, section 3.2.1.3).
    fn is_group(&self) -> bool;
}

impl Address for [u8; 4] {
    /// Multicast is 224.0.0.0/4 (RFC 1112, section 4), limited broadcast 255.255.255.255 (RFC 919,
    /// section 7). A directed broadcast is known only with the prefix, which no packet carries.
    fn is_group(&self) -> bool {
        matches!(self, [224..=239, ..] | [255, 255, 255, 255])
    }
}

impl Address for [u8; 16] {
    /// ff00::/8 (RFC 4291, section 2.7). IPv6 has no broadcast.
    fn is_group(&self) -> bool {
        self[0] == 0xff
    }
}

/// Classifies the first packet of an IPv4 flow. `aux` is the auxiliary byte of its record.
pub fn classify_v4(key: &EpHash<4>, aux: u8) -> Direction {
    classify(key, aux)
}

/// Classifies the first packet of an IPv6 flow. `aux` is the auxiliary byte of its record.
pub fn classify_v6(key: &EpHash<16>, aux: u8) -> Direction {
    classify(key, aux)
}

/// The verdict of a TCP handshake packet, or `None` if the flags are no handshake.
pub const fn classify_handshake(tcp_flags: u8) -> Option<Direction> {
    match (tcp_flags & SYN != 0, tcp_flags & ACK != 0) {
        (true, false) => Some(Direction::keep(Evidence::Handshake)),
        (true, true) => Some(Direction::reverse(Evidence::Handshake)),
        (false, _) => None,
    }
}

fn classify<const N: usize>(key: &EpHash<N>, aux: u8) -> Direction
where
    [u8; N]: Address,
{
    if let Some(direction) = by_groups(key.src_addr.is_group(), key.dst_addr.is_group()) {
        return direction;
    }
    match key.ip_protocol {
        TCP => classify_handshake(aux).unwrap_or_else(|| by_ports(key)),
        ICMP => by_icmp_type(aux),
        ICMPV6 => by_icmpv6_type(aux),
        _ => by_ports(key),
    }
}

/// The verdict of the addresses, whatever the protocol: a multicast or broadcast address is never a
/// source. `None` if neither end is one. A packet from one to another should not be, and tells nothing.
pub const fn by_groups(src_is_group: bool, dst_is_group: bool) -> Option<Direction> {
    match (src_is_group, dst_is_group) {
        (false, true) => Some(Direction::keep(Evidence::Multicast)),
        (true, false) => Some(Direction::reverse(Evidence::Multicast)),
        _ => None,
    }
}

/// ICMP types. Errors (RFC 792: destination unreachable 3, source quench 4, redirect 5, time exceeded 11,
/// parameter problem 12) and replies go to the host that asked. Requests and their replies: echo 8 and 0,
/// timestamp 13 and 14, information 15 and 16 (RFC 792), address mask 17 and 18 (RFC 950, appendix I),
/// extended echo 42 and 43 (RFC 8335, sections 2 and 3).
const fn by_icmp_type(icmp_type: u8) -> Direction {
    match icmp_type {
        0 | 3..=5 | 11 | 12 | 14 | 16 | 18 | 43 => Direction::reverse(Evidence::IcmpType),
        8 | 13 | 15 | 17 | 42 => Direction::keep(Evidence::IcmpType),
        _ => Direction::keep(Evidence::None),
    }
}

/// ICMPv6 types. Errors are all below 128 (RFC 4443, section 2.1; section 3 has 1 to 4, and 0 is
/// reserved). Requests and their replies: echo 128 and 129 (section 4), node information 139 and 140
/// (RFC 4620, section 4), extended echo 160 and 161 (RFC 8335, sections 2 and 3).
const fn by_icmpv6_type(icmp_type: u8) -> Direction {
    match icmp_type {
        1..=127 | 129 | 140 | 161 => Direction::reverse(Evidence::IcmpType),
        128 | 139 | 160 => Direction::keep(Evidence::IcmpType),
        _ => Direction::keep(Evidence::None),
    }
}

/// The end whose port is of the lower range is the server. Two ports of one range tell nothing: which of
/// two services or of two clients has the smaller number is chance.
fn by_ports<const N: usize>(key: &EpHash<N>) -> Direction {
    let [src, dst] = [key.src_port(), key.dst_port()].map(PortRange::from_port);
    match src.cmp(&dst) {
        Ordering::Less => Direction::reverse(Evidence::Ports),
        Ordering::Greater => Direction::keep(Evidence::Ports),
        Ordering::Equal => Direction::keep(Evidence::None),
    }
}

#[cfg(test)]
mod tests;
