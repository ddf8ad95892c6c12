//! IPv6 headers and extension headers (RFC 8200, RFC 4302).

use probe_common::{parse::ParseError, record::FLAG_SHORT_TRANSPORT};

use super::{
    Case, With, case, cut,
    frame::{
        AH, DESTINATION_OPTIONS, DST_PORT, ESP, FRAGMENT, HOP_BY_HOP, ICMPV6, IPV6, Ipv4, Ipv6,
        NO_NEXT_HEADER, ROUTING, SRC_PORT, TCP, UDP, authentication, ethernet, extension,
        extensions, fragment, join, tcp, udp,
    },
    v6,
};

pub(super) fn cases() -> Vec<Case> {
    [
        length_cases(),
        no_length_cases(),
        extension_cases(),
        chain_limit_cases(),
        cut_cases(),
    ]
    .concat()
}

/// An IPv6 frame whose header and extension headers are given, with a UDP datagram behind.
fn udp_behind(first: u8, extensions: &[&[u8]]) -> Vec<u8> {
    Ipv6::of(first).frame(&join(&[&join(extensions), &udp(4)]))
}

fn length_cases() -> Vec<Case> {
    let of = |payload_len, next_header, payload: &[u8]| {
        Ipv6 {
            payload_len: Some(payload_len),
            ..Ipv6::of(next_header)
        }
        .frame(payload)
    };
    vec![
        case(
            "ipv6 payload length beyond the frame",
            of(500, UDP, &udp(4)),
            v6(UDP, 52, 48).ports(SRC_PORT, DST_PORT).beyond_frame(488),
        ),
        case(
            "plain tcp6, payload length one beyond the frame",
            of(121, TCP, &join(&[&tcp(0x10), &[0; 100]])),
            v6(TCP, 160, 60)
                .ports(SRC_PORT, DST_PORT)
                .tcp_flags(0x10)
                .beyond_frame(1),
        ),
        case(
            "ipv6 payload length 65535",
            of(65535, UDP, &udp(4)),
            v6(UDP, 52, 48)
                .ports(SRC_PORT, DST_PORT)
                .beyond_frame(65_523),
        ),
        case(
            "udp6 ports in the padding only",
            of(3, UDP, &udp(4)),
            v6(UDP, 43, 48).flags(FLAG_SHORT_TRANSPORT),
        ),
        case(
            "ipv6 version 4",
            Ipv6 {
                version: 4,
                ..Ipv6::of(UDP)
            }
            .frame(&udp(4)),
            ParseError::InvalidIpHeader,
        ),
        case(
            "ipv6 version 15",
            Ipv6 {
                version: 15,
                ..Ipv6::of(UDP)
            }
            .frame(&udp(4)),
            ParseError::InvalidIpHeader,
        ),
        case(
            "ipv4 behind the ipv6 ether type",
            ethernet(IPV6, &Ipv4::of(UDP).packet(&udp(40))),
            ParseError::InvalidIpHeader,
        ),
    ]
}

