//! From the first byte of the frame to the outermost IP header.

use super::{Packet, PacketBytes, ParseError, network, plain};

/// IPv4 (IEEE 802 numbers, IANA).
pub const ETHER_TYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6 (RFC 2464, section 3).
pub const ETHER_TYPE_IPV6: u16 = 0x86dd;

const ETHER_TYPE_VLAN: u16 = 0x8100; // IEEE 802.1Q C-tag
const ETHER_TYPE_QINQ: u16 = 0x88a8; // IEEE 802.1Q S-tag (802.1ad)
const ETHER_TYPE_QINQ_OLD: u16 = 0x9100; // before 802.1ad, still in use
const ETHER_TYPE_MPLS: u16 = 0x8847; // RFC 3032, section 5
const ETHER_TYPE_MPLS_UPSTREAM: u16 = 0x8848; // RFC 5332, section 4
const ETHER_TYPE_PPPOE_SESSION: u16 = 0x8864; // RFC 2516, section 4

const PPP_IPV4: u16 = 0x0021; // RFC 1332, section 2
const PPP_IPV6: u16 = 0x0057; // RFC 5072, section 3

pub(super) const ETHER_TYPE_OFFSET: usize = 12;
pub(super) const ETHERNET_LEN: usize = 14;
const VLAN_TAG_LEN: usize = 4;
const MPLS_LABEL_LEN: usize = 4;
const PPPOE_LEN: usize = 8; // with the PPP protocol field

/// Tags, labels and PPPoE headers followed before [`ParseError::TooManyHeaders`].
pub const MAX_LINK_HEADERS: usize = 8;

/// Parses a frame that starts with an Ethernet header.
#[inline(always)]
pub fn parse_ethernet<P: PacketBytes + ?Sized>(frame: &P) -> Result<Packet, ParseError> {
    match plain::parse(frame) {
        Some(packet) => Ok(packet),
        None => parse_any_ethernet(frame),
    }
}

/// [`parse_ethernet`] without its search for plain packets, for callers that have tried it.
#[inline(always)]
pub fn parse_any_ethernet<P: PacketBytes + ?Sized>(frame: &P) -> Result<Packet, ParseError> {
    let ether_type = u16::from_be_bytes(frame.load(ETHER_TYPE_OFFSET)?);
    parse_ether_type(frame, ETHERNET_LEN, ether_type)
}

/// Parses a frame from `offset` on, where the payload of the given EtherType starts.
#[inline(always)]
pub fn parse_ether_type<P: PacketBytes + ?Sized>(
    frame: &P,
    offset: usize,
    ether_type: u16,
) -> Result<Packet, ParseError> {
    let (offset, version) = skip_link_headers(frame, offset, ether_type)?;
    let offset = frame.blur(offset);
    match version {
        IpVersion::V4 => network::parse_ipv4(frame, offset).map(Packet::V4),
        IpVersion::V6 => network::parse_ipv6(frame, offset).map(Packet::V6),
    }
}

#[derive(Clone, Copy)]
enum IpVersion {
    V4,
    V6,
}

/// Finds the IP header behind tags, labels and PPPoE.
#[inline(always)]
fn skip_link_headers<P: PacketBytes + ?Sized>(
    frame: &P,
    mut offset: usize,
    mut ether_type: u16,
) -> Result<(usize, IpVersion), ParseError> {
    for _ in 0..=MAX_LINK_HEADERS {
        match ether_type {
            ETHER_TYPE_IPV4 => return Ok((offset, IpVersion::V4)),
            ETHER_TYPE_IPV6 => return Ok((offset, IpVersion::V6)),
            ETHER_TYPE_VLAN | ETHER_TYPE_QINQ | ETHER_TYPE_QINQ_OLD => {
                let [_, _, high, low] = frame.load::<VLAN_TAG_LEN>(offset)?;
                ether_type = u16::from_be_bytes([high, low]);
                offset += VLAN_TAG_LEN;
            }
            ETHER_TYPE_MPLS | ETHER_TYPE_MPLS_UPSTREAM => {
                let label = frame.load::<MPLS_LABEL_LEN>(offset)?;
                offset += MPLS_LABEL_LEN;
                let is_bottom_of_stack = label[2] & 1 != 0;
                if is_bottom_of_stack {
                    ether_type = ether_type_of_ip_version(frame, offset)?;
                }
            }
            ETHER_TYPE_PPPOE_SESSION => {
                let header = frame.load::<PPPOE_LEN>(offset)?;
                offset += PPPOE_LEN;
                ether_type = match u16::from_be_bytes([header[6], header[7]]) {
                    PPP_IPV4 => ETHER_TYPE_IPV4,
                    PPP_IPV6 => ETHER_TYPE_IPV6,
                    _ => return Err(ParseError::NonIp),
                };
            }
            _ => return Err(ParseError::NonIp),
        }
    }
    Err(ParseError::TooManyHeaders)
}

/// Whether the Ethernet header is followed by a VLAN tag of any kind.
#[inline(always)]
pub fn has_vlan_tag<P: PacketBytes + ?Sized>(frame: &P) -> bool {
    frame.load(ETHER_TYPE_OFFSET).is_ok_and(|ether_type| {
        matches!(
            u16::from_be_bytes(ether_type),
            ETHER_TYPE_VLAN | ETHER_TYPE_QINQ | ETHER_TYPE_QINQ_OLD
        )
    })
}

/// MPLS does not say what it carries; the first nibble does (RFC 4928, section 2).
#[inline(always)]
fn ether_type_of_ip_version<P: PacketBytes + ?Sized>(
    frame: &P,
    offset: usize,
) -> Result<u16, ParseError> {
    let [first] = frame.load::<1>(offset)?;
    match first >> 4 {
        4 => Ok(ETHER_TYPE_IPV4),
        6 => Ok(ETHER_TYPE_IPV6),
        _ => Err(ParseError::NonIp),
    }
}

/// Parses an IP packet without any link header, told apart by its version field.
pub fn parse_raw_ip<P: PacketBytes + ?Sized>(
    frame: &P,
    offset: usize,
) -> Result<Packet, ParseError> {
    let [first] = frame.load::<1>(offset)?;
    match first >> 4 {
        4 => network::parse_ipv4(frame, offset).map(Packet::V4),
        6 => network::parse_ipv6(frame, offset).map(Packet::V6),
        _ => Err(ParseError::InvalidIpHeader),
    }
}
