//! Transport headers, and protocols without ports.

use probe_common::{
    headers::ip_protocol::{GRE, IPV4_IN_IP},
    parse::ParseError,
    record::FLAG_SHORT_TRANSPORT,
};

use super::{
    Case, With, case, cut,
    frame::{
        AH, DESTINATION_OPTIONS, DST_PORT, DST_V6, ESP, ICMP, ICMPV6, Ipv4, Ipv6, SCTP, SRC_PORT,
        TCP, UDP, authentication, extension, fragment, join, tcp, udp,
    },
    v4, v6,
};

pub(super) fn cases() -> Vec<Case> {
    [
        tcp_cases(),
        udp_and_sctp_cases(),
        icmp_cases(),
        authentication_cases(),
        other_cases(),
    ]
    .concat()
}

fn tcp_cases() -> Vec<Case> {
    let with_data_offset = |data_offset: u8, rest: &[u8]| {
        let mut header = tcp(0x10);
        header[12] = data_offset << 4;
        Ipv4::of(TCP).frame(&join(&[&header, rest]))
    };
    let is_tcp = |octets, headers| v4(TCP, octets, headers).ports(SRC_PORT, DST_PORT);
    let short = |payload: &[u8]| Ipv4::of(TCP).frame(payload);
    let all_flags = 0xff;
    vec![
        case(
            "tcp syn",
            Ipv4::of(TCP).frame(&tcp(2)),
            is_tcp(40, 40).tcp_flags(2),
        ),
        case(
            "tcp6 syn ack",
            Ipv6::of(TCP).frame(&tcp(0x12)),
            v6(TCP, 60, 60).ports(SRC_PORT, DST_PORT).tcp_flags(0x12),
        ),
        case(
            "tcp with all flags",
            Ipv4::of(TCP).frame(&tcp(all_flags)),
            is_tcp(40, 40).tcp_flags(all_flags),
        ),
        case(
            "tcp without flags",
            Ipv4::of(TCP).frame(&tcp(0)),
            is_tcp(40, 40),
        ),
        case(
            "tcp options",
            with_data_offset(8, &[1; 12]),
            is_tcp(52, 52).tcp_flags(0x10),
        ),
        case(
            "tcp data offset below 5",
            with_data_offset(1, &[]),
            is_tcp(40, 24).tcp_flags(0x10),
        ),
        case(
            "tcp options beyond the packet",
            with_data_offset(15, &[]),
            is_tcp(40, 80).tcp_flags(0x10),
        ),
        case(
            "tcp with payload",
            Ipv4::of(TCP).frame(&join(&[&tcp(0x18), &[0; 100]])),
            is_tcp(140, 40).tcp_flags(0x18),
        ),
        case(
            "tcp of 0 bytes",
            short(&[]),
            v4(TCP, 20, 20).flags(FLAG_SHORT_TRANSPORT),
        ),
        case(
            "tcp of 3 bytes",
            short(&tcp(2)[..3]),
            v4(TCP, 23, 20).flags(FLAG_SHORT_TRANSPORT),
        ),
        case(
            "tcp of 4 bytes",
            short(&tcp(2)[..4]),
            is_tcp(24, 20).flags(FLAG_SHORT_TRANSPORT),
        ),
        case(
            "tcp of 13 bytes",
            short(&tcp(2)[..13]),
            is_tcp(33, 20).flags(FLAG_SHORT_TRANSPORT),
        ),
        case(
            "tcp of 14 bytes",
            short(&tcp(2)[..14]),
            is_tcp(34, 40).tcp_flags(2),
        ),
        cut(
            "tcp cut behind the ports",
            14 + 24,
            Ipv4::of(TCP).frame(&tcp(2)),
            is_tcp(40, 20).flags(FLAG_SHORT_TRANSPORT),
        ),
        cut(
            "tcp cut behind the flags",
            14 + 34,
            Ipv4::of(TCP).frame(&tcp(2)),
            is_tcp(40, 40).tcp_flags(2),
        ),
    ]
}