fn no_length_cases() -> Vec<Case> {
    let of = |payload_len, next_header, payload: &[u8]| {
        Ipv6 {
            payload_len: Some(payload_len),
            ..Ipv6::of(next_header)
        }
        .frame(payload)
    };
    // A payload of 65,535 octets has a length field for itself, one of 65,536 does not.
    let hop_by_hop = |payload_len: u32| {
        let option = [&[UDP, 0, 0xc2, 4], &payload_len.to_be_bytes()[..]].concat();
        let mut payload = join(&[&option, &udp(60_000)]);
        payload.resize(payload_len as usize, 0x55);
        payload
    };
    vec![
        case(
            "ipv6 payload length 0: what follows is padding",
            of(0, UDP, &udp(4)),
            v6(UDP, 40, 48).flags(FLAG_SHORT_TRANSPORT),
        ),
        case(
            "ipv6 payload length 0, tcp in the padding",
            of(0, TCP, &join(&[&tcp(0x10), &[0; 100]])),
            v6(TCP, 40, 40).flags(FLAG_SHORT_TRANSPORT),
        ),
        case(
            "ipv6 payload length 0, unknown protocol, padded",
            of(0, 99, &[0; 6]),
            v6(99, 40, 40),
        ),
        case(
            "ipv6 payload length 0, extension header in the padding",
            of(0, HOP_BY_HOP, &join(&[&extension(UDP, 0), &udp(4)])),
            ParseError::Truncated,
        ),
        case(
            "ipv6 payload length 0, long padding",
            of(0, 99, &[0; 1400]),
            v6(99, 40, 40),
        ),
        case(
            "the shortest jumbogram",
            of(0, HOP_BY_HOP, &hop_by_hop(65_536)),
            v6(UDP, 40 + 65_536, 56).ports(SRC_PORT, DST_PORT),
        ),
        case(
            "jumbogram",
            of(0, HOP_BY_HOP, &hop_by_hop(100_000)),
            v6(UDP, 100_040, 56).ports(SRC_PORT, DST_PORT),
        ),
        case(
            "big tcp without a jumbo option",
            of(0, TCP, &join(&[&tcp(0x10), &[0; 70_000]])),
            v6(TCP, 70_060, 60)
                .ports(SRC_PORT, DST_PORT)
                .tcp_flags(0x10),
        ),
        case(
            "ipv6 payload length 0, no next header, padded",
            of(0, NO_NEXT_HEADER, &[0; 6]),
            v6(NO_NEXT_HEADER, 40, 40),
        ),
        case(
            "ipv6 payload length 0, udp, nothing behind",
            of(0, UDP, &[]),
            v6(UDP, 40, 48).flags(FLAG_SHORT_TRANSPORT),
        ),
    ]
}

fn extension_cases() -> Vec<Case> {
    let is_udp = |octets, headers| v6(UDP, octets, headers).ports(SRC_PORT, DST_PORT);
    vec![
        case(
            "hop-by-hop",
            udp_behind(HOP_BY_HOP, &[&extension(UDP, 0)]),
            is_udp(60, 56),
        ),
        case(
            "hop-by-hop of 16 bytes",
            udp_behind(HOP_BY_HOP, &[&extension(UDP, 1)]),
            is_udp(68, 64),
        ),
        case(
            "destination options of 2048 bytes",
            udp_behind(DESTINATION_OPTIONS, &[&extension(UDP, 255)]),
            is_udp(2100, 2096),
        ),
        case(
            "routing",
            udp_behind(ROUTING, &[&extension(UDP, 2)]),
            is_udp(76, 72),
        ),
        case(
            "authentication",
            udp_behind(AH, &[&authentication(UDP)]),
            is_udp(76, 72),
        ),
        case(
            "all in the recommended order",
            udp_behind(
                HOP_BY_HOP,
                &[
                    &extension(DESTINATION_OPTIONS, 0),
                    &extension(ROUTING, 0),
                    &extension(FRAGMENT, 2),
                    &fragment(AH, 0, true),
                    &authentication(DESTINATION_OPTIONS),
                    &extension(UDP, 0),
                ],
            ),
            is_udp(120 + 12, 120 + 8).first_fragment(),
        ),
        case(
            "hop-by-hop twice",
            udp_behind(HOP_BY_HOP, &[&extension(HOP_BY_HOP, 0), &extension(UDP, 0)]),
            is_udp(68, 64),
        ),
        case(
            "hop-by-hop in the wrong place",
            udp_behind(
                DESTINATION_OPTIONS,
                &[&extension(HOP_BY_HOP, 0), &extension(UDP, 0)],
            ),
            is_udp(68, 64),
        ),
        case(
            "hop-by-hop, tcp",
            Ipv6::of(HOP_BY_HOP).frame(&join(&[&extension(TCP, 0), &tcp(0x12)])),
            v6(TCP, 68, 68).ports(SRC_PORT, DST_PORT).tcp_flags(0x12),
        ),
        case(
            "hop-by-hop, icmpv6 (mld)",
            Ipv6::of(HOP_BY_HOP)
                .frame(&join(&[&extension(ICMPV6, 0), &[143, 0, 0, 0, 0, 0, 0, 0]])),
            v6(ICMPV6, 56, 48).icmp_type(143),
        ),
        case(
            "no next header",
            Ipv6::of(NO_NEXT_HEADER).frame(&[]),
            v6(NO_NEXT_HEADER, 40, 40),
        ),
        case(
            "hop-by-hop, no next header",
            Ipv6::of(HOP_BY_HOP).frame(&extension(NO_NEXT_HEADER, 0)),
            v6(NO_NEXT_HEADER, 48, 48),
        ),
        case(
            "esp ends the walk",
            Ipv6::of(ESP).frame(&[UDP; 24]),
            v6(ESP, 64, 40),
        ),
        case(
            "mobility ends the walk",
            Ipv6::of(135).frame(&extension(UDP, 0)),
            v6(135, 48, 40),
        ),
        case(
            "host identity ends the walk",
            Ipv6::of(139).frame(&[59, 4, 0, 0, 0, 0, 0, 0]),
            v6(139, 48, 40),
        ),
        case(
            "shim6 ends the walk",
            Ipv6::of(140).frame(&join(&[&extension(UDP, 0), &udp(4)])),
            v6(140, 60, 40),
        ),
    ]
}

