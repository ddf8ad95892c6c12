//! Which end of a flow is the client, decided from one packet when the flow is new.

use crate::{
    ephash::EpHash,
    headers::{
        ip_protocol::{ICMP, ICMPV6, TCP, UDP},
        tcp_flags::{ACK, SYN},
    },
    ports::is_ephemeral,
};

/// How the orientation of a flow was decided. The numbers are stored with flows: never reuse one.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Evidence {
    /// Nothing to go by: the flow is kept as the first packet had it.
    #[default]
    None = 0,
    /// Ephemeral against non-ephemeral port, or the smaller port.
    Ports = 1,
    /// The destination is a multicast or broadcast address.
    Multicast = 2,
    /// ICMP or ICMPv6 request or reply type.
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
    fn is_multicast_or_broadcast(&self) -> bool;
}

impl Address for [u8; 4] {
    // 255.255.255.255 and the local network control and internetwork control blocks
    // (RFC 5771, sections 4 and 5).
    fn is_multicast_or_broadcast(&self) -> bool {
        matches!(self, [255, 255, 255, 255] | [224, 0, 0 | 1, _])
    }
}

impl Address for [u8; 16] {
    // ff00::/8 (RFC 4291, section 2.7).
    fn is_multicast_or_broadcast(&self) -> bool {
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
    match key.ip_protocol {
        TCP => classify_handshake(aux).unwrap_or_else(|| by_ports(key)),
        UDP | ICMPV6 if key.dst_addr.is_multicast_or_broadcast() => {
            Direction::keep(Evidence::Multicast)
        }
        ICMP => by_icmp_type(aux),
        ICMPV6 => by_icmpv6_type(aux),
        _ => by_ports(key),
    }
}

/// ICMP types (RFC 792, RFC 950): replies and errors travel from the queried host.
const fn by_icmp_type(icmp_type: u8) -> Direction {
    match icmp_type {
        0 | 3 | 11 | 12 | 14 => Direction::reverse(Evidence::IcmpType),
        8 | 13 => Direction::keep(Evidence::IcmpType),
        _ => Direction::keep(Evidence::None),
    }
}

/// ICMPv6 types (RFC 4443).
const fn by_icmpv6_type(icmp_type: u8) -> Direction {
    match icmp_type {
        1 | 3 | 4 | 129 => Direction::reverse(Evidence::IcmpType),
        128 => Direction::keep(Evidence::IcmpType),
        _ => Direction::keep(Evidence::None),
    }
}

fn by_ports<const N: usize>(key: &EpHash<N>) -> Direction {
    let (src, dst) = (key.src_port(), key.dst_port());
    if src == dst {
        // Equal ports, or none at all: nothing to go by.
        let evidence = if src == 0 {
            Evidence::None
        } else {
            Evidence::Ports
        };
        return Direction::keep(evidence);
    }
    let reverse = match (is_ephemeral(src), is_ephemeral(dst)) {
        (true, false) => false,
        (false, true) => true,
        (true, true) | (false, false) => src < dst,
    };
    Direction {
        reverse,
        evidence: Evidence::Ports,
    }
}

#[cfg(test)]
mod tests {
    use super::{Direction, Evidence, classify_v4, classify_v6};
    use crate::{
        ephash::EpHash,
        headers::ip_protocol::{ICMPV6, UDP},
    };

    fn v4(ip_protocol: u8, src_port: u16, dst_port: u16) -> EpHash<4> {
        EpHash {
            src_addr: [198, 18, 0, 1],
            src_port: src_port.to_be_bytes(),
            dst_addr: [198, 18, 0, 2],
            dst_port: dst_port.to_be_bytes(),
            ip_protocol,
        }
    }

    fn keep(evidence: Evidence) -> Direction {
        Direction {
            reverse: false,
            evidence,
        }
    }

    fn reverse(evidence: Evidence) -> Direction {
        Direction {
            reverse: true,
            evidence,
        }
    }

    #[test]
    fn tcp_handshakes_beat_ports() {
        for (flags, verdict) in [
            (0x02, keep(Evidence::Handshake)),
            (0xc2, keep(Evidence::Handshake)), // SYN with ECE and CWR, RFC 3168
            (0x12, reverse(Evidence::Handshake)),
            (0x10, reverse(Evidence::Ports)),
        ] {
            assert_eq!(
                classify_v4(&v4(6, 22, 40000), flags),
                verdict,
                "flags {flags:#x}"
            );
        }
    }

    #[test]
    fn ports_find_the_server() {
        for (src, dst, verdict) in [
            (40000, 22, keep(Evidence::Ports)),
            (22, 40000, reverse(Evidence::Ports)),
            (0, 443, keep(Evidence::Ports)),
            (443, 0, reverse(Evidence::Ports)),
            (1000, 2000, reverse(Evidence::Ports)),
            (50000, 40000, keep(Evidence::Ports)),
            (123, 123, keep(Evidence::Ports)),
            (0, 0, keep(Evidence::None)),
        ] {
            assert_eq!(
                classify_v4(&v4(UDP, src, dst), 0),
                verdict,
                "{src} -> {dst}"
            );
        }
    }

    #[test]
    fn udp_to_multicast_and_broadcast_is_kept() {
        for dst_addr in [[255, 255, 255, 255], [224, 0, 0, 251], [224, 0, 1, 1]] {
            let key = EpHash {
                dst_addr,
                ..v4(UDP, 53, 40000)
            };
            assert_eq!(
                classify_v4(&key, 0),
                keep(Evidence::Multicast),
                "{dst_addr:?}"
            );
        }
        let key = EpHash {
            dst_addr: [224, 0, 2, 1],
            ..v4(UDP, 53, 40000)
        };
        assert_eq!(classify_v4(&key, 0), reverse(Evidence::Ports));
    }

    #[test]
    fn icmp_types_decide() {
        for icmp_type in [0, 3, 11, 12, 14] {
            assert_eq!(
                classify_v4(&v4(1, 0, 0), icmp_type),
                reverse(Evidence::IcmpType)
            );
        }
        for icmp_type in [8, 13] {
            assert_eq!(
                classify_v4(&v4(1, 0, 0), icmp_type),
                keep(Evidence::IcmpType)
            );
        }
        assert_eq!(classify_v4(&v4(1, 0, 0), 5), keep(Evidence::None));
    }

    #[test]
    fn icmpv6_multicast_comes_before_the_type() {
        let unicast = EpHash {
            src_addr: [0xfd; 16],
            src_port: [0; 2],
            dst_addr: [0xfd; 16],
            dst_port: [0; 2],
            ip_protocol: ICMPV6,
        };
        let multicast = EpHash {
            dst_addr: [0xff; 16],
            ..unicast
        };
        assert_eq!(classify_v6(&unicast, 129), reverse(Evidence::IcmpType));
        assert_eq!(classify_v6(&unicast, 128), keep(Evidence::IcmpType));
        assert_eq!(classify_v6(&unicast, 135), keep(Evidence::None));
        assert_eq!(classify_v6(&multicast, 129), keep(Evidence::Multicast));
    }
}