fn udp_and_sctp_cases() -> Vec<Case> {
    let is_udp = |octets| v4(UDP, octets, 28).ports(SRC_PORT, DST_PORT);
    let vxlan = join(&[
        &udp(4)[..8],
        &[8, 0, 0, 0, 0, 0, 1, 0],
        &Ipv4::of(TCP).frame(&tcp(2)),
    ]);
    let mut lying = udp(4);
    lying[4..6].copy_from_slice(&3u16.to_be_bytes());
    let mut port_zero = udp(4);
    port_zero[..4].fill(0);
    let sctp = [&udp(0)[..4], &[0, 0, 0, 1, 0, 0, 0, 0, 11, 0, 0, 4]].concat();
    let is_sctp = |octets| v4(SCTP, octets, 20).ports(SRC_PORT, DST_PORT);
    vec![
        case(
            "udp without payload",
            Ipv4::of(UDP).frame(&udp(0)),
            is_udp(28),
        ),
        case(
            "udp length field too small",
            Ipv4::of(UDP).frame(&lying),
            is_udp(32),
        ),
        case(
            "udp of 2 bytes",
            Ipv4::of(UDP).frame(&udp(0)[..2]),
            v4(UDP, 22, 28).flags(FLAG_SHORT_TRANSPORT),
        ),
        case(
            "udp of 4 bytes",
            Ipv4::of(UDP).frame(&udp(0)[..4]),
            is_udp(24),
        ),
        case(
            "udp ports 0",
            Ipv4::of(UDP).frame(&port_zero),
            v4(UDP, 32, 28),
        ),
        case(
            "vxlan: the outer packet",
            Ipv4::of(UDP).frame(&vxlan),
            is_udp(20 + 8 + 8 + 54),
        ),
        cut(
            "udp cut in the ports",
            14 + 22,
            Ipv4::of(UDP).frame(&udp(4)),
            v4(UDP, 32, 28).flags(FLAG_SHORT_TRANSPORT),
        ),
        cut(
            "udp6 cut in the ports",
            14 + 42,
            Ipv6::of(UDP).frame(&udp(4)),
            v6(UDP, 52, 48).flags(FLAG_SHORT_TRANSPORT),
        ),
        cut(
            "udp cut in the payload",
            14 + 30,
            Ipv4::of(UDP).frame(&udp(4)),
            is_udp(32),
        ),
        case("sctp", Ipv4::of(SCTP).frame(&sctp), is_sctp(36)),
        case(
            "sctp6",
            Ipv6::of(SCTP).frame(&sctp),
            v6(SCTP, 56, 40).ports(SRC_PORT, DST_PORT),
        ),
        case(
            "sctp of 3 bytes",
            Ipv4::of(SCTP).frame(&sctp[..3]),
            v4(SCTP, 23, 20).flags(FLAG_SHORT_TRANSPORT),
        ),
    ]
}

fn icmp_cases() -> Vec<Case> {
    let quoting = join(&[&[3, 3, 0, 0, 0, 0, 0, 0], &Ipv4::of(UDP).packet(&udp(4))]);
    let quoting6 = join(&[&[1, 4, 0, 0, 0, 0, 0, 0], &Ipv6::of(UDP).packet(&udp(4))]);
    let neighbor_solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &DST_V6].concat();
    vec![
        case(
            "icmp echo request",
            Ipv4::of(ICMP).frame(&[8, 0, 0, 0, 0, 1, 0, 1]),
            v4(ICMP, 28, 20).icmp_type(8),
        ),
        case(
            "icmp echo reply",
            Ipv4::of(ICMP).frame(&[0; 8]),
            v4(ICMP, 28, 20),
        ),
        case(
            "icmp error: not the quoted packet's ports",
            Ipv4::of(ICMP).frame(&quoting),
            v4(ICMP, 60, 20).icmp_type(3),
        ),
        case(
            "icmp of 1 byte",
            Ipv4::of(ICMP).frame(&[8]),
            v4(ICMP, 21, 20).icmp_type(8),
        ),
        case(
            "icmp of 0 bytes",
            Ipv4::of(ICMP).frame(&[]),
            v4(ICMP, 20, 20).flags(FLAG_SHORT_TRANSPORT),
        ),
        case(
            "icmpv6 echo reply",
            Ipv6::of(ICMPV6).frame(&[129, 0, 0, 0, 0, 1, 0, 1]),
            v6(ICMPV6, 48, 40).icmp_type(129),
        ),
        case(
            "icmpv6 neighbor solicitation",
            Ipv6::of(ICMPV6).frame(&neighbor_solicitation),
            v6(ICMPV6, 64, 40).icmp_type(135),
        ),
        case(
            "icmpv6 error: not the quoted packet's ports",
            Ipv6::of(ICMPV6).frame(&quoting6),
            v6(ICMPV6, 100, 40).icmp_type(1),
        ),
        case(
            "icmpv6 of 0 bytes",
            Ipv6::of(ICMPV6).frame(&[]),
            v6(ICMPV6, 40, 40).flags(FLAG_SHORT_TRANSPORT),
        ),
        case(
            "icmpv6 in ipv4",
            Ipv4::of(ICMPV6).frame(&[128; 8]),
            v4(ICMPV6, 28, 20).icmp_type(128),
        ),
    ]
}

