//! Headers that each segment of a super-packet repeats, through tunnels.

use probe_common::{
    headers::{
        ether_type::BRIDGED_ETHERNET,
        ip_protocol::{ESP, GRE, IPV4_IN_IP, IPV6_IN_IP},
    },
    parse::segment::{SegmentHeaders, segment_headers},
};

use crate::packets::frame::{
    C_TAG, DESTINATION_OPTIONS, HOP_BY_HOP, IPV4, IPV6, Ipv4, Ipv6, SCTP, TCP, UDP, ethernet,
    extension, join, tcp, udp,
};

/// Payload of all segments together.
const PAYLOAD: usize = 3000;

fn tcp4() -> Vec<u8> {
    Ipv4::of(TCP).packet(&join(&[&tcp(0x10), &[0; PAYLOAD]]))
}

fn tcp6() -> Vec<u8> {
    Ipv6::of(TCP).packet(&join(&[&tcp(0x10), &[0; PAYLOAD]]))
}

/// A UDP header and what it carries.
fn over_udp(payload: &[u8]) -> Vec<u8> {
    join(&[&udp(0), payload])
}

fn vxlan(frame: &[u8]) -> Vec<u8> {
    over_udp(&join(&[&[0x08, 0, 0, 0, 0, 0, 7, 0], frame]))
}

/// Geneve with one option of 8 octets.
fn geneve(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = ether_type.to_be_bytes();
    let header = [2, 0, high, low, 0, 0, 7, 0, 1, 2, 3, 1, 0, 0, 0, 0];
    over_udp(&join(&[&header, payload]))
}

fn gre(flags: u8, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let words = (flags & 0xb0).count_ones() as usize;
    let optional = vec![0; 4 * words];
    join(&[&[flags, 0], &ether_type.to_be_bytes(), &optional, payload])
}

fn headers(packet: &[u8]) -> SegmentHeaders {
    segment_headers(packet)
}

#[track_caller]
fn assert_octets(packet: &[u8], octets: usize) {
    let expected = SegmentHeaders {
        octets,
        virtual_octets: 0,
    };
    assert_eq!(headers(packet), expected);
}

#[test]
fn without_tunnel() {
    assert_octets(&tcp4(), 40);
    assert_octets(&tcp6(), 60);
    let options = Ipv4 {
        options: &[1; 12],
        ..Ipv4::of(UDP)
    };
    assert_octets(&options.packet(&udp(2000)), 40);
    let destination = join(&[&extension(UDP, 1), &udp(2000)]);
    assert_octets(&Ipv6::of(DESTINATION_OPTIONS).packet(&destination), 64);
    assert_octets(&Ipv4::of(SCTP).packet(&[0; 500]), 32);
    // ESP hides what it carries.
    assert_octets(&Ipv4::of(ESP).packet(&[0; 500]), 20);
}

#[test]
fn ip_in_ip() {
    assert_octets(&Ipv4::of(IPV4_IN_IP).packet(&tcp4()), 20 + 40);
    assert_octets(&Ipv4::of(IPV6_IN_IP).packet(&tcp6()), 20 + 60);
    assert_octets(&Ipv6::of(IPV4_IN_IP).packet(&tcp4()), 40 + 40);
    // Linux puts the tunnel encapsulation limit there.
    let limited = join(&[&extension(IPV6_IN_IP, 0), &tcp6()]);
    assert_octets(&Ipv6::of(DESTINATION_OPTIONS).packet(&limited), 48 + 60);
}

#[test]
fn generic_routing_encapsulation() {
    let gre =
        |flags, ether_type, payload: &[u8]| Ipv4::of(GRE).packet(&gre(flags, ether_type, payload));
    assert_octets(&gre(0, IPV4, &tcp4()), 20 + 4 + 40);
    assert_octets(&gre(0x20, IPV6, &tcp6()), 20 + 8 + 60);
    assert_octets(&gre(0xb0, IPV4, &tcp4()), 20 + 16 + 40);
    let bridged = ethernet(IPV4, &tcp4());
    assert_octets(&gre(0, BRIDGED_ETHERNET, &bridged), 20 + 4 + 14 + 40);
}

#[test]
fn tunnels_over_udp() {
    let frame = ethernet(IPV4, &tcp4());
    assert_octets(&Ipv4::of(UDP).packet(&vxlan(&frame)), 28 + 8 + 14 + 40);
    assert_octets(&Ipv6::of(UDP).packet(&vxlan(&frame)), 48 + 8 + 14 + 40);
    let tagged = ethernet(C_TAG, &join(&[&[0, 5], &IPV6.to_be_bytes(), &tcp6()]));
    assert_octets(&Ipv4::of(UDP).packet(&vxlan(&tagged)), 28 + 8 + 18 + 60);
    let bridged = geneve(BRIDGED_ETHERNET, &frame);
    assert_octets(&Ipv4::of(UDP).packet(&bridged), 28 + 16 + 14 + 40);
    assert_octets(&Ipv4::of(UDP).packet(&geneve(IPV6, &tcp6())), 28 + 16 + 60);
}

/// An application that tunnels by itself sends a whole packet in each segment.
#[test]
fn datagrams_that_look_like_a_tunnel() {
    let one = join(&[&[0x08, 0, 0, 0, 0, 0, 7, 0], &ethernet(IPV4, &tcp4())]);
    let two = join(&[&one, &one]);
    assert_octets(&Ipv4::of(UDP).packet(&over_udp(&two)), 28);
    assert_octets(&Ipv4::of(UDP).packet(&over_udp(&[0; 400])), 28);
}

#[test]
fn the_jumbo_option_is_on_no_wire() {
    let option = [TCP, 0, 0xc2, 4, 0, 1, 0, 0];
    let payload = join(&[&option, &tcp(0x10), &vec![0; 70_000]]);
    let header = Ipv6 {
        payload_len: Some(0),
        ..Ipv6::of(HOP_BY_HOP)
    };
    let mut packet = header.packet(&[]);
    packet.extend(&payload);
    let expected = SegmentHeaders {
        octets: 60,
        virtual_octets: 8,
    };
    assert_eq!(headers(&packet), expected);
    // With a payload length it would be a jumbogram of someone else's.
    packet[4] = 1;
    assert_octets(&packet, 68);
}

#[test]
fn a_cut_header_ends_the_walk() {
    let packet = Ipv4::of(UDP).packet(&vxlan(&ethernet(IPV4, &tcp4())));
    for len in 0..90 {
        let frame = &packet[..len];
        let headers = segment_headers(frame);
        assert!(headers.octets <= 90, "{len}: {headers:?}");
    }
}
