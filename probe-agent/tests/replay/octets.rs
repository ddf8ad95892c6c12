//! Octets are those that were on the wire, from the file to the ledger.

use probe_flow::ledger::{Ledger, Loss};

use crate::{
    command::replayed,
    packets::frame::{self, Ipv4, Ipv6, TCP, UDP},
    write::{Folder, Pcap},
};

/// Octets of all flows, and the ledger, of a file.
fn octets(file: &Pcap) -> (u64, Ledger) {
    let folder = Folder::new();
    let replayed = replayed(&folder.file("frames.pcap", &file.bytes), false);
    let interface = &replayed.interfaces[0];
    let flows = interface.flows.iter();
    let octets = flows.map(|row| row.flow.counters.bytes()).sum();
    assert_eq!(interface.ledger.residue(), 0);
    (octets, interface.ledger)
}

#[test]
fn no_packet_counts_with_more_octets_than_its_frame_has() {
    let v4 = Ipv4 {
        total_len: Some(65_535),
        ..Ipv4::of(UDP)
    };
    let v6 = Ipv6 {
        payload_len: Some(65_000),
        ..Ipv6::of(TCP)
    };
    let file = Pcap::ethernet()
        .whole(&v4.frame(&frame::udp(18)))
        .whole(&v6.frame(&frame::tcp(2)));
    let (octets, ledger) = octets(&file);
    assert_eq!(octets, 46 + 60);
    let beyond = ledger.beyond_frame;
    let stated = 65_535 + 65_040;
    assert_eq!((beyond.packets, beyond.bytes), (2, stated - octets));
}

#[test]
fn a_snapshot_length_takes_nothing_off() {
    let frame = Ipv4::of(UDP).frame(&frame::udp(1000));
    let file = Pcap::ethernet().packet(1, 0, &frame[..60], frame.len());
    let (octets, ledger) = octets(&file);
    assert_eq!((octets, ledger.beyond_frame.packets), (1028, 0));
}

#[test]
fn padding_is_no_payload_of_an_empty_ipv6_packet() {
    let empty = |next_header| Ipv6 {
        payload_len: Some(0),
        ..Ipv6::of(next_header)
    };
    let file = [99, TCP, 59]
        .into_iter()
        .fold(Pcap::ethernet(), |file, it| {
            file.whole(&empty(it).frame(&[0; 6]))
        });
    assert_eq!(octets(&file).0, 3 * 40);
}

#[test]
fn ethernet_behind_mpls_is_no_ip() {
    let customer = Ipv4::of(UDP).frame(&frame::udp(100));
    let mut file = Pcap::ethernet();
    for first in [0x48, 0x6c] {
        let mut customer = customer.clone();
        customer[..4].copy_from_slice(&[first, 0xf8, 0xb3, 0x01]);
        customer[4..6].copy_from_slice(&[0xf2, 0x03]);
        let labelled = [&frame::label(true)[..], &customer].concat();
        file = file.whole(&frame::ethernet(frame::MPLS, &labelled));
    }
    let (octets, ledger) = octets(&file);
    assert_eq!((octets, ledger.loss(Loss::NonIp).packets), (0, 2));
}

#[test]
fn a_protocol_of_one_octet_is_read_behind_pppoe() {
    let packet = Ipv4::of(UDP).packet(&frame::udp(100));
    let session = frame::pppoe_compressed(0x21, &packet);
    let file = Pcap::ethernet().whole(&frame::ethernet(frame::PPPOE_SESSION, &session));
    let (octets, ledger) = octets(&file);
    assert_eq!((octets, ledger.flows.packets), (128, 1));
}
