//! Link types of capture files, and how each gets to the IP header.
//!
//! Numbers: <https://www.tcpdump.org/linktypes.html>.

use std::fmt;

use super::local::MacPair;
use probe_common::{
    headers::{ETHER_TYPE_OFFSET, ether_type},
    parse::{
        CapturedFrame, Packet, PacketBytes, ParseError,
        link::{parse_ether_type, parse_ethernet, parse_raw_ip},
        network::{parse_ipv4, parse_ipv6},
    },
    record::{EGRESS, INGRESS},
};

/// A link type that can be replayed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LinkType {
    /// Ethernet header, link type 1.
    Ethernet,
    /// IPv4 or IPv6 without link header (101; 12 and 14 in files from some BSDs).
    RawIp,
    /// IPv4 without link header (228).
    RawIpv4,
    /// IPv6 without link header (229).
    RawIpv6,
    /// Address family as 4 bytes: in the byte order of the capturing host (NULL, 0) or of the
    /// network (LOOP, 108).
    Loopback,
    /// Linux cooked capture (113), of the `any` device.
    LinuxSll,
    /// Linux cooked capture version 2 (276).
    LinuxSll2,
}

/// What is supported, for error messages.
pub const SUPPORTED: &str = "Ethernet (1), raw IP (101, 12, 14, 228, 229), NULL (0), LOOP (108), \
                             Linux cooked SLL (113) and SLL2 (276)";

const ETHERNET_SRC_OFFSET: usize = 6;

const SLL_LEN: usize = 16;
const SLL_PACKET_TYPE_OFFSET: usize = 0; // two bytes
const SLL_ADDRESS_LEN_OFFSET: usize = 4; // two bytes
const SLL_ADDRESS_OFFSET: usize = 6; // of the sender
const SLL_PROTOCOL_OFFSET: usize = 14;

const SLL2_LEN: usize = 20;
const SLL2_PROTOCOL_OFFSET: usize = 0;
const SLL2_PACKET_TYPE_OFFSET: usize = 10; // one byte
const SLL2_ADDRESS_LEN_OFFSET: usize = 11; // one byte
const SLL2_ADDRESS_OFFSET: usize = 12; // of the sender

/// Packet type `PACKET_OUTGOING` of linux/if_packet.h.
const SLL_OUTGOING: u8 = 4;

const LOOPBACK_LEN: usize = 4;

