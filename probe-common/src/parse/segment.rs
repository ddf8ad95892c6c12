//! What each segment of a super-packet repeats on the wire.
//!
//! A super-packet (GSO, GRO) has its headers once and the payload of many segments. On the wire
//! each segment has all the headers: out of a tunnel the tunnel's and the inner ones, too. The
//! kernel tells programs how large the segments are, but not where the headers end, so these are
//! walked, from the outermost IP header to the innermost transport header.

use super::{OutOfBounds, PacketBytes};
use crate::headers::{
    ETHER_TYPE_OFFSET, ETHERNET_LEN, GENEVE_LEN, GENEVE_OPTION_WORDS, GRE_LEN, GRE_OPTIONAL_WORDS,
    IPV6_JUMBO_LEN, IPV6_JUMBO_OPTION, IPV6_LEN, SCTP_LEN, UDP_LEN, VLAN_TAG_LEN, VXLAN_HAS_VNI,
    VXLAN_LEN, ether_type,
    ip_protocol::{
        DESTINATION_OPTIONS, GRE, HOP_BY_HOP, IPV4_IN_IP, IPV6_IN_IP, ROUTING, SCTP, TCP, UDP,
    },
};

/// Extension headers followed behind each IPv6 header.
const MAX_EXTENSION_HEADERS: usize = 2;

/// Tunnels followed, one within the other.
pub const MAX_TUNNELS: usize = 1;

/// The headers of a super-packet, from the outermost IP header on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SegmentHeaders {
    /// Octets that each segment has.
    pub octets: usize,
    /// Octets that the super-packet has and no segment: the jumbo payload option that Linux puts
    /// into IPv6 packets above 64 KiB (BIG TCP, 5.19 and newer) and takes out when it cuts them.
    pub virtual_octets: usize,
}

/// Walks the headers of the super-packet that starts with its IP header. It stops at a header that
/// is cut or that it does not know.
#[inline(always)]
pub fn segment_headers<P: PacketBytes + ?Sized>(frame: &P) -> SegmentHeaders {
    let start = 0;
    let end = stated_octets(frame);
    let mut headers_end = start;
    let mut virtual_octets = 0;
    let mut network_offset = start;
    for _ in 0..=MAX_TUNNELS {
        let Ok(network) = walk_network(frame, frame.blur(network_offset)) else {
            break;
        };
        virtual_octets += network.virtual_octets;
        let transport_offset = frame.blur(network.end);
        headers_end = transport_offset + transport_len(frame, transport_offset, network.protocol);
        match inner_network(frame, transport_offset, end, network.protocol) {
            Ok(Some(inner)) => network_offset = inner,
            Ok(None) | Err(OutOfBounds) => break,
        }
    }
    SegmentHeaders {
        octets: headers_end.saturating_sub(start + virtual_octets),
        virtual_octets,
    }
}

/// What the outermost header says, or as good as endless where it says nothing (BIG TCP).
#[inline(always)]
fn stated_octets<P: PacketBytes + ?Sized>(frame: &P) -> usize {
    const ENDLESS: usize = 1 << 24;
    let octets = match frame.load::<6>(0) {
        Ok([first, _, high, low, ..]) if first >> 4 == 4 => {
            usize::from(u16::from_be_bytes([high, low]))
        }
        Ok([.., high, low]) => match usize::from(u16::from_be_bytes([high, low])) {
            0 => 0,
            payload_len => payload_len + IPV6_LEN,
        },
        Err(OutOfBounds) => 0,
    };
    if octets == 0 { ENDLESS } else { octets }
}

/// An IP header with its options or extension headers.
struct Network {
    /// Offset of the first byte behind them.
    end: usize,
    /// IP protocol of the header that starts there.
    protocol: u8,
    virtual_octets: usize,
}

#[inline(always)]
fn walk_network<P: PacketBytes + ?Sized>(frame: &P, offset: usize) -> Result<Network, OutOfBounds> {
    let header = frame.load::<10>(offset)?;
    if header[0] >> 4 == 4 {
        return Ok(Network {
            end: offset + usize::from(header[0] & 0x0f) * 4,
            protocol: header[9],
            virtual_octets: 0,
        });
    }
    if header[0] >> 4 != 6 {
        return Err(OutOfBounds);
    }
    let mut network = Network {
        end: offset + IPV6_LEN,
        protocol: header[6],
        virtual_octets: 0,
    };
    let has_no_payload_len = header[4..6] == [0; 2];
    for _ in 0..MAX_EXTENSION_HEADERS {
        if !matches!(network.protocol, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS) {
            break;
        }
        let [next, words, option, option_len] = frame.load::<4>(network.end)?;
        let len = (usize::from(words) + 1) * 8;
        if network.protocol == HOP_BY_HOP
            && has_no_payload_len
            && len == IPV6_JUMBO_LEN
            && [option, option_len] == IPV6_JUMBO_OPTION
        {
            network.virtual_octets = IPV6_JUMBO_LEN;
        }
        network.protocol = next;
        network.end = frame.blur(network.end + len);
    }
    Ok(network)
}

