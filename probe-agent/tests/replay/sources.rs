//! Which end of a flow is the source, from the file to the flow.

use probe_common::{
    classify::Evidence,
    headers::tcp_flags::{ACK, SYN},
};
use probe_flow::{filter::Filter, flow::FlowRow};

use crate::{
    command::replayed,
    packets::frame::{self, ICMP, ICMPV6, Ipv4, Ipv6, TCP, UDP},
    write::{Folder, Pcap},
};

const HOST: [u8; 4] = frame::SRC_V4;
const PEER: [u8; 4] = frame::DST_V4;

/// An IPv4 frame between two ends.
fn packet(ip_protocol: u8, src: ([u8; 4], u16), dst: ([u8; 4], u16), tcp_flags: u8) -> Vec<u8> {
    let mut transport = match ip_protocol {
        TCP => frame::tcp(tcp_flags),
        _ => frame::udp(10),
    };
    transport[..2].copy_from_slice(&src.1.to_be_bytes());
    transport[2..4].copy_from_slice(&dst.1.to_be_bytes());
    let mut packet = Ipv4::of(ip_protocol).packet(&transport);
    packet[12..16].copy_from_slice(&src.0);
    packet[16..20].copy_from_slice(&dst.0);
    frame::ethernet(frame::IPV4, &packet)
}

/// The flows of these frames.
fn flows(frames: &[Vec<u8>]) -> Vec<FlowRow> {
    let folder = Folder::new();
    let file = frames
        .iter()
        .fold(Pcap::ethernet(), |file, frame| file.whole(frame));
    let replayed = replayed(&folder.file("frames.pcap", &file.bytes), false);
    let [interface] = &replayed.interfaces[..] else {
        panic!("{} interfaces", replayed.interfaces.len());
    };
    assert_eq!(interface.ledger.residue(), 0);
    interface.flows.clone()
}

/// Ends, packets and evidence of a flow.
fn shown(row: &FlowRow) -> (String, u64, Evidence) {
    let ends = format!(
        "{}:{} -> {}:{}",
        row.src_addr, row.src_port, row.dst_addr, row.dst_port
    );
    (ends, row.flow.counters.packets(), row.flow.evidence)
}

#[track_caller]
fn assert_only(frames: &[Vec<u8>], ends: &str, evidence: Evidence) {
    let flows: Vec<_> = flows(frames).iter().map(shown).collect();
    assert_eq!(flows, [(ends.to_owned(), frames.len() as u64, evidence)]);
}

#[test]
fn a_group_is_never_the_source() {
    for (group, src_port, dst_port) in [
        ([239, 255, 255, 250], 1025, 1900),
        ([239, 1, 2, 3], 1064, 5001),
        ([232, 1, 1, 1], 5004, 50004),
        ([224, 2, 127, 254], 1024, 9875),
        ([224, 0, 0, 251], 5353, 5353),
        ([255, 255, 255, 255], 67, 40000),
    ] {
        let sent = packet(UDP, (HOST, src_port), (group, dst_port), 0);
        let [a, b, c, d] = group;
        let ends = format!("198.18.0.1:{src_port} -> {a}.{b}.{c}.{d}:{dst_port}");
        assert_only(&[sent.clone(), sent], &ends, Evidence::Multicast);
    }
}

#[test]
fn one_way_traffic_is_from_its_sender() {
    for (src_port, dst_port) in [(40001, 50001), (50001, 40001), (1025, 32412), (9995, 2055)] {
        let sent = packet(UDP, (HOST, src_port), (PEER, dst_port), 0);
        let ends = format!("198.18.0.1:{src_port} -> 198.18.0.2:{dst_port}");
        assert_only(&[sent.clone(), sent], &ends, Evidence::None);
    }
}

#[test]
fn two_common_ports_are_one_flow_from_the_first_sender() {
    for (src_port, dst_port) in [(53, 53), (443, 443), (443, 53)] {
        let there = packet(UDP, (HOST, src_port), (PEER, dst_port), 0);
        let back = packet(UDP, (PEER, dst_port), (HOST, src_port), 0);
        let frames = vec![[there, back]; 3].concat();
        let ends = format!("198.18.0.1:{src_port} -> 198.18.0.2:{dst_port}");
        assert_only(&frames, &ends, Evidence::None);
    }
}

#[test]
fn two_common_ports_are_one_flow_as_the_handshake_says() {
    for (src_port, dst_port) in [(80, 80), (445, 445), (443, 80), (80, 22)] {
        let there = |flags| packet(TCP, (HOST, src_port), (PEER, dst_port), flags);
        let back = |flags| packet(TCP, (PEER, dst_port), (HOST, src_port), flags);
        let frames = [back(SYN | ACK), there(SYN), there(ACK), back(ACK)];
        let ends = format!("198.18.0.1:{src_port} -> 198.18.0.2:{dst_port}");
        assert_only(&frames, &ends, Evidence::Handshake);
    }
}

#[test]
fn every_icmp_error_is_for_who_asked() {
    for icmp_type in [3, 4, 5, 11, 12] {
        let quoted = Ipv4::of(UDP).packet(&frame::udp(0));
        let message = [&[icmp_type, 0, 0, 0, 0, 0, 0, 0], &quoted[..]].concat();
        let error = Ipv4::of(ICMP).frame(&message);
        assert_only(&[error], "198.18.0.2:0 -> 198.18.0.1:0", Evidence::IcmpType);
    }
    for icmp_type in [1, 2, 3, 4] {
        let quoted = Ipv6::of(UDP).packet(&frame::udp(0));
        let message = [&[icmp_type, 0, 0, 0, 0, 0, 5, 0], &quoted[..]].concat();
        let error = Ipv6::of(ICMPV6).frame(&message);
        assert_only(&[error], "fd00::2:0 -> fd00::1:0", Evidence::IcmpType);
    }
}

#[test]
fn flags_none_takes_the_null_scan_alone() {
    let frames = [
        packet(UDP, (HOST, 1000), (PEER, 2000), 0),
        packet(TCP, (HOST, 1000), (PEER, 22), 0),
        packet(TCP, (HOST, 1001), (PEER, 22), SYN),
        Ipv4::of(ICMP).frame(&[8, 0, 0, 0]),
    ];
    let filter: Filter = "flags none".parse().unwrap();
    let mut taken = flows(&frames);
    assert_eq!(taken.len(), 4);
    taken.retain(|row| filter.matches("eth0", row));
    let [row] = taken[..] else {
        panic!("{taken:?}");
    };
    assert_eq!(
        (row.ip_protocol, row.dst_port, row.flow.tcp_flags),
        (TCP, 22, 0)
    );
}