impl LinkType {
    /// The link type with this number in a file, if it can be replayed.
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            0 | 108 => Some(Self::Loopback),
            1 => Some(Self::Ethernet),
            12 | 14 | 101 => Some(Self::RawIp),
            113 => Some(Self::LinuxSll),
            228 => Some(Self::RawIpv4),
            229 => Some(Self::RawIpv6),
            276 => Some(Self::LinuxSll2),
            _ => None,
        }
    }

    /// Parses a frame of this link type.
    ///
    /// # Errors
    ///
    /// [`ParseError::NonIp`]: the link header announces no IP packet. [`ParseError::Truncated`]:
    /// the frame ends inside a header. [`ParseError::InvalidIpHeader`] and
    /// [`ParseError::TooManyHeaders`]: the IP header or the chain of headers is not valid.
    pub fn parse(self, frame: &CapturedFrame<'_>) -> Result<Packet, ParseError> {
        match self {
            Self::Ethernet => parse_ethernet(frame),
            Self::RawIp => parse_raw_ip(frame, 0),
            Self::RawIpv4 => parse_ipv4(frame, 0).map(Packet::V4),
            Self::RawIpv6 => parse_ipv6(frame, 0).map(Packet::V6),
            Self::Loopback => {
                let ether_type = ether_type_of_family(frame.load(0)?)?;
                parse_ether_type(frame, LOOPBACK_LEN, ether_type)
            }
            Self::LinuxSll => {
                let protocol = u16::from_be_bytes(frame.load(SLL_PROTOCOL_OFFSET)?);
                parse_ether_type(frame, SLL_LEN, protocol)
            }
            Self::LinuxSll2 => {
                let protocol = u16::from_be_bytes(frame.load(SLL2_PROTOCOL_OFFSET)?);
                parse_ether_type(frame, SLL2_LEN, protocol)
            }
        }
    }

    /// [`INGRESS`] or [`EGRESS`], as far as the link header says so.
    pub fn direction(self, frame: &CapturedFrame<'_>) -> Option<u8> {
        let packet_type = match self {
            Self::LinuxSll => match frame.load(SLL_PACKET_TYPE_OFFSET).ok()? {
                [0, packet_type] => packet_type,
                _ => return None,
            },
            Self::LinuxSll2 => frame.load::<1>(SLL2_PACKET_TYPE_OFFSET).ok()?[0],
            _ => return None,
        };
        Some(if packet_type == SLL_OUTGOING {
            EGRESS
        } else {
            INGRESS
        })
    }

    /// The MAC addresses of the frame, as far as its link header has them.
    pub(super) fn mac_pair(self, frame: &CapturedFrame<'_>) -> MacPair {
        let address = |offset| frame.load(offset).ok();
        match self {
            Self::Ethernet => MacPair {
                src: address(ETHERNET_SRC_OFFSET),
                dst: address(0),
            },
            Self::LinuxSll => MacPair {
                src: match frame.load(SLL_ADDRESS_LEN_OFFSET) {
                    Ok([0, 6]) => address(SLL_ADDRESS_OFFSET),
                    _ => None,
                },
                dst: None,
            },
            Self::LinuxSll2 => MacPair {
                src: match frame.load(SLL2_ADDRESS_LEN_OFFSET) {
                    Ok([6]) => address(SLL2_ADDRESS_OFFSET),
                    _ => None,
                },
                dst: None,
            },
            Self::RawIp | Self::RawIpv4 | Self::RawIpv6 | Self::Loopback => MacPair::default(),
        }
    }

    /// Whether the frame carries a VLAN tag (802.1Q, 802.1ad or the 9100 that preceded it).
    pub fn is_vlan_tagged(self, frame: &CapturedFrame<'_>) -> bool {
        let offset = match self {
            Self::Ethernet => ETHER_TYPE_OFFSET,
            Self::LinuxSll => SLL_PROTOCOL_OFFSET,
            Self::LinuxSll2 => SLL2_PROTOCOL_OFFSET,
            Self::RawIp | Self::RawIpv4 | Self::RawIpv6 | Self::Loopback => return false,
        };
        matches!(
            frame.load(offset).map(u16::from_be_bytes),
            Ok(ether_type::C_TAG | ether_type::S_TAG | ether_type::OLD_S_TAG)
        )
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ethernet => "Ethernet",
            Self::RawIp => "raw IP",
            Self::RawIpv4 => "raw IPv4",
            Self::RawIpv6 => "raw IPv6",
            Self::Loopback => "NULL/LOOP",
            Self::LinuxSll => "Linux cooked SLL",
            Self::LinuxSll2 => "Linux cooked SLL2",
        })
    }
}

/// EtherType of an address family. Its byte order is that of an unknown host, but the
/// families are small numbers, so the wrong order shows.
fn ether_type_of_family(bytes: [u8; 4]) -> Result<u16, ParseError> {
    let family = u32::from_be_bytes(bytes).min(u32::from_le_bytes(bytes));
    match family {
        2 => Ok(ether_type::IPV4),
        // AF_INET6 of Linux; NetBSD, OpenBSD; FreeBSD; macOS.
        10 | 24 | 28 | 30 => Ok(ether_type::IPV6),
        _ => Err(ParseError::NonIp),
    }
}

#[cfg(test)]
mod tests {
    use probe_common::{
        parse::{CapturedFrame, Packet, ParseError},
        record::{EGRESS, INGRESS},
    };
    use rstest::rstest;

    use super::LinkType;

