//! What was sent and what received: by the user's word, by the file's, by the link header.

use std::{path::Path, process::Stdio};

use probe_common::record::EGRESS;
use probe_pcap::{Local, PcapOptions};
use rstest::rstest;

use crate::{
    command::probe_agent,
    packets::frame,
    play::{Played, play_as},
    write::{ETHERNET, Folder, Order, Pcap, PcapNg, SLL2},
};

const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0c];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x05];

/// A frame from the client to the server, and the answer.
fn dialogue() -> [Vec<u8>; 2] {
    let request = frame::Ipv4::of(frame::UDP).packet(&frame::udp(4));
    let mut answer = request.clone();
    answer[12..16].copy_from_slice(&frame::DST_V4);
    answer[16..20].copy_from_slice(&frame::SRC_V4);
    answer[20..24].rotate_left(2);
    let framed =
        |dst: [u8; 6], src: [u8; 6], packet: &[u8]| [&dst[..], &src, &[8, 0], packet].concat();
    [
        framed(SERVER_MAC, CLIENT_MAC, &request),
        framed(CLIENT_MAC, SERVER_MAC, &answer),
    ]
}

fn dialogue_v6() -> [Vec<u8>; 2] {
    let request = frame::Ipv6::of(frame::UDP).packet(&frame::udp(4));
    let mut answer = request.clone();
    answer[8..24].copy_from_slice(&frame::DST_V6);
    answer[24..40].copy_from_slice(&frame::SRC_V6);
    [request, answer].map(|packet| frame::ethernet(frame::IPV6, &packet))
}

fn play_for(path: &Path, local: &[&str]) -> Played {
    let local: Result<Vec<Local>, _> = local.iter().map(|word| word.parse()).collect();
    play_as(
        path,
        PcapOptions {
            local: local.expect("addresses"),
            ..PcapOptions::default()
        },
    )
}

/// Sent and received packets, over all interfaces.
fn counts(played: &Played) -> (u64, u64) {
    let of = |wanted: bool| {
        let packets = played.packets.iter();
        packets
            .filter(|((_, direction), _)| (*direction == EGRESS) == wanted)
            .map(|(_, count)| count)
            .sum()
    };
    (of(true), of(false))
}

#[rstest]
#[case::an_address(&["198.18.0.1"], (2, 1))]
#[case::the_other_end(&["198.18.0.2"], (1, 2))]
#[case::a_network(&["198.18.0.1/32"], (2, 1))]
#[case::a_mac_address(&["02:00:00:00:00:0c"], (2, 1))]
#[case::one_of_several(&["192.0.2.1", "198.18.0.2", "fd00::/8"], (1, 2))]
#[case::a_network_of_both_ends(&["198.18.0.0/15"], (0, 3))]
#[case::a_router_by_its_link(&["198.18.0.0/15", "02:00:00:00:00:05"], (1, 2))]
#[case::somebody_else(&["192.0.2.1"], (0, 3))]
#[case::nobody(&[], (0, 3))]
fn addresses_of_the_host_tell_sent_from_received(
    #[case] local: &[&str],
    #[case] expected: (u64, u64),
) {
    let [request, answer] = dialogue();
    let file = Pcap::ethernet()
        .whole(&request)
        .whole(&answer)
        .whole(&request);
    let folder = Folder::new();
    let played = play_for(&folder.file("x.pcap", &file.bytes), local);
    assert_eq!(counts(&played), expected);
    assert_eq!(played.ledger.residue(), 0);
}

#[test]
fn addresses_of_either_version_are_known() {
    let [request, answer] = dialogue_v6();
    let file = Pcap::ethernet()
        .whole(&request)
        .whole(&request)
        .whole(&answer);
    let folder = Folder::new();
    let path = folder.file("x.pcap", &file.bytes);
    assert_eq!(counts(&play_for(&path, &["fd00::1"])), (2, 1));
    assert_eq!(
        counts(&play_for(&path, &["fd00::2/128", "198.18.0.1"])),
        (1, 2)
    );
}

/// The word of the user comes first, then that of the file, then that of the link header.
#[test]
fn the_nearest_word_counts() {
    let [request, answer] = dialogue();
    // Both are sent by their header.
    let cooked = |packet: &[u8]| {
        [
            &[8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 4, 6][..],
            &CLIENT_MAC,
            &[0, 0],
            &packet[14..],
        ]
        .concat()
    };
    let file = PcapNg::new(Order::Little)
        .named(SLL2, "any")
        .directed(0, 1, &cooked(&request)) // received, it says
        .directed(0, 0, &cooked(&request))
        .directed(0, 0, &cooked(&answer));
    let folder = Folder::new();
    let path = folder.file("x.pcapng", &file.bytes);
    assert_eq!(counts(&play_for(&path, &[])), (2, 1));
    assert_eq!(counts(&play_for(&path, &["192.0.2.1"])), (2, 1));
    assert_eq!(counts(&play_for(&path, &["198.18.0.2"])), (1, 2));
    // The header has the sender's address alone.
    assert_eq!(counts(&play_for(&path, &["02:00:00:00:00:0c"])), (3, 0));
}

#[rstest]
#[case(Order::Little)]
#[case(Order::Big)]
fn the_obsolete_packet_block_has_flags_too(#[case] order: Order) {
    let [request, answer] = dialogue();
    let file = PcapNg::new(order)
        .named(ETHERNET, "eth0")
        .obsolete_directed(0, 2, &request)
        .obsolete_directed(0, 2, &request[..45])
        .obsolete_directed(0, 1, &answer)
        .obsolete(0, &answer);
    let folder = Folder::new();
    let played = play_for(&folder.file("x.pcapng", &file.bytes), &[]);
    assert_eq!(counts(&played), (2, 2));
}

/// One conversation is one flow, with both directions.
#[test]
fn a_capture_of_one_host_has_both_directions() {
    let [request, answer] = dialogue();
    let file = Pcap::ethernet()
        .whole(&request)
        .whole(&answer)
        .whole(&request);
    let folder = Folder::new();
    let path = folder.file("x.pcap", &file.bytes);
    let path = path.to_str().unwrap();
    let csv = |local: &[&str]| {
        let options = local.iter().flat_map(|word| ["--local", *word]);
        let arguments: Vec<_> = options.chain(["--format", "csv", path]).collect();
        let output = probe_agent(&arguments, Stdio::null());
        assert!(output.status.success(), "{output:?}");
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
    };
    let [flows, notes] = csv(&["198.18.0.1", "fd00::/8"]);
    assert!(flows.contains(",1,2,32,64,"), "{flows}");
    assert!(!notes.contains("warning"), "{notes}");
    let [flows, notes] = csv(&["192.0.2.0/24"]);
    assert!(flows.contains(",3,0,96,0,"), "{flows}");
    assert!(
        notes.contains("warning: no packet goes from or to 192.0.2.0/24"),
        "{notes}"
    );
}

#[test]
fn what_is_no_address_is_a_wrong_command_line() {
    let output = probe_agent(&["--local", "myhost", "x.pcap"], Stdio::null());
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("`myhost` is no address"), "{text}");
}
