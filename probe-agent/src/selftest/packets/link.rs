//! What comes before the IP header.

use probe_common::{headers::ppp_protocol, parse::ParseError};

use super::{
    Case, With, case, cut,
    frame::{
        ARP, C_TAG, DST_PORT, IPV4, IPV6, Ipv4, Ipv6, MPLS, MPLS_UPSTREAM, OLD_S_TAG,
        PPPOE_SESSION, S_TAG, SRC_PORT, UDP, ethernet, label, pppoe, pppoe_compressed, udp, vlan,
        vlans,
    },
    v4, v6,
};

pub(super) fn cases() -> Vec<Case> {
    [ethernet_cases(), vlan_cases(), mpls_cases(), pppoe_cases()].concat()
}

/// 198.18.0.1:1111 > 198.18.0.2:2222, UDP, 4 bytes.
fn udp4() -> Vec<u8> {
    Ipv4::of(UDP).packet(&udp(4))
}

fn udp6() -> Vec<u8> {
    Ipv6::of(UDP).packet(&udp(4))
}

fn is_udp4() -> probe_common::parse::Observation<probe_common::ephash::EpHashV4> {
    v4(UDP, 32, 28).ports(SRC_PORT, DST_PORT)
}

fn is_udp6() -> probe_common::parse::Observation<probe_common::ephash::EpHashV6> {
    v6(UDP, 52, 48).ports(SRC_PORT, DST_PORT)
}

fn ethernet_cases() -> Vec<Case> {
    let padded = |packet: Vec<u8>| {
        let mut frame = packet;
        frame.resize(60, 0xee);
        frame
    };
    vec![
        case("ethernet ipv4", ethernet(IPV4, &udp4()), is_udp4()),
        case("ethernet ipv6", ethernet(IPV6, &udp6()), is_udp6()),
        case(
            "padded to 60 bytes",
            padded(ethernet(IPV4, &udp4())),
            is_udp4(),
        ),
        case(
            "followed by a trailer",
            [ethernet(IPV6, &udp6()), vec![0xee; 40]].concat(),
            is_udp6(),
        ),
        case("arp", ethernet(ARP, &[0; 28]), ParseError::NonIp),
        case("lldp", ethernet(0x88cc, &[0; 46]), ParseError::NonIp),
        case("802.3 length", ethernet(38, &[0x42; 46]), ParseError::NonIp),
        case(
            "snap with ipv4 inside",
            ethernet(40, &[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &udp4()].concat()),
            ParseError::NonIp,
        ),
        case("ether type 0", ethernet(0, &udp4()), ParseError::NonIp),
        case(
            "ether type ffff",
            ethernet(0xffff, &udp4()),
            ParseError::NonIp,
        ),
        case(
            "pppoe discovery",
            ethernet(0x8863, &[0; 46]),
            ParseError::NonIp,
        ),
        case("macsec", ethernet(0x88e5, &udp4()), ParseError::NonIp),
        case("empty frame", Vec::new(), ParseError::Truncated),
        case("half an ethernet header", vec![2; 7], ParseError::Truncated),
        case(
            "ethernet without ether type",
            vec![2; 12],
            ParseError::Truncated,
        ),
        case("ether type cut in half", vec![8; 13], ParseError::Truncated),
        case(
            "ipv4 ether type and nothing behind",
            ethernet(IPV4, &[]),
            ParseError::Truncated,
        ),
        case(
            "ipv6 ether type and nothing behind",
            ethernet(IPV6, &[]),
            ParseError::Truncated,
        ),
        case(
            "arp ether type and nothing behind",
            ethernet(ARP, &[]),
            ParseError::NonIp,
        ),
    ]
}

