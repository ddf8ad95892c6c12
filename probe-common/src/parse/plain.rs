//! The plain case, in one step: Ethernet without tags, IP without options or extension headers,
//! whole TCP or UDP headers. Nearly every packet is one.
//!
//! It says nothing that the general parser would not say (a property test compares them), only
//! sooner: one bounds check for a whole head, fields at constant offsets and in whole words. A datagram
//! that ends before the flags of TCP would lie is not worth a check of its own. A packet that states more
//! octets than its frame has is left to the general parser, which counts them.

use super::{Observation, Packet, PacketBytes, Start, network::wire_header_octets};
use crate::{
    ephash::EpHash,
    headers::{
        ETHER_TYPE_OFFSET, ETHERNET_LEN, IPV4_FRAGMENT_OFFSET_MASK, IPV4_MIN_LEN,
        IPV4_MORE_FRAGMENTS, IPV6_LEN, TCP_THROUGH_FLAGS_LEN, UDP_LEN, ether_type,
        ip_protocol::{TCP, UDP},
    },
};

/// Version 4, and five words.
const VERSION_4_NO_OPTIONS: u8 = 0x45;

/// Octets of IP payload without which a part of what is read could be padding. Those of TCP, for both:
/// a bound of its own would cost each packet more than it gains for datagrams of up to five octets.
const LEAST_PAYLOAD: usize = TCP_THROUGH_FLAGS_LEN;

/// Offset of the transport header.
const TRANSPORT_V4: usize = ETHERNET_LEN + IPV4_MIN_LEN;
const TRANSPORT_V6: usize = ETHERNET_LEN + IPV6_LEN;

/// Parses a plain packet of either version.
#[inline(always)]
pub(super) fn parse<P: PacketBytes + ?Sized>(frame: &P) -> Option<Packet> {
    match parse_ipv4(frame) {
        Some(observation) => Some(Packet::V4(observation)),
        None => parse_ipv6(frame).map(Packet::V6),
    }
}

/// Parses a plain IPv4 packet. `None` says nothing: the general parser has to decide.
#[inline(always)]
pub fn parse_ipv4<P: PacketBytes + ?Sized>(frame: &P) -> Option<Observation<EpHash<4>>> {
    parse_ipv4_if(frame, |octets| has_room(frame, octets))
}

/// Parses a plain IPv6 packet. `None` says nothing.
#[inline(always)]
pub fn parse_ipv6<P: PacketBytes + ?Sized>(frame: &P) -> Option<Observation<EpHash<16>>> {
    parse_ipv6_if(frame, |octets| has_room(frame, octets))
}

/// Whether the frame has as many octets as the header of its packet states.
#[inline(always)]
fn has_room<P: PacketBytes + ?Sized>(frame: &P, octets: usize) -> bool {
    ETHERNET_LEN + octets <= frame.wire_len()
}

