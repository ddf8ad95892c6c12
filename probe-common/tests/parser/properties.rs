//! What must hold for any packet: the parser never panics, reads nothing behind the packet, and
//! says less, never something else, the less of a frame was captured.

use probe_common::{
    ephash::EpHash,
    headers::TCP_THROUGH_FLAGS_LEN,
    parse::{
        CapturedFrame, Observation, Packet, ParseError,
        link::{
            MAX_LINK_HEADERS, parse_any_ethernet, parse_ether_type, parse_ethernet, parse_raw_ip,
        },
        network::MAX_EXTENSION_HEADERS,
        plain,
    },
    record::FLAG_SHORT_TRANSPORT,
};
use proptest::prelude::*;

use crate::packets::{
    self,
    frame::{self, Ipv4, Ipv6},
};

fn parse(bytes: &[u8], wire_len: usize) -> Result<Packet, ParseError> {
    parse_ethernet(&CapturedFrame { bytes, wire_len })
}

/// The parts of an observation that do not depend on the IP version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Facts {
    ends: [[u8; 16]; 2],
    ports: [u16; 2],
    ip_protocol: u8,
    octets: u32,
    header_octets: u16,
    tcp_flags: u8,
    aux: u8,
    flags: u8,
    fragment_id: u32,
}

fn facts(packet: Packet) -> Facts {
    fn of<const N: usize>(observation: Observation<EpHash<N>>) -> Facts {
        let widen = |address: [u8; N]| {
            let mut wide = [0; 16];
            wide[..N].copy_from_slice(&address);
            wide
        };
        let key = observation.key;
        Facts {
            ends: [widen(key.src_addr), widen(key.dst_addr)],
            ports: [key.src_port(), key.dst_port()],
            ip_protocol: key.ip_protocol,
            octets: observation.octets,
            header_octets: observation.header_octets,
            tcp_flags: observation.tcp_flags,
            aux: observation.aux,
            flags: observation.flags,
            fragment_id: observation.fragment_id,
        }
    }
    match packet {
        Packet::V4(observation) => of(observation),
        Packet::V6(observation) => of(observation),
    }
}

/// Whether `part`, from a cut frame, says nothing that `whole` contradicts.
fn agrees(part: Facts, whole: Facts) -> bool {
    let is_short = part.flags & FLAG_SHORT_TRANSPORT != 0;
    part.ends == whole.ends
        && part.ip_protocol == whole.ip_protocol
        && part.octets == whole.octets
        && part.fragment_id == whole.fragment_id
        && part.header_octets <= whole.header_octets
        && part.flags & !FLAG_SHORT_TRANSPORT == whole.flags & !FLAG_SHORT_TRANSPORT
        && (part == whole
            || is_short
                && (part.ports == whole.ports || part.ports == [0, 0])
                && [0, whole.tcp_flags].contains(&part.tcp_flags)
                && [0, whole.aux].contains(&part.aux))
}

/// Parses every prefix of a frame, from nothing to all.
fn check_every_cut(name: &str, bytes: &[u8], wire_len: usize) {
    let whole = parse(bytes, wire_len);
    let mut was_parsed = false;
    for len in 0..bytes.len() {
        let part = parse(&bytes[..len], wire_len);
        let is_right = match (part, whole) {
            (Ok(part), Ok(whole)) => agrees(facts(part), facts(whole)),
            (Err(ParseError::Truncated), _) => !was_parsed,
            (Err(part), Err(whole)) => part == whole,
            _ => false,
        };
        assert!(is_right, "{name} cut at {len}: {part:?}, whole {whole:?}");
        was_parsed = part.is_ok();
    }
}

/// Whether the quick check for plain packets says anything: then it is what the general parser says.
fn quick_look(bytes: &[u8], wire_len: usize) -> bool {
    let frame = CapturedFrame { bytes, wire_len };
    let v4 = plain::parse_ipv4(&frame).map(Packet::V4);
    let v6 = plain::parse_ipv6(&frame).map(Packet::V6);
    assert!(v4.is_none() || v6.is_none());
    let Some(packet) = v4.or(v6) else {
        return false;
    };
    assert_eq!(Ok(packet), parse_any_ethernet(&frame), "{bytes:?}");
    true
}

#[test]
fn a_quick_look_at_every_case_says_nothing_else() {
    for case in packets::cases() {
        for len in 0..=case.frame.len() {
            quick_look(&case.frame[..len], case.wire_len);
        }
    }
}

#[test]
fn every_cut_of_every_case_says_less_and_nothing_else() {
    for case in packets::cases() {
        check_every_cut(case.name, &case.frame, case.wire_len);
    }
}

