//! From the first byte of the frame to the outermost IP header.

use super::{
    Packet, PacketBytes, ParseError,
    network::{self, Source},
    plain,
};
use crate::headers::{
    ETHER_TYPE_OFFSET, ETHERNET_LEN, MPLS_LABEL_LEN, PPP_PROTOCOL_ENDS, PPPOE_LEN, VLAN_TAG_LEN,
    ether_type, ppp_protocol,
};

/// Tags, labels and PPPoE headers followed before [`ParseError::TooManyHeaders`].
pub const MAX_LINK_HEADERS: usize = 8;

/// Parses a frame that starts with an Ethernet header.
///
/// # Errors
///
/// As [`parse_any_ethernet`].
#[inline(always)]
pub fn parse_ethernet<P: PacketBytes + ?Sized>(frame: &P) -> Result<Packet, ParseError> {
    match plain::parse(frame) {
        Some(packet) => Ok(packet),
        None => parse_any_ethernet(frame),
    }
}

/// [`parse_ethernet`] without its search for plain packets, for callers that have tried it.
///
/// # Errors
///
/// As [`parse_ether_type`], with the EtherType of the Ethernet header; [`ParseError::Truncated`] if
/// the frame ends inside that.
#[inline(always)]
pub fn parse_any_ethernet<P: PacketBytes + ?Sized>(frame: &P) -> Result<Packet, ParseError> {
    let ether_type = u16::from_be_bytes(frame.load(ETHER_TYPE_OFFSET)?);
    parse_ether_type(frame, ETHERNET_LEN, ether_type)
}

/// Parses a frame from `offset` on, where the payload of the given EtherType starts.
///
/// # Errors
///
/// [`ParseError::NonIp`]: no IP packet follows. [`ParseError::Truncated`]: the frame ends inside a
/// header. [`ParseError::TooManyHeaders`]: more than [`MAX_LINK_HEADERS`] precede the IP header.
/// Else as [`network::parse_ipv4`] and [`network::parse_ipv6`].
#[inline(always)]
pub fn parse_ether_type<P: PacketBytes + ?Sized>(
    frame: &P,
    offset: usize,
    ether_type: u16,
) -> Result<Packet, ParseError> {
    let Found {
        offset,
        version,
        labels,
    } = skip_link_headers(frame, offset, ether_type)?;
    let offset = frame.blur(offset);
    let source = Source { labels };
    match version {
        IpVersion::V4 => network::parse_probable_ipv4(frame, offset, source).map(Packet::V4),
        IpVersion::V6 => network::parse_probable_ipv6(frame, offset, source).map(Packet::V6),
    }
}

/// An IP header behind link headers.
struct Found {
    offset: usize,
    version: IpVersion,
    /// 1 if there are MPLS labels before it, which do not say what follows.
    labels: usize,
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
) -> Result<Found, ParseError> {
    let mut labels = frame.blur(0);
    for _ in 0..=MAX_LINK_HEADERS {
        match ether_type {
            ether_type::IPV4 | ether_type::IPV6 => {
                let version = match ether_type {
                    ether_type::IPV4 => IpVersion::V4,
                    _ => IpVersion::V6,
                };
                return Ok(Found {
                    offset,
                    version,
                    labels,
                });
            }
            ether_type::C_TAG | ether_type::S_TAG | ether_type::OLD_S_TAG => {
                let [_, _, high, low] = frame.load::<VLAN_TAG_LEN>(offset)?;
                ether_type = u16::from_be_bytes([high, low]);
                offset += VLAN_TAG_LEN;
            }
            ether_type::MPLS | ether_type::MPLS_UPSTREAM => {
                let label = frame.load::<MPLS_LABEL_LEN>(offset)?;
                offset += MPLS_LABEL_LEN;
                labels = frame.blur(1);
                let is_bottom_of_stack = label[2] & 1 != 0;
                if is_bottom_of_stack {
                    ether_type = ether_type_of_ip_version(frame, offset)?;
                }
            }
            ether_type::PPPOE_SESSION => {
                let [.., high, low] = frame.load::<PPPOE_LEN>(offset)?;
                offset += PPPOE_LEN;
                let mut protocol = u16::from_be_bytes([high, low]);
                if high & PPP_PROTOCOL_ENDS != 0 {
                    protocol = high.into();
                    offset -= 1;
                }
                ether_type = match protocol {
                    ppp_protocol::IPV4 => ether_type::IPV4,
                    ppp_protocol::IPV6 => ether_type::IPV6,
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
            ether_type::C_TAG | ether_type::S_TAG | ether_type::OLD_S_TAG
        )
    })
}

/// MPLS does not say what it carries; the first nibble does (RFC 4928, section 2). It may lie: an Ethernet
/// frame without control word begins with an address, whose first nibble may be 4 or 6 (RFC 8469, section
/// 1). See [`Source`].
#[inline(always)]
fn ether_type_of_ip_version<P: PacketBytes + ?Sized>(
    frame: &P,
    offset: usize,
) -> Result<u16, ParseError> {
    let [first] = frame.load::<1>(offset)?;
    match first >> 4 {
        4 => Ok(ether_type::IPV4),
        6 => Ok(ether_type::IPV6),
        _ => Err(ParseError::NonIp),
    }
}

/// Parses an IP packet without any link header, told apart by its version field.
///
/// # Errors
///
/// [`ParseError::InvalidIpHeader`]: the version is neither 4 nor 6. [`ParseError::Truncated`]:
/// nothing lies at `offset`. Else as [`network::parse_ipv4`] and [`network::parse_ipv6`].
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