/// [`parse_ipv4`] for a caller that finds out the length of the frame anyway. It is asked last, and once: whether
/// the frame has so many octets behind its Ethernet header. If it has, the packet is plain.
#[inline(always)]
pub fn parse_ipv4_if<P: PacketBytes + ?Sized>(
    frame: &P,
    has_room: impl FnOnce(usize) -> bool,
) -> Option<Observation<EpHash<4>>> {
    const IP: usize = ETHERNET_LEN;
    let start = frame.start(TRANSPORT_V4 + TCP_THROUGH_FLAGS_LEN)?;
    let fragment = u16::from_be_bytes(start.bytes_2::<{ IP + 6 }>());
    let [type_high, type_low, version_and_len, _] = start.bytes_4::<ETHER_TYPE_OFFSET>();
    if u16::from_be_bytes([type_high, type_low]) != ether_type::IPV4
        || version_and_len != VERSION_4_NO_OPTIONS
        || fragment & (IPV4_FRAGMENT_OFFSET_MASK | IPV4_MORE_FRAGMENTS) != 0
    {
        return None;
    }
    let ip_protocol = start.byte::<{ IP + 9 }>();
    let transport = match ip_protocol {
        TCP => Transport::tcp(
            start.byte::<{ TRANSPORT_V4 + 12 }>(),
            start.byte::<{ TRANSPORT_V4 + 13 }>(),
        ),
        UDP => Transport::UDP,
        _ => return None,
    };
    let total_len = start.number_16::<{ IP + 2 }>();
    if total_len < IPV4_MIN_LEN + LEAST_PAYLOAD || !has_room(total_len) {
        return None;
    }
    let key = EpHash {
        src_addr: start.bytes_4::<{ IP + 12 }>(),
        src_port: start.bytes_2::<TRANSPORT_V4>(),
        dst_addr: start.bytes_4::<{ IP + 16 }>(),
        dst_port: start.bytes_2::<{ TRANSPORT_V4 + 2 }>(),
        ip_protocol,
    };
    Some(transport.observation(key, total_len, IPV4_MIN_LEN))
}

/// [`parse_ipv6`] for such a caller: see [`parse_ipv4_if`].
#[inline(always)]
pub fn parse_ipv6_if<P: PacketBytes + ?Sized>(
    frame: &P,
    has_room: impl FnOnce(usize) -> bool,
) -> Option<Observation<EpHash<16>>> {
    const IP: usize = ETHERNET_LEN;
    let start = frame.start(TRANSPORT_V6 + TCP_THROUGH_FLAGS_LEN)?;
    let [type_high, type_low, version_and_class, _] = start.bytes_4::<ETHER_TYPE_OFFSET>();
    if u16::from_be_bytes([type_high, type_low]) != ether_type::IPV6 || version_and_class >> 4 != 6
    {
        return None;
    }
    let ip_protocol = start.byte::<{ IP + 6 }>();
    let transport = match ip_protocol {
        TCP => Transport::tcp(
            start.byte::<{ TRANSPORT_V6 + 12 }>(),
            start.byte::<{ TRANSPORT_V6 + 13 }>(),
        ),
        UDP => Transport::UDP,
        _ => return None,
    };
    let payload_len = start.number_16::<{ IP + 4 }>();
    if payload_len < LEAST_PAYLOAD || !has_room(payload_len + IPV6_LEN) {
        return None;
    }
    let key = EpHash {
        src_addr: start.bytes_16::<{ IP + 8 }>(),
        src_port: start.bytes_2::<TRANSPORT_V6>(),
        dst_addr: start.bytes_16::<{ IP + 24 }>(),
        dst_port: start.bytes_2::<{ TRANSPORT_V6 + 2 }>(),
        ip_protocol,
    };
    Some(transport.observation(key, payload_len + IPV6_LEN, IPV6_LEN))
}

/// What a transport header says beside the ports.
struct Transport {
    header_octets: u16,
    tcp_flags: u8,
}

impl Transport {
    const UDP: Self = Self {
        header_octets: wire_header_octets(UDP_LEN),
        tcp_flags: 0,
    };

    /// From data offset and flags (RFC 9293, section 3.1).
    #[inline(always)]
    fn tcp(data_offset: u8, tcp_flags: u8) -> Self {
        Self {
            header_octets: u16::from(data_offset >> 4) * 4,
            tcp_flags,
        }
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "lengths come from fields of 16 bits and constants"
    )]
    fn observation<const N: usize>(
        &self,
        key: EpHash<N>,
        octets: usize,
        network_octets: usize,
    ) -> Observation<EpHash<N>> {
        Observation {
            key,
            octets: octets as u32,
            octets_beyond_frame: 0,
            header_octets: network_octets as u16 + self.header_octets,
            tcp_flags: self.tcp_flags,
            aux: self.tcp_flags,
            flags: 0,
            fragment_id: 0,
        }
    }
}
