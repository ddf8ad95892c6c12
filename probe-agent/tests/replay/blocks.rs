//! Blocks and packets of any length, and lengths that lie.

use probe_pcap::Ending;
use rstest::rstest;

use crate::{
    packets::frame,
    play::play,
    write::{ETHERNET, Folder, Order, Pcap, PcapNg},
};

/// More than is ever kept in memory of a file.
const LARGE: usize = 5 << 20;

fn udp_frame() -> Vec<u8> {
    frame::Ipv4::of(frame::UDP).frame(&frame::udp(4))
}

/// Nothing depends on what is in them, so they may be as long as they like.
#[rstest]
#[case::name_resolution(4)]
#[case::statistics(5)]
#[case::systemd_journal(9)]
#[case::secrets(10)]
#[case::custom(0x0bad)]
#[case::custom_not_to_be_copied(0x4000_0bad)]
#[case::of_an_unknown_kind(0x8000_0001)]
fn large_blocks_are_passed_over(#[case] block_type: u32) {
    let (frame, large) = (udp_frame(), vec![0x55; LARGE]);
    for order in [Order::Little, Order::Big] {
        let file = PcapNg::new(order)
            .block(block_type, &large)
            .named(ETHERNET, "eth0")
            .whole(0, &frame)
            .block(block_type, &large)
            .block(block_type, &[])
            .whole(0, &frame)
            .block(block_type, &large);
        let folder = Folder::new();
        let played = play(&folder.file("x.pcapng", &file.bytes));
        assert_eq!(played.ending, Ending::Complete, "{order:?}");
        assert_eq!(played.ledger.flows.packets, 2, "{order:?}");
        assert_eq!(played.playback.read_bytes(), file.bytes.len() as u64);
    }
}

#[test]
fn a_section_header_may_have_long_comments() {
    let frame = udp_frame();
    let comments = vec![0; LARGE];
    let file = PcapNg::new(Order::Little)
        .named(ETHERNET, "eth0")
        .whole(0, &frame);
    let second = file.bytes.len();
    let file = file
        .section_of_version(Order::Big, (1, 0), &comments)
        .named(ETHERNET, "eth1")
        .whole(0, &frame);
    let folder = Folder::new();
    let played = play(&folder.file("x.pcapng", &file.bytes));
    assert_eq!(played.ending, Ending::Complete);
    assert_eq!(played.ledger.flows.packets, 2);
    // The same section at the beginning of a file.
    let played = play(&folder.file("y.pcapng", &file.bytes[second..]));
    assert_eq!(played.ending, Ending::Complete);
    assert_eq!(played.ledger.flows.packets, 1);
}

/// A good packet, then a block of this type that says it has this length, and what the replay ends with.
#[rstest]
#[case::longer_than_the_file(10, 0x0060_0000, 12, "cut")]
#[case::as_long_as_can_be(10, 0xffff_fffc, 12, "cut")]
#[case::shorter_than_it_ends(10, 64, 100, "damaged")]
#[case::large_interface(1, 0x0050_0000, LARGE, "large")]
#[case::large_simple_packet(3, 0x0050_0000, LARGE, "large")]
#[case::large_packet(6, 0x0050_0000, LARGE, "large")]
#[case::large_old_packet(2, 0x0050_0000, LARGE, "large")]
#[case::large_packet_that_is_not_there(6, 0x0050_0000, 12, "cut")]
fn lengths_that_lie_are_named(
    #[case] block_type: u32,
    #[case] says: u32,
    #[case] has: usize,
    #[case] expected: &str,
) {
    let mut bytes = PcapNg::new(Order::Little)
        .named(ETHERNET, "eth0")
        .whole(0, &udp_frame())
        .bytes;
    let offset = bytes.len() as u64;
    bytes.extend(block_type.to_le_bytes());
    bytes.extend(says.to_le_bytes());
    bytes.resize(bytes.len() + has - 8, 0);
    let folder = Folder::new();
    let played = play(&folder.file("x.pcapng", &bytes));
    let ending = match expected {
        "cut" => Ending::Cut { offset },
        "damaged" => Ending::Damaged { offset },
        _ => Ending::TooLarge {
            offset,
            bytes: says.into(),
        },
    };
    assert_eq!(played.ending, ending);
    assert_eq!(played.ledger.flows.packets, 1);
    let sentence = played.ending.to_string();
    assert!(sentence.contains(&format!("byte {offset}")), "{sentence}");
}

#[test]
fn a_packet_longer_than_any_ends_a_pcap_file() {
    let frame = udp_frame();
    let large = vec![0; LARGE];
    let file = Pcap::ethernet().whole(&frame);
    let offset = file.bytes.len() as u64;
    let file = file.whole(&large).whole(&frame);
    let folder = Folder::new();
    let played = play(&folder.file("x.pcap", &file.bytes));
    let bytes = LARGE as u64 + 16;
    assert_eq!(played.ending, Ending::TooLarge { offset, bytes });
    assert_eq!(played.ledger.flows.packets, 1);
    let sentence = played.ending.to_string();
    assert!(sentence.contains("claims 5242896 bytes"), "{sentence}");
}
