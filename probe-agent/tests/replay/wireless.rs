//! A capture of the air, from file to ledger.

use probe_flow::ledger::Loss;
use probe_pcap::{Ending, PcapOptions};

use crate::{
    packets::frame,
    play::{play, play_as},
    write::{Folder, Order, Pcap},
};

const RADIOTAP: u16 = 127;

/// Radiotap with a frame check sequence, QoS data from a host, and what its body is.
fn on_air(flags: u8, qos: u8, body: &[u8]) -> Vec<u8> {
    let radiotap = [0, 0, 9, 0, 2, 0, 0, 0, 0x10];
    let addresses = [9_u8, 1, 5].map(|host| [2, 0, 0, 0, 0, host]).concat();
    let header = [0x88, 0x01 | flags, 0, 0];
    [
        &radiotap[..],
        &header,
        &addresses,
        &[0, 0, qos, 0],
        body,
        &[0xfc; 4],
    ]
    .concat()
}

fn snap(packet: &[u8]) -> Vec<u8> {
    [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], packet].concat()
}

fn subframe(payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = [&[2, 0, 0, 0, 0, 5, 2, 0, 0, 0, 0, 1][..], &len, payload].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[test]
fn data_is_counted_and_all_else_is_a_named_loss() {
    let packet = frame::Ipv4::of(frame::UDP).packet(&frame::udp(4));
    let data = on_air(0, 0, &snap(&packet));
    let encrypted = on_air(0x40, 0, &[0x5a; 64]);
    let three = [
        subframe(&snap(&packet)),
        subframe(&snap(&packet)),
        subframe(&snap(&packet)),
    ];
    let aggregate = on_air(0, 0x80, &three.concat());
    let beacon = [&[0, 0, 8, 0, 0, 0, 0, 0, 0x80, 0][..], &[0; 40]].concat();
    let frames = [data, encrypted, aggregate, beacon];
    let bytes: usize = frames.iter().map(Vec::len).sum();
    let file = Pcap::new(Order::Little, 0xa1b2_c3d4, RADIOTAP);
    let file = frames.iter().fold(file, |file, frame| file.whole(frame));
    let folder = Folder::new();
    let path = folder.file("air.pcap", &file.bytes);

    let played = play(&path);
    assert_eq!(played.ending, Ending::Complete);
    assert_eq!(played.ledger.seen.packets, 6, "three of them in one frame");
    assert_eq!(played.ledger.seen.bytes, bytes as u64);
    assert_eq!(played.ledger.flows.packets, 4);
    assert_eq!(played.ledger.flows.bytes, 4 * packet.len() as u64);
    assert_eq!((played.loss(Loss::NonIp), played.ledger.residue()), (2, 0));
    let warnings = played.playback.warnings();
    assert!(
        warnings.len() == 1 && warnings[0].starts_with("1 frames of 802.11 are encrypted"),
        "{warnings:?}"
    );

    // The sender has the second address of the header, and the source of each part.
    let local = vec!["02:00:00:00:00:01".parse().expect("an address")];
    let options = PcapOptions {
        local,
        ..PcapOptions::default()
    };
    let played = play_as(&path, options);
    assert_eq!(played.sent("air"), 4);
}