fn vlan_cases() -> Vec<Case> {
    let two = |outer, inner, ether_type, packet: &[u8]| {
        ethernet(outer, &vlan(100, inner, &vlan(7, ether_type, packet)))
    };
    vec![
        case("c-tag", ethernet(C_TAG, &vlan(7, IPV4, &udp4())), is_udp4()),
        case(
            "priority tag",
            ethernet(C_TAG, &vlan(0xe000, IPV6, &udp6())),
            is_udp6(),
        ),
        case(
            "s-tag alone",
            ethernet(S_TAG, &vlan(7, IPV4, &udp4())),
            is_udp4(),
        ),
        case(
            "9100 alone",
            ethernet(OLD_S_TAG, &vlan(7, IPV6, &udp6())),
            is_udp6(),
        ),
        case("s-tag, c-tag", two(S_TAG, C_TAG, IPV4, &udp4()), is_udp4()),
        case("c-tag, c-tag", two(C_TAG, C_TAG, IPV6, &udp6()), is_udp6()),
        case("s-tag, s-tag", two(S_TAG, S_TAG, IPV4, &udp4()), is_udp4()),
        case(
            "9100, c-tag",
            two(OLD_S_TAG, C_TAG, IPV4, &udp4()),
            is_udp4(),
        ),
        case("three tags", vlans(3, IPV4, &udp4()), is_udp4()),
        case("five tags", vlans(5, IPV6, &udp6()), is_udp6()),
        case("eight tags", vlans(8, IPV4, &udp4()), is_udp4()),
        case(
            "nine tags",
            vlans(9, IPV4, &udp4()),
            ParseError::TooManyHeaders,
        ),
        case(
            "forty tags",
            vlans(40, IPV4, &udp4()),
            ParseError::TooManyHeaders,
        ),
        case(
            "c-tag, arp",
            ethernet(C_TAG, &vlan(7, ARP, &[0; 28])),
            ParseError::NonIp,
        ),
        case(
            "s-tag, c-tag, arp",
            two(S_TAG, C_TAG, ARP, &[0; 28]),
            ParseError::NonIp,
        ),
        case(
            "c-tag, 802.3 length",
            ethernet(C_TAG, &vlan(7, 38, &[0x42; 40])),
            ParseError::NonIp,
        ),
        case("tag missing", ethernet(C_TAG, &[]), ParseError::Truncated),
        case(
            "tag cut in half",
            ethernet(C_TAG, &[0, 7]),
            ParseError::Truncated,
        ),
        case(
            "inner tag cut in half",
            ethernet(S_TAG, &vlan(7, C_TAG, &[0, 7])),
            ParseError::Truncated,
        ),
        case(
            "tag, ipv4 and nothing behind",
            ethernet(C_TAG, &vlan(7, IPV4, &[])),
            ParseError::Truncated,
        ),
        cut(
            "tagged, cut in the ipv4 header",
            37,
            ethernet(C_TAG, &vlan(7, IPV4, &udp4())),
            ParseError::Truncated,
        ),
    ]
}

