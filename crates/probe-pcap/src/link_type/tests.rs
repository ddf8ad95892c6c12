use probe_common::{
    parse::{CapturedFrame, Packet, ParseError},
    record::{EGRESS, INGRESS},
};
use rstest::rstest;

use super::{LinkType, Parts, Radio};

const IPV4: [u8; 21] = [
    0x45, 0, 0, 21, 0, 0, 0, 0, 64, 1, 0, 0, 198, 18, 0, 1, 198, 18, 0, 2, 8,
];

/// An 802.11 header with what follows its third address, up to LLC and SNAP of IPv4.
fn wifi(kind: u8, flags: u8, rest: &[u8]) -> Vec<u8> {
    let addresses = [1_u8, 2, 3].map(|host| [2, 0, 0, 0, 0, host]).concat();
    let llc = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
    [&[kind, flags, 0, 0][..], &addresses, &[0, 0], rest, &llc].concat()
}

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
#[case::ppp(9, &[0, 0x21])]
#[case::ppp_framed(9, &[0xff, 3, 0, 0x21])]
#[case::ppp_short_protocol(9, &[0xff, 3, 0x21])]
#[case::ppp_mpls(9, &[2, 0x81, 0, 0, 0x11, 64])]
#[case::ppp_hdlc(50, &[0xff, 3, 0, 0x21])]
#[case::cisco_in_hdlc(50, &[0x0f, 0, 8, 0])]
#[case::pppoe_session(51, &[0x11, 0, 0, 1, 0, 23, 0, 0x21])]
#[case::pppd(166, &[1, 3, 0, 0x21])]
#[case::ppp_directed(204, &[1, 0xff, 3, 0, 0x21])]
#[case::cisco_hdlc(104, &[0x0f, 0, 8, 0])]
#[case::cisco_hdlc_broadcast(112, &[0x8f, 0, 8, 0])]
#[case::cisco_hdlc_tagged(104, &[0x0f, 0, 0x81, 0, 0, 5, 8, 0])]
#[case::cisco_hdlc_directed(205, &[0, 0x0f, 0, 8, 0])]
#[case::frame_relay(107, &[0x18, 0x41, 3, 0xcc])]
#[case::frame_relay_long_address(107, &[0x18, 0x40, 0x40, 0x01, 3, 0, 0xcc])]
#[case::frame_relay_snap(107, &[0x18, 0x41, 3, 0, 0x80, 0, 0, 0, 8, 0])]
#[case::frame_relay_bridged(
    107, &[0x18, 0x41, 3, 0, 0x80, 0, 0x80, 0xc2, 0, 7, 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]
)]
#[case::frame_relay_of_cisco(107, &[0x18, 0x41, 8, 0])]
#[case::frame_relay_ppp(107, &[0x18, 0x41, 3, 0xcf, 0, 0x21])]
#[case::frame_relay_directed(206, &[1, 0x18, 0x41, 3, 0xcc])]
#[case::mpls(219, &[0, 0, 0x11, 64])]
#[case::enc(109, &[2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0])]
#[case::wifi(105, &wifi(0x08, 0x02, &[]))]
#[case::wifi_to_ds(105, &wifi(0x08, 0x01, &[]))]
#[case::wifi_qos(105, &wifi(0x88, 0x01, &[0, 0]))]
#[case::wifi_four_addresses(105, &wifi(0x08, 0x03, &[2, 0, 0, 0, 0, 4]))]
#[case::wifi_four_addresses_and_qos(105, &wifi(0x88, 0x03, &[2, 0, 0, 0, 0, 4, 0, 0]))]
#[case::wifi_ht_control(105, &wifi(0x88, 0x81, &[0, 0, 1, 2, 3, 4]))]
#[case::radiotap(127, &[&[0, 0, 8, 0, 0, 0, 0, 0][..], &wifi(0x88, 0x02, &[0, 0])].concat())]
#[case::radiotap_padded(
    127, &[&[0, 0, 9, 0, 2, 0, 0, 0, 0x20][..], &wifi(0x88, 0x02, &[0, 0, 0, 0])].concat()
)]
#[case::radiotap_clock_and_words(
    127,
    &[
        &[0, 0, 25, 0, 3, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0x20][..],
        &wifi(0x88, 0x02, &[0, 0, 0, 0]),
    ]
    .concat()
)]
#[case::prism(119, &[&[0x44, 0, 0, 0, 16, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8][..], &wifi(8, 2, &[])].concat())]
#[case::prism_big_endian(119, &[&[0, 0, 0, 0x44, 0, 0, 0, 8][..], &wifi(8, 2, &[])].concat())]
#[case::avs_as_prism(119, &[&[0x80, 0x21, 0x10, 1, 0, 0, 0, 8][..], &wifi(8, 2, &[])].concat())]
#[case::avs(163, &[&[0x80, 0x21, 0x10, 1, 0, 0, 0, 12, 9, 9, 9, 9][..], &wifi(8, 2, &[])].concat())]
#[case::ppi(192, &[&[0, 0, 8, 0, 105, 0, 0, 0][..], &wifi(8, 2, &[])].concat())]
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
    assert_eq!(LinkType::from_number(189), None, "USB");
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