fn authentication_cases() -> Vec<Case> {
    vec![
        case(
            "authentication header in ipv4",
            Ipv4::of(AH).frame(&join(&[&authentication(UDP), &udp(4)])),
            v4(UDP, 56, 52).ports(SRC_PORT, DST_PORT),
        ),
        case(
            "authentication header in ipv4, tcp",
            Ipv4::of(AH).frame(&join(&[&authentication(TCP), &tcp(0x12)])),
            v4(TCP, 64, 64).ports(SRC_PORT, DST_PORT).tcp_flags(0x12),
        ),
        case(
            "authentication header in ipv4 with options, icmp",
            Ipv4 {
                options: &[1, 1, 1, 0],
                ..Ipv4::of(AH)
            }
            .frame(&join(&[&authentication(ICMP), &[8, 0, 0, 0]])),
            v4(ICMP, 52, 48).icmp_type(8),
        ),
        case(
            "authentication header in ipv4, esp",
            Ipv4::of(AH).frame(&join(&[&authentication(ESP), &[0x12; 40]])),
            v4(ESP, 84, 44),
        ),
        case(
            "a second authentication header in ipv4 is not walked",
            Ipv4::of(AH).frame(&join(&[&authentication(AH), &authentication(UDP), &udp(4)])),
            v4(AH, 80, 44),
        ),
        case(
            "authentication header in ipv4 beyond the packet",
            Ipv4 {
                total_len: Some(40),
                ..Ipv4::of(AH)
            }
            .frame(&join(&[&authentication(UDP), &udp(4)])),
            ParseError::Truncated,
        ),
        case(
            "authentication header in ipv4 longer than the frame",
            Ipv4::of(AH).frame(&[UDP, 200, 0, 0, 0, 0, 0, 0]),
            ParseError::Truncated,
        ),
        case(
            "extension headers behind an authentication header in ipv4 are not walked",
            Ipv4::of(AH).frame(&join(&[
                &authentication(DESTINATION_OPTIONS),
                &extension(UDP, 0),
            ])),
            v4(DESTINATION_OPTIONS, 52, 44),
        ),
    ]
}

fn other_cases() -> Vec<Case> {
    let inner = Ipv4::of(UDP).packet(&udp(4));
    vec![
        case(
            "gre: the outer packet",
            Ipv4::of(GRE).frame(&join(&[&[0, 0, 8, 0], &inner])),
            v4(GRE, 56, 20),
        ),
        case(
            "ipv4 in ipv4: the outer packet",
            Ipv4::of(IPV4_IN_IP).frame(&inner),
            v4(IPV4_IN_IP, 52, 20),
        ),
        case(
            "ipv6 in ipv4: the outer packet",
            Ipv4::of(41).frame(&Ipv6::of(UDP).packet(&udp(4))),
            v4(41, 72, 20),
        ),
        case(
            "ipv4 in ipv6: the outer packet",
            Ipv6::of(4).frame(&inner),
            v6(4, 72, 40),
        ),
        case("esp", Ipv4::of(ESP).frame(&[0x12; 40]), v4(ESP, 60, 20)),
        case(
            "extension headers in ipv4 are not walked",
            Ipv4::of(DESTINATION_OPTIONS).frame(&extension(UDP, 0)),
            v4(DESTINATION_OPTIONS, 28, 20),
        ),
        case(
            "ipv4 protocol 0",
            Ipv4::of(0).frame(&[0; 20]),
            v4(0, 40, 20),
        ),
        case(
            "ipv4 protocol 44",
            Ipv4::of(44).frame(&fragment(UDP, 5, true)),
            v4(44, 28, 20),
        ),
        case(
            "ipv4 protocol 255",
            Ipv4::of(255).frame(&[0; 20]),
            v4(255, 40, 20),
        ),
        case(
            "dccp has no ports here",
            Ipv4::of(33).frame(&udp(16)),
            v4(33, 44, 20),
        ),
        case(
            "udp-lite has no ports here",
            Ipv4::of(136).frame(&udp(4)),
            v4(136, 32, 20),
        ),
        case("ospf", Ipv6::of(89).frame(&[3; 36]), v6(89, 76, 40)),
    ]
}