/// A well-formed packet.
#[derive(Clone, Debug)]
struct Spec {
    link: Vec<u16>,
    is_v6: bool,
    src: [u8; 16],
    dst: [u8; 16],
    option_words: usize,
    extensions: Vec<u8>,
    ip_protocol: u8,
    src_port: u16,
    dst_port: u16,
    tcp_flags: u8,
    payload_len: u16,
}

const NOPS: [u8; 40] = [1; 40];

const EXTENSIONS: [u8; 4] = [
    frame::HOP_BY_HOP,
    frame::ROUTING,
    frame::DESTINATION_OPTIONS,
    frame::AH,
];

impl Spec {
    fn transport(&self) -> Vec<u8> {
        let mut header = match self.ip_protocol {
            frame::TCP => frame::tcp(self.tcp_flags),
            _ => frame::udp(0),
        };
        header[..2].copy_from_slice(&self.src_port.to_be_bytes());
        header[2..4].copy_from_slice(&self.dst_port.to_be_bytes());
        header.resize(header.len() + usize::from(self.payload_len), 0x55);
        header
    }

    fn ip_packet(&self) -> Vec<u8> {
        if self.is_v6 {
            let mut next_header = self.ip_protocol;
            let mut payload = self.transport();
            for &extension in self.extensions.iter().rev() {
                let header = match extension {
                    frame::AH => frame::authentication(next_header),
                    _ => frame::extension(next_header, 1),
                };
                payload = [header, payload].concat();
                next_header = extension;
            }
            let mut packet = Ipv6::of(next_header).packet(&payload);
            packet[8..24].copy_from_slice(&self.src);
            packet[24..40].copy_from_slice(&self.dst);
            packet
        } else {
            let options = &NOPS[..self.option_words * 4];
            let mut packet = Ipv4 {
                options,
                ..Ipv4::of(self.ip_protocol)
            }
            .packet(&self.transport());
            packet[12..16].copy_from_slice(&self.src[..4]);
            packet[16..20].copy_from_slice(&self.dst[..4]);
            packet
        }
    }

    fn frame(&self) -> Vec<u8> {
        let mut ether_type = if self.is_v6 { frame::IPV6 } else { frame::IPV4 };
        let mut payload = self.ip_packet();
        for &tag in self.link.iter().rev() {
            payload = frame::vlan(7, ether_type, &payload);
            ether_type = tag;
        }
        frame::ethernet(ether_type, &payload)
    }

    /// Whether the quick check sees it whole: it asks for the octets up to the flags of TCP, which
    /// a datagram of fewer than six octets does not have.
    fn is_plain(&self) -> bool {
        let has_plain_ip = if self.is_v6 {
            self.extensions.is_empty()
        } else {
            self.option_words == 0
        };
        self.link.is_empty()
            && has_plain_ip
            && matches!(self.ip_protocol, frame::TCP | frame::UDP)
            && self.transport().len() >= TCP_THROUGH_FLAGS_LEN
    }

    fn has_ports(&self) -> bool {
        matches!(self.ip_protocol, frame::TCP | frame::UDP | frame::SCTP)
    }

    fn reversed(&self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            ..self.clone()
        }
    }
}

fn ip_protocol() -> impl Strategy<Value = u8> {
    // Extension headers would be walked, in IPv6.
    let others = any::<u8>().prop_filter("no extension header", |number| {
        !EXTENSIONS.contains(number) && *number != frame::FRAGMENT
    });
    prop_oneof![
        3 => Just(frame::TCP),
        3 => Just(frame::UDP),
        1 => Just(frame::SCTP),
        3 => others,
    ]
}

/// None as often as some: without, plain packets would be one of hundreds.
fn none_or_up_to(max: usize) -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 1..=max]
}