#[rstest]
#[case::management(&wifi(0x80, 0, &[]))]
#[case::control(&wifi(0xd4, 0, &[]))]
#[case::no_data(&wifi(0x48, 1, &[]))]
#[case::no_data_with_qos(&wifi(0xc8, 1, &[0, 0]))]
#[case::another_version(&wifi(0x09, 1, &[]))]
#[case::encrypted(&wifi(0x08, 0x41, &[]))]
#[case::arp(&[&wifi(8, 1, &[])[..30], &[8, 6]].concat())]
#[case::spanning_tree(&[&wifi(8, 1, &[])[..24], &[0x42, 0x42, 3, 0, 0, 0, 0, 0]].concat())]
fn other_frames_of_80211_are_no_ip(#[case] header: &[u8]) {
    let bytes = [header, &IPV4].concat();
    let wifi = LinkType::Ieee80211(Radio::Nothing);
    assert_eq!(wifi.parse(&frame(&bytes)), Err(ParseError::NonIp));
    let is_data = header[0] == 0x08 && header[1] == 0x41;
    assert_eq!(wifi.is_encrypted(&frame(&bytes)), is_data);
}

#[test]
fn later_fragments_of_80211_continue_a_packet() {
    let mut bytes = [&wifi(8, 1, &[])[..], &IPV4].concat();
    bytes[22] = 0x51;
    let wifi = LinkType::Ieee80211(Radio::Nothing);
    assert_eq!(wifi.parse(&frame(&bytes)), Err(ParseError::NonIp));
}

/// A total length of 0 stands for the rest of the frame, of which the check sequence is none.
#[test]
fn the_frame_check_sequence_is_no_payload() {
    let mut packet = IPV4;
    packet[2..4].copy_from_slice(&[0, 0]);
    for (flags, octets) in [(0, 25), (0x10, 21)] {
        let radiotap = [0, 0, 9, 0, 2, 0, 0, 0, flags];
        let bytes = [&radiotap[..], &wifi(8, 1, &[]), &packet, &[9; 4]].concat();
        let Ok(Packet::V4(packet)) = LinkType::Ieee80211(Radio::Radiotap).parse(&frame(&bytes))
        else {
            panic!("not parsed");
        };
        assert_eq!(packet.octets, octets);
    }
}

#[rstest]
#[case::direct(0, 2, 1)]
#[case::from_the_network(2, 3, 1)]
#[case::to_the_network(1, 2, 3)]
#[case::between_networks(3, 4, 3)]
fn addresses_of_80211_change_places(#[case] flags: u8, #[case] src: u8, #[case] dst: u8) {
    let bytes = wifi(0x08, flags, &[2, 0, 0, 0, 0, 4]);
    let pair = LinkType::Ieee80211(Radio::Nothing).mac_pair(&frame(&bytes));
    let address = |host| Some([2, 0, 0, 0, 0, host]);
    assert_eq!((pair.src, pair.dst), (address(src), address(dst)));
}