fn chain_limit_cases() -> Vec<Case> {
    let chain_of = |count| udp_behind(DESTINATION_OPTIONS, &[&extensions(count, UDP)]);
    vec![
        case(
            "eight extension headers",
            chain_of(8),
            v6(UDP, 40 + 64 + 12, 40 + 64 + 8).ports(SRC_PORT, DST_PORT),
        ),
        case(
            "nine extension headers",
            chain_of(9),
            ParseError::TooManyHeaders,
        ),
        case(
            "a hundred extension headers",
            chain_of(100),
            ParseError::TooManyHeaders,
        ),
    ]
}

fn cut_cases() -> Vec<Case> {
    let udp6 = || Ipv6::of(UDP).frame(&udp(4));
    let hop_by_hop = || udp_behind(HOP_BY_HOP, &[&extension(UDP, 0)]);
    vec![
        case(
            "ipv6 header of 1 byte",
            udp6()[..15].to_vec(),
            ParseError::Truncated,
        ),
        case(
            "ipv6 header of 39 bytes",
            udp6()[..14 + 39].to_vec(),
            ParseError::Truncated,
        ),
        cut(
            "cut in the ipv6 source",
            14 + 20,
            udp6(),
            ParseError::Truncated,
        ),
        cut(
            "cut behind the ipv6 header",
            14 + 40,
            udp6(),
            v6(UDP, 52, 48).flags(FLAG_SHORT_TRANSPORT),
        ),
        cut(
            "cut before the extension header",
            14 + 40,
            hop_by_hop(),
            ParseError::Truncated,
        ),
        cut(
            "cut in the extension header",
            14 + 45,
            hop_by_hop(),
            ParseError::Truncated,
        ),
        cut(
            "cut behind the extension header",
            14 + 48,
            hop_by_hop(),
            v6(UDP, 60, 56).flags(FLAG_SHORT_TRANSPORT),
        ),
        case(
            "extension header beyond the payload length",
            Ipv6 {
                payload_len: Some(7),
                ..Ipv6::of(HOP_BY_HOP)
            }
            .frame(&join(&[&extension(UDP, 0), &udp(4)])),
            ParseError::Truncated,
        ),
        case(
            "extension header longer than the frame",
            Ipv6::of(HOP_BY_HOP).frame(&[UDP, 200, 1, 4, 0, 0, 0, 0]),
            ParseError::Truncated,
        ),
        case(
            "extension header of one byte",
            Ipv6::of(HOP_BY_HOP).frame(&[UDP]),
            ParseError::Truncated,
        ),
    ]
}
