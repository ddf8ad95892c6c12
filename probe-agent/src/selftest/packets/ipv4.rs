//! IPv4 headers and options (RFC 791).

use probe_common::{parse::ParseError, record::FLAG_SHORT_TRANSPORT};

use super::{
    Case, With, case, cut,
    frame::{
        C_TAG, DST_PORT, ICMP, IPV4, Ipv4, Ipv6, SRC_PORT, TCP, UDP, ethernet, join, tcp, udp, vlan,
    },
    v4,
};

pub(super) fn cases() -> Vec<Case> {
    [
        length_cases(),
        beyond_frame_cases(),
        option_cases(),
        header_length_cases(),
        cut_cases(),
    ]
    .concat()
}

fn length_cases() -> Vec<Case> {
    let udp_of = |total_len| {
        Ipv4 {
            total_len: Some(total_len),
            ..Ipv4::of(UDP)
        }
        .frame(&udp(4))
    };
    vec![
        case(
            "ipv4 total length 0: what the frame holds",
            udp_of(0),
            v4(UDP, 32, 28).ports(SRC_PORT, DST_PORT),
        ),
        case(
            "ipv4 total length 0, 9000 bytes",
            Ipv4 {
                total_len: Some(0),
                ..Ipv4::of(TCP)
            }
            .frame(&join(&[&tcp(0x18), &[0; 8960]])),
            v4(TCP, 9000, 40).ports(SRC_PORT, DST_PORT).tcp_flags(0x18),
        ),
        case(
            "tagged, ipv4 total length 0",
            ethernet(
                C_TAG,
                &vlan(
                    7,
                    IPV4,
                    &Ipv4 {
                        total_len: Some(0),
                        ..Ipv4::of(UDP)
                    }
                    .packet(&udp(4)),
                ),
            ),
            v4(UDP, 32, 28).ports(SRC_PORT, DST_PORT),
        ),
        case(
            "ipv4 total length 1",
            udp_of(1),
            ParseError::InvalidIpHeader,
        ),
        case(
            "ipv4 total length 19",
            udp_of(19),
            ParseError::InvalidIpHeader,
        ),
        case(
            "ipv4 total length 20: header only",
            udp_of(20),
            v4(UDP, 20, 28).flags(FLAG_SHORT_TRANSPORT),
        ),
        case(
            "jumbo frame",
            Ipv4::of(UDP).frame(&udp(8900)),
            v4(UDP, 8928, 28).ports(SRC_PORT, DST_PORT),
        ),
    ]
}

fn beyond_frame_cases() -> Vec<Case> {
    let udp_of = |total_len| {
        Ipv4 {
            total_len: Some(total_len),
            ..Ipv4::of(UDP)
        }
        .frame(&udp(4))
    };
    vec![
        case(
            "ipv4 total length beyond the frame",
            udp_of(1000),
            v4(UDP, 32, 28).ports(SRC_PORT, DST_PORT).beyond_frame(968),
        ),
        case(
            "ipv4 total length one beyond the frame",
            udp_of(33),
            v4(UDP, 32, 28).ports(SRC_PORT, DST_PORT).beyond_frame(1),
        ),
        case(
            "plain tcp, total length one beyond the frame",
            Ipv4 {
                total_len: Some(141),
                ..Ipv4::of(TCP)
            }
            .frame(&join(&[&tcp(0x10), &[0; 100]])),
            v4(TCP, 140, 40)
                .ports(SRC_PORT, DST_PORT)
                .tcp_flags(0x10)
                .beyond_frame(1),
        ),
        case(
            "plain tcp, total length 65535",
            Ipv4 {
                total_len: Some(65535),
                ..Ipv4::of(TCP)
            }
            .frame(&join(&[&tcp(0x10), &[0; 100]])),
            v4(TCP, 140, 40)
                .ports(SRC_PORT, DST_PORT)
                .tcp_flags(0x10)
                .beyond_frame(65395),
        ),
        case(
            "later fragment, total length beyond the frame",
            Ipv4 {
                total_len: Some(1500),
                fragment: 185,
                ..Ipv4::of(UDP)
            }
            .frame(&[0x55; 26]),
            v4(UDP, 46, 20).later_fragment().beyond_frame(1454),
        ),
        case(
            "ipv4 total length 65535",
            udp_of(65535),
            v4(UDP, 32, 28)
                .ports(SRC_PORT, DST_PORT)
                .beyond_frame(65503),
        ),
    ]
}