/// Length of the transport header, 0 of an unknown one.
#[inline(always)]
fn transport_len<P: PacketBytes + ?Sized>(frame: &P, offset: usize, protocol: u8) -> usize {
    match protocol {
        TCP => match frame.load::<1>(offset + 12) {
            Ok([data_offset]) => usize::from(data_offset >> 4) * 4, // RFC 9293, section 3.1
            Err(OutOfBounds) => 0,
        },
        UDP => UDP_LEN,
        SCTP => SCTP_LEN,
        _ => 0,
    }
}

/// Offset of the IP header inside a tunnel whose header is at `offset`, if it is one.
#[inline(always)]
fn inner_network<P: PacketBytes + ?Sized>(
    frame: &P,
    offset: usize,
    end: usize,
    protocol: u8,
) -> Result<Option<usize>, OutOfBounds> {
    match protocol {
        IPV4_IN_IP | IPV6_IN_IP => Ok(Some(offset)),
        GRE => {
            let [flags, _, high, low] = frame.load::<GRE_LEN>(offset)?;
            let mut len = GRE_LEN;
            for flag in GRE_OPTIONAL_WORDS {
                len += if flags & flag == 0 { 0 } else { 4 };
            }
            network_in(frame, offset + len, u16::from_be_bytes([high, low]))
        }
        UDP => {
            let inner = inner_of_udp(frame, offset + UDP_LEN)?;
            Ok(inner.filter(|inner| fills_the_rest(frame, *inner, end)))
        }
        _ => Ok(None),
    }
}

/// Offset of the IP header behind VXLAN or Geneve, by what these headers look like: the ports are a
/// matter of configuration.
#[inline(always)]
fn inner_of_udp<P: PacketBytes + ?Sized>(
    frame: &P,
    offset: usize,
) -> Result<Option<usize>, OutOfBounds> {
    let header = frame.load::<VXLAN_LEN>(offset)?;
    let geneve_type = u16::from_be_bytes([header[2], header[3]]);
    let (len, ether_type) = match geneve_type {
        ether_type::BRIDGED_ETHERNET | ether_type::IPV4 | ether_type::IPV6 => {
            let option_words = usize::from(header[0] & GENEVE_OPTION_WORDS);
            (GENEVE_LEN + option_words * 4, geneve_type)
        }
        _ if header[0] & VXLAN_HAS_VNI != 0 => (VXLAN_LEN, ether_type::BRIDGED_ETHERNET),
        _ => return Ok(None),
    };
    network_in(frame, offset + len, ether_type)
}

/// Offset of the IP header in what has this EtherType, through an Ethernet header and one VLAN tag.
#[inline(always)]
fn network_in<P: PacketBytes + ?Sized>(
    frame: &P,
    offset: usize,
    ether_type: u16,
) -> Result<Option<usize>, OutOfBounds> {
    let mut offset = frame.blur(offset);
    let mut ether_type = ether_type;
    if ether_type == ether_type::BRIDGED_ETHERNET {
        ether_type = u16::from_be_bytes(frame.load(offset + ETHER_TYPE_OFFSET)?);
        offset += ETHERNET_LEN;
    }
    if matches!(ether_type, ether_type::C_TAG | ether_type::S_TAG) {
        let [_, _, high, low] = frame.load::<VLAN_TAG_LEN>(offset)?;
        ether_type = u16::from_be_bytes([high, low]);
        offset += VLAN_TAG_LEN;
    }
    Ok(matches!(ether_type, ether_type::IPV4 | ether_type::IPV6).then_some(offset))
}

/// Whether an IP packet starts at `offset` and, as it says itself, ends at `end`.
///
/// This tells a tunnel from `UDP_SEGMENT` datagrams that an application has filled with packets of
/// its own: there the first packet ends with the first segment.
#[inline(always)]
fn fills_the_rest<P: PacketBytes + ?Sized>(frame: &P, offset: usize, end: usize) -> bool {
    let Ok(header) = frame.load::<6>(frame.blur(offset)) else {
        return false;
    };
    let rest = end.saturating_sub(offset);
    let stated = match header[0] >> 4 {
        4 => usize::from(u16::from_be_bytes([header[2], header[3]])),
        6 => match usize::from(u16::from_be_bytes([header[4], header[5]])) {
            0 => 0,
            payload_len => payload_len + IPV6_LEN,
        },
        _ => return false,
    };
    // 0: too long for the field (BIG TCP).
    stated == rest || stated == 0 && rest > usize::from(u16::MAX)
}