fn mpls_cases() -> Vec<Case> {
    // An Ethernet frame behind a pseudowire label without control word (RFC 4448, section 4.4).
    let customer_frame = |first| {
        let addresses = [first, 0xf8, 0xb3, 0x01, 0xf2, 0x03, 2, 0, 0, 0, 0, 9];
        [&addresses, &IPV4.to_be_bytes()[..], &udp4()].concat()
    };
    let labels = |count: usize, packet: &[u8]| {
        let mut stack = label(false).repeat(count - 1);
        stack.extend(label(true));
        stack.extend(packet);
        stack
    };
    vec![
        case("mpls ipv4", ethernet(MPLS, &labels(1, &udp4())), is_udp4()),
        case("mpls ipv6", ethernet(MPLS, &labels(1, &udp6())), is_udp6()),
        case(
            "mpls upstream",
            ethernet(MPLS_UPSTREAM, &labels(1, &udp4())),
            is_udp4(),
        ),
        case(
            "mpls, three labels",
            ethernet(MPLS, &labels(3, &udp4())),
            is_udp4(),
        ),
        case(
            "mpls, eight labels",
            ethernet(MPLS, &labels(8, &udp6())),
            is_udp6(),
        ),
        case(
            "mpls, nine labels",
            ethernet(MPLS, &labels(9, &udp4())),
            ParseError::TooManyHeaders,
        ),
        case(
            "c-tag, mpls",
            ethernet(C_TAG, &vlan(7, MPLS, &labels(2, &udp4()))),
            is_udp4(),
        ),
        case(
            "mpls pseudowire control word",
            ethernet(MPLS, &labels(1, &[0; 60])),
            ParseError::NonIp,
        ),
        case(
            "mpls, an ethernet address that begins with 4",
            ethernet(MPLS, &labels(1, &customer_frame(0x48))),
            ParseError::NonIp,
        ),
        case(
            "mpls, an ethernet address that begins with 6",
            ethernet(MPLS, &labels(2, &customer_frame(0x6c))),
            ParseError::NonIp,
        ),
        case(
            "mpls, ipv4 shorter than its header",
            ethernet(
                MPLS,
                &labels(
                    1,
                    &Ipv4 {
                        total_len: Some(19),
                        ..Ipv4::of(UDP)
                    }
                    .packet(&udp(4)),
                ),
            ),
            ParseError::NonIp,
        ),
        case(
            "mpls, ipv4 that fills the frame, padded",
            ethernet(MPLS, &labels(1, &[udp4(), vec![0; 10]].concat())),
            is_udp4(),
        ),
        case(
            "mpls without bottom",
            ethernet(MPLS, &label(false)),
            ParseError::Truncated,
        ),
        case(
            "mpls label cut",
            ethernet(MPLS, &label(true)[..3]),
            ParseError::Truncated,
        ),
        case(
            "mpls and nothing behind",
            ethernet(MPLS, &label(true)),
            ParseError::Truncated,
        ),
    ]
}

fn pppoe_cases() -> Vec<Case> {
    const IPCP: u16 = 0x8021;
    let session = |protocol, packet: &[u8]| ethernet(PPPOE_SESSION, &pppoe(protocol, packet));
    vec![
        case(
            "pppoe ipv4",
            session(ppp_protocol::IPV4, &udp4()),
            is_udp4(),
        ),
        case(
            "pppoe ipv6",
            session(ppp_protocol::IPV6, &udp6()),
            is_udp6(),
        ),
        case(
            "pppoe ipv4, protocol of one octet",
            ethernet(PPPOE_SESSION, &pppoe_compressed(0x21, &udp4())),
            is_udp4(),
        ),
        case(
            "pppoe ipv6, protocol of one octet",
            ethernet(PPPOE_SESSION, &pppoe_compressed(0x57, &udp6())),
            is_udp6(),
        ),
        case(
            "s-tag, pppoe ipv4, protocol of one octet",
            ethernet(
                S_TAG,
                &vlan(1, PPPOE_SESSION, &pppoe_compressed(0x21, &udp4())),
            ),
            is_udp4(),
        ),
        case(
            "pppoe, other protocol of one octet",
            ethernet(PPPOE_SESSION, &pppoe_compressed(0x2d, &udp4())),
            ParseError::NonIp,
        ),
        case("pppoe ipcp", session(IPCP, &[1; 20]), ParseError::NonIp),
        case("pppoe lcp", session(0xc021, &[1; 20]), ParseError::NonIp),
        case(
            "s-tag, c-tag, pppoe",
            ethernet(
                S_TAG,
                &vlan(
                    1,
                    C_TAG,
                    &vlan(2, PPPOE_SESSION, &pppoe(ppp_protocol::IPV4, &udp4())),
                ),
            ),
            is_udp4(),
        ),
        case(
            "pppoe ipv4 with version 6 inside",
            session(ppp_protocol::IPV4, &udp6()),
            ParseError::InvalidIpHeader,
        ),
        case(
            "pppoe header cut",
            session(ppp_protocol::IPV4, &[])[..20].to_vec(),
            ParseError::Truncated,
        ),
        case(
            "pppoe and nothing behind",
            session(ppp_protocol::IPV4, &[]),
            ParseError::Truncated,
        ),
    ]
}