    const IPV4: [u8; 21] = [
        0x45, 0, 0, 21, 0, 0, 0, 0, 64, 1, 0, 0, 198, 18, 0, 1, 198, 18, 0, 2, 8,
    ];

    fn frame(bytes: &[u8]) -> CapturedFrame<'_> {
        CapturedFrame {
            bytes,
            wire_len: bytes.len(),
        }
    }

    #[rstest]
    #[case::null_little_endian(0, &[2, 0, 0, 0])]
    #[case::null_big_endian(0, &[0, 0, 0, 2])]
    #[case::loop_network_order(108, &[0, 0, 0, 2])]
    #[case::ethernet(1, &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0])]
    #[case::raw(101, &[])]
    #[case::raw_bsd(12, &[])]
    #[case::raw_openbsd(14, &[])]
    #[case::raw_ipv4(228, &[])]
    #[case::sll(113, &[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0])]
    #[case::sll2(276, &[8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0])]
    fn every_link_type_finds_the_ip_header(#[case] number: u16, #[case] header: &[u8]) {
        let bytes = [header, &IPV4].concat();
        let link_type = LinkType::from_number(number).unwrap();
        let Ok(Packet::V4(packet)) = link_type.parse(&frame(&bytes)) else {
            panic!("{link_type} is not parsed");
        };
        assert_eq!((packet.octets, packet.aux), (21, 8));
        for len in 0..header.len() {
            assert_eq!(
                link_type.parse(&frame(&bytes[..len])),
                Err(ParseError::Truncated),
                "{link_type} cut at {len}"
            );
        }
    }

    #[rstest]
    #[case::netbsd(24)]
    #[case::freebsd(28)]
    #[case::macos(30)]
    #[case::linux(10)]
    fn families_of_ipv6_differ_by_system(#[case] family: u8) {
        let mut bytes = vec![family, 0, 0, 0, 0x60, 0, 0, 0, 0, 0, 59, 64];
        bytes.resize(4 + 40, 0xfd);
        assert!(matches!(
            LinkType::Loopback.parse(&frame(&bytes)),
            Ok(Packet::V6(_))
        ));
        assert_eq!(
            LinkType::RawIpv4.parse(&frame(&bytes[4..])),
            Err(ParseError::InvalidIpHeader)
        );
        assert!(matches!(
            LinkType::RawIpv6.parse(&frame(&bytes[4..])),
            Ok(Packet::V6(_))
        ));
    }

    #[test]
    fn unknown_families_and_types_are_refused() {
        assert_eq!(
            LinkType::Loopback.parse(&frame(&[7, 0, 0, 0, 0x45])),
            Err(ParseError::NonIp)
        );
        assert_eq!(LinkType::from_number(127), None, "radiotap");
    }

    #[test]
    fn cooked_headers_say_what_was_sent() {
        let mut sll = [0; 16];
        assert_eq!(LinkType::LinuxSll.direction(&frame(&sll)), Some(INGRESS));
        sll[1] = 4;
        assert_eq!(LinkType::LinuxSll.direction(&frame(&sll)), Some(EGRESS));
        let mut sll2 = [0; 20];
        sll2[10] = 4;
        assert_eq!(LinkType::LinuxSll2.direction(&frame(&sll2)), Some(EGRESS));
        assert_eq!(LinkType::LinuxSll2.direction(&frame(&sll2[..10])), None);
        assert_eq!(LinkType::Ethernet.direction(&frame(&sll)), None);
    }

    #[test]
    fn tags_are_seen_behind_every_header_that_can_have_them() {
        let mut ethernet = [0; 18];
        assert!(!LinkType::Ethernet.is_vlan_tagged(&frame(&ethernet)));
        ethernet[12..14].copy_from_slice(&[0x81, 0]);
        assert!(LinkType::Ethernet.is_vlan_tagged(&frame(&ethernet)));
        assert!(LinkType::LinuxSll2.is_vlan_tagged(&frame(&[0x88, 0xa8])));
        assert!(!LinkType::RawIp.is_vlan_tagged(&frame(&[0x81, 0])));
    }
}