fn option_cases() -> Vec<Case> {
    const SOURCE_ROUTE: &[u8] = &[0x83, 7, 4, 198, 18, 0, 3, 0];
    const ROUTE_RECORD: &[u8] = &[7, 7, 4, 0, 0, 0, 0, 0];
    const ROUTER_ALERT: &[u8] = &[0x94, 4, 0, 0];
    const BAD_OPTION: &[u8] = &[0x82, 0xff, 0, 0];
    let with = |options| {
        Ipv4 {
            options,
            ..Ipv4::of(UDP)
        }
        .frame(&udp(4))
    };
    vec![
        case(
            "ipv4 four bytes of options",
            with(&[1, 1, 1, 0]),
            v4(UDP, 36, 32).ports(SRC_PORT, DST_PORT),
        ),
        case(
            "ipv4 forty bytes of options",
            with(&[1; 40]),
            v4(UDP, 72, 68).ports(SRC_PORT, DST_PORT),
        ),
        case(
            "ipv4 source route keeps the header's destination",
            with(SOURCE_ROUTE),
            v4(UDP, 40, 36).ports(SRC_PORT, DST_PORT),
        ),
        case(
            "ipv4 route record",
            with(ROUTE_RECORD),
            v4(UDP, 40, 36).ports(SRC_PORT, DST_PORT),
        ),
        case(
            "ipv4 option with a bad length",
            with(BAD_OPTION),
            v4(UDP, 36, 32).ports(SRC_PORT, DST_PORT),
        ),
        case(
            "igmp with router alert",
            Ipv4 {
                options: ROUTER_ALERT,
                ..Ipv4::of(2)
            }
            .frame(&[0x16, 0, 0, 0, 224, 0, 0, 251]),
            v4(2, 32, 24),
        ),
    ]
}

fn header_length_cases() -> Vec<Case> {
    let header_len = |header_len| Ipv4 {
        header_len: Some(header_len),
        ..Ipv4::of(UDP)
    };
    vec![
        case(
            "ipv4 header length 0",
            header_len(0).frame(&udp(4)),
            ParseError::InvalidIpHeader,
        ),
        case(
            "ipv4 header length 4",
            header_len(4).frame(&udp(4)),
            ParseError::InvalidIpHeader,
        ),
        case(
            "ipv4 header length beyond the total length",
            header_len(15).frame(&udp(4)),
            ParseError::InvalidIpHeader,
        ),
        case(
            "ipv4 options beyond the frame",
            Ipv4 {
                total_len: Some(100),
                ..header_len(15)
            }
            .frame(&udp(4)),
            ParseError::Truncated,
        ),
        case(
            "ipv4 total length 0, options beyond the frame",
            Ipv4 {
                total_len: Some(0),
                ..header_len(15)
            }
            .frame(&udp(4)),
            ParseError::Truncated,
        ),
        case(
            "ipv4 version 5",
            Ipv4 {
                version: 5,
                ..Ipv4::of(UDP)
            }
            .frame(&udp(4)),
            ParseError::InvalidIpHeader,
        ),
        case(
            "ipv4 version 0",
            Ipv4 {
                version: 0,
                ..Ipv4::of(UDP)
            }
            .frame(&udp(4)),
            ParseError::InvalidIpHeader,
        ),
        case(
            "ipv6 behind the ipv4 ether type",
            ethernet(IPV4, &Ipv6::of(UDP).packet(&udp(4))),
            ParseError::InvalidIpHeader,
        ),
    ]
}

fn cut_cases() -> Vec<Case> {
    let udp4 = || Ipv4::of(UDP).frame(&udp(4));
    let padded = |total_len, ip_protocol, payload: &[u8]| {
        Ipv4 {
            total_len: Some(total_len),
            ..Ipv4::of(ip_protocol)
        }
        .frame(payload)
    };
    vec![
        case(
            "ipv4 header ends the frame too early",
            udp4()[..14 + 12].to_vec(),
            ParseError::Truncated,
        ),
        case(
            "ipv4 header of 19 bytes",
            udp4()[..14 + 19].to_vec(),
            ParseError::Truncated,
        ),
        cut(
            "cut in the ipv4 destination",
            14 + 18,
            udp4(),
            ParseError::Truncated,
        ),
        cut(
            "cut in the ipv4 options",
            14 + 23,
            Ipv4 {
                options: &[1; 8],
                ..Ipv4::of(UDP)
            }
            .frame(&udp(4)),
            ParseError::Truncated,
        ),
        cut(
            "cut behind the ipv4 header",
            14 + 20,
            udp4(),
            v4(UDP, 32, 28).flags(FLAG_SHORT_TRANSPORT),
        ),
        case(
            "udp ports in the padding only",
            padded(20, UDP, &udp(4)),
            v4(UDP, 20, 28).flags(FLAG_SHORT_TRANSPORT),
        ),
        case(
            "udp port half in the padding",
            padded(22, UDP, &udp(4)),
            v4(UDP, 22, 28).flags(FLAG_SHORT_TRANSPORT),
        ),
        case(
            "tcp flags in the padding only",
            padded(33, TCP, &tcp(2)),
            v4(TCP, 33, 20)
                .ports(SRC_PORT, DST_PORT)
                .flags(FLAG_SHORT_TRANSPORT),
        ),
        case(
            "tcp flags are the last byte",
            padded(34, TCP, &tcp(2)),
            v4(TCP, 34, 40).ports(SRC_PORT, DST_PORT).tcp_flags(2),
        ),
        case(
            "icmp type in the padding only",
            padded(20, ICMP, &[8; 8]),
            v4(ICMP, 20, 20).flags(FLAG_SHORT_TRANSPORT),
        ),
    ]
}