fn spec() -> impl Strategy<Value = Spec> {
    let tag = prop::sample::select(vec![frame::C_TAG, frame::S_TAG, frame::OLD_S_TAG]);
    let extension = prop::sample::select(EXTENSIONS.to_vec());
    (
        none_or_up_to(MAX_LINK_HEADERS)
            .prop_flat_map(move |count| prop::collection::vec(tag.clone(), count)),
        any::<(bool, [u8; 16], [u8; 16])>(),
        none_or_up_to(10),
        none_or_up_to(MAX_EXTENSION_HEADERS)
            .prop_flat_map(move |count| prop::collection::vec(extension.clone(), count)),
        ip_protocol(),
        any::<(u16, u16, u8)>(),
        0..64u16,
    )
        .prop_map(
            |(link, (is_v6, src, dst), option_words, extensions, ip_protocol, l4, len)| Spec {
                link,
                is_v6,
                src,
                dst,
                option_words,
                extensions,
                ip_protocol,
                src_port: l4.0,
                dst_port: l4.1,
                tcp_flags: l4.2,
                payload_len: len,
            },
        )
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..256),
        wire_len: usize,
        offset in prop_oneof![0..300usize, any::<usize>()],
        ether_type in prop_oneof![
            Just(frame::IPV4), Just(frame::IPV6), Just(frame::C_TAG), Just(frame::MPLS),
            Just(frame::PPPOE_SESSION), any::<u16>(),
        ],
    ) {
        let captured = CapturedFrame { bytes: &bytes, wire_len };
        let _ = parse_ethernet(&captured);
        let _ = parse_raw_ip(&captured, offset);
        let _ = parse_ether_type(&captured, offset, ether_type);
        let _ = parse_ether_type(&bytes[..], offset, ether_type);
    }

    /// Random bytes are hardly ever a packet; spoilt packets often are.
    #[test]
    fn spoilt_packets_say_less_the_more_is_cut(
        spec in spec(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = spec.frame();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check_every_cut("spoilt", &bytes, bytes.len());
        for len in 0..=bytes.len() {
            quick_look(&bytes[..len], bytes.len());
        }
    }

    #[test]
    fn a_quick_look_is_enough_for_plain_packets(spec in spec()) {
        let bytes = spec.frame();
        prop_assert_eq!(quick_look(&bytes, bytes.len()), spec.is_plain());
    }

    #[test]
    fn well_formed_packets_are_read_right(spec in spec()) {
        let packet_len = u32::try_from(spec.ip_packet().len()).unwrap();
        let bytes = spec.frame();
        let found = parse(&bytes, bytes.len()).unwrap();
        prop_assert_eq!(matches!(found, Packet::V6(_)), spec.is_v6);
        let found = facts(found);
        let address_len = if spec.is_v6 { 16 } else { 4 };
        prop_assert_eq!(&found.ends[0][..address_len], &spec.src[..address_len]);
        prop_assert_eq!(&found.ends[1][..address_len], &spec.dst[..address_len]);
        prop_assert_eq!(found.octets, packet_len, "as the header says");
        prop_assert_eq!(found.ip_protocol, spec.ip_protocol);
        let ports = if spec.has_ports() { [spec.src_port, spec.dst_port] } else { [0, 0] };
        prop_assert_eq!(found.ports, ports);
        let flags = if spec.ip_protocol == frame::TCP { spec.tcp_flags } else { 0 };
        prop_assert_eq!(found.tcp_flags, flags);
        prop_assert_eq!(found.flags, 0);
        prop_assert!(u32::from(found.header_octets) <= found.octets);
    }

    #[test]
    fn the_answer_has_the_reversed_key(spec in spec()) {
        let there = parse(&spec.frame(), 0).unwrap();
        let back = parse(&spec.reversed().frame(), 0).unwrap();
        match (there, back) {
            (Packet::V4(there), Packet::V4(back)) => prop_assert_eq!(there.key.reverse(), back.key),
            (Packet::V6(there), Packet::V6(back)) => prop_assert_eq!(there.key.reverse(), back.key),
            other => prop_assert!(false, "{other:?}"),
        }
    }

    /// Padding to the least Ethernet frame, trailers and frame check sequences are no packet.
    #[test]
    fn bytes_behind_the_packet_are_not_read(
        spec in spec(),
        kept in any::<prop::sample::Index>(),
        trailer in prop::collection::vec(any::<u8>(), 0..80),
        other in any::<u8>(),
    ) {
        // A packet whose transport header is cut by the length field, not by the frame.
        let link_len = spec.frame().len() - spec.ip_packet().len();
        let headers_len = spec.ip_packet().len() - spec.transport().len();
        let payload_len = kept.index(spec.transport().len() + 1);
        let mut frame = spec.frame();
        let (field, len) = if spec.is_v6 {
            (link_len + 4, headers_len - 40 + payload_len)
        } else {
            (link_len + 2, headers_len + payload_len)
        };
        prop_assume!(len > 0);
        frame[field..field + 2].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        frame.truncate(link_len + headers_len + payload_len);
        let with = |trailer: &[u8]| parse(&[&frame, trailer].concat(), frame.len() + trailer.len());
        let alone = with(&[]);
        prop_assert!(alone.is_ok());
        prop_assert_eq!(with(&trailer), alone);
        prop_assert_eq!(with(&vec![other; trailer.len()]), alone);
    }
}