#[rstest]
#[case(166)]
#[case(204)]
#[case(205)]
#[case(206)]
fn an_octet_for_the_direction_is_read(#[case] number: u16) {
    let link_type = LinkType::from_number(number).unwrap();
    assert_eq!(link_type.direction(&frame(&[0, 3])), Some(INGRESS));
    assert_eq!(link_type.direction(&frame(&[1, 3])), Some(EGRESS));
}

#[test]
fn other_protocols_of_serial_links_are_no_ip() {
    for (number, bytes) in [
        (9, &[0xc0_u8, 0x21, 1, 1, 0, 4][..]),
        (50, &[0xff, 3, 0x80, 0x21, 1, 1, 0, 4]),
        (104, &[0x8f, 0, 0x80, 0x35, 0, 0, 0, 2]),
        (107, &[0x18, 0x41, 3, 0x81, 0, 0, 0, 2]),
        (107, &[0x18, 0x40, 0x40, 0x40, 0x40, 0x40, 3, 0xcc]),
    ] {
        let link_type = LinkType::from_number(number).unwrap();
        assert_eq!(
            link_type.parse(&frame(bytes)),
            Err(ParseError::NonIp),
            "{bytes:x?}"
        );
    }
}

/// Two packets and the check sequence; the second one's share has what is around them.
#[test]
fn an_aggregate_is_as_many_packets_as_it_has() {
    let subframe = |payload: &[u8]| {
        let len = u16::try_from(payload.len() + 8).unwrap().to_be_bytes();
        let llc = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
        [
            &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..],
            &len,
            &llc,
            payload,
        ]
        .concat()
    };
    let mut first = subframe(&IPV4);
    first.resize(first.len().next_multiple_of(4), 0);
    let radiotap = [0, 0, 9, 0, 2, 0, 0, 0, 0x10];
    let header = &wifi(0x88, 0x02, &[0x80, 0])[..26];
    let bytes = [&radiotap[..], header, &first, &subframe(&IPV4), &[9; 4]].concat();
    let radio = Some(LinkType::Ieee80211(Radio::Radiotap));
    let parts: Vec<_> = Parts::of(radio, &frame(&bytes)).collect();
    assert_eq!(parts.len(), 2);
    let wire_bytes: usize = parts.iter().map(|part| part.wire_bytes).sum();
    assert_eq!((parts[0].wire_bytes, wire_bytes), (43, bytes.len()));
    for part in &parts {
        let link_type = part.link_type.unwrap();
        let Ok(Packet::V4(packet)) = link_type.parse(&part.frame) else {
            panic!("not parsed");
        };
        assert_eq!(packet.octets, 21);
        let src = link_type.mac_pair(&part.frame).src;
        assert_eq!(src, Some([2, 0, 0, 0, 0, 2]));
    }

    // Cut in the second one: it is there, and truncated.
    let cut = CapturedFrame {
        bytes: &bytes[..radiotap.len() + 26 + first.len() + 5],
        wire_len: bytes.len(),
    };
    let parts: Vec<_> = Parts::of(radio, &cut).collect();
    let parsed = parts.iter().map(|part| LinkType::Msdu.parse(&part.frame));
    let is_ip: Vec<_> = parsed.map(|it| it.is_ok()).collect();
    assert_eq!(is_ip, [true, false]);
    assert_eq!(
        LinkType::Msdu.parse(&parts[1].frame),
        Err(ParseError::Truncated)
    );
}

#[test]
fn an_aggregate_of_nothing_ends() {
    let bytes = [&wifi(0x88, 0x02, &[0x80, 0])[..26], &vec![0; 1 << 20]].concat();
    let radio = Some(LinkType::Ieee80211(Radio::Nothing));
    let parts = Parts::of(radio, &frame(&bytes));
    let wire_bytes: Vec<_> = parts.map(|part| part.wire_bytes).collect();
    assert!(wire_bytes.len() < 1000);
    assert_eq!(wire_bytes.iter().sum::<usize>(), bytes.len());
}
