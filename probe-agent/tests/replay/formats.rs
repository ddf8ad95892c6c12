//! Every format says the same about the same packets.

use probe_common::{parse::Packet, record::FLAG_LATER_FRAGMENT};
use probe_flow::ledger::Loss;
use probe_pcap::Ending;
use rstest::rstest;

use crate::{
    packets::{self, frame},
    play::{Played, play},
    write::{ETHERNET, Folder, IF_NAME, IF_TSOFFSET, IF_TSRESOL, Order, Pcap, PcapNg, SLL2, USB},
};

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const MODIFIED: u32 = 0xa1b2_cd34;

fn udp_frame() -> Vec<u8> {
    frame::Ipv4::of(frame::UDP).frame(&frame::udp(4))
}

/// All hand-built packets, of which the answers are known.
fn assert_is_hand_built_set(played: &Played) {
    let cases = packets::cases();
    assert_eq!(played.ending, Ending::Complete);
    assert_eq!(played.ledger.seen.packets, cases.len() as u64);
    let wire_bytes: usize = cases.iter().map(|case| case.wire_len).sum();
    assert_eq!(played.ledger.seen.bytes, wire_bytes as u64);
    assert_eq!(played.ledger.residue(), 0);
    let (mut octets, mut fragments, mut losses) = (0, 0, [0; Loss::COUNT]);
    for case in cases {
        assert!(case.wire_len >= case.frame.len(), "{}", case.name);
        let flags = match case.expected {
            Ok(Packet::V4(observation)) => {
                octets += u64::from(observation.octets);
                observation.flags
            }
            Ok(Packet::V6(observation)) => {
                octets += u64::from(observation.octets);
                observation.flags
            }
            Err(error) => {
                losses[error.loss() as usize] += 1;
                0
            }
        };
        fragments += u64::from(flags & FLAG_LATER_FRAGMENT != 0);
    }
    assert_eq!(played.ledger.flows.bytes, octets);
    assert_eq!(played.ledger.later_fragments, fragments);
    assert_eq!(Loss::ALL.map(|loss| played.loss(loss)), losses);
}

#[rstest]
#[case::little_endian(Order::Little, MICROSECONDS)]
#[case::big_endian(Order::Big, MICROSECONDS)]
#[case::nanoseconds(Order::Little, NANOSECONDS)]
#[case::nanoseconds_big_endian(Order::Big, NANOSECONDS)]
#[case::modified(Order::Little, MODIFIED)]
fn pcap(#[case] order: Order, #[case] magic: u32) {
    let unit = if magic == NANOSECONDS { 1000 } else { 1 };
    let mut file = Pcap::new(order, magic, ETHERNET);
    for (case, micros) in packets::cases().iter().zip(0..) {
        file = file.packet(1_700_000_000, micros * unit, &case.frame, case.wire_len);
    }
    let folder = Folder::new();
    let played = play(&folder.file("uplink.pcap", &file.bytes));
    assert_is_hand_built_set(&played);
    assert_eq!(&*played.interfaces[0].name, "uplink");
    let (first, last) = played.playback.time_range().expect("times");
    assert_eq!(first.as_microsecond(), 1_700_000_000_000_000);
    let count = i64::try_from(packets::cases().len()).expect("few");
    assert_eq!(last.as_microsecond() - first.as_microsecond(), count - 1);
    assert_eq!(played.playback.read_bytes(), played.playback.file_bytes());
}

#[rstest]
#[case(Order::Little)]
#[case(Order::Big)]
fn pcapng(#[case] order: Order) {
    let mut file = PcapNg::new(order).named(ETHERNET, "eth0");
    for case in packets::cases() {
        file = file.packet(0, 1_700_000_000_000_000, &case.frame, case.wire_len, &[]);
    }
    let folder = Folder::new();
    let played = play(&folder.file("some.pcapng", &file.bytes));
    assert_is_hand_built_set(&played);
    assert_eq!(&*played.interfaces[0].name, "eth0");
    let (first, _) = played.playback.time_range().expect("times");
    assert_eq!(first.as_second(), 1_700_000_000);
}

#[test]
fn interfaces_are_told_apart_by_name() {
    let frame = udp_frame();
    let file = PcapNg::new(Order::Little)
        .named(ETHERNET, "eth0")
        .whole(0, &frame)
        .named(SLL2, "any") // a late one
        .whole(
            1,
            &[
                &[8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 4, 6][..],
                &[0; 8],
                &frame[14..],
            ]
            .concat(),
        )
        .section(Order::Big)
        .unnamed(ETHERNET)
        .unnamed(ETHERNET)
        .named(ETHERNET, "eth0")
        .whole(0, &frame)
        .whole(1, &frame)
        .whole(2, &frame)
        .named(ETHERNET, "two\nlines")
        .named(ETHERNET, "\u{202e}0hte");
    let folder = Folder::new();
    let played = play(&folder.file("x.pcapng", &file.bytes));
    assert_eq!(played.ending, Ending::Complete);
    let names: Vec<&str> = played.interfaces.iter().map(|found| &*found.name).collect();
    let escaped = [r"two\x0alines", r"\xe2\x80\xae0hte"];
    assert_eq!(names[..4], ["eth0", "any", "x", "x.1"]);
    assert_eq!(names[4..], escaped);
    let indices: Vec<u32> = played
        .interfaces
        .iter()
        .map(|found| found.ifindex)
        .collect();
    assert_eq!(indices, [1, 2, 3, 4, 5, 6]);
    let received = |name: &str| played.packets.get(&(name.to_owned(), 0)).copied();
    assert_eq!(received("eth0"), Some(2), "both sections");
    assert_eq!((received("x"), received("x.1")), (Some(1), Some(1)));
    assert_eq!(played.sent("any"), 1, "the cooked header says outgoing");
    assert_eq!(
        played.flows.len(),
        1,
        "one flow by its key: {:?}",
        played.flows
    );
}

/// As Wireshark names remote interfaces, for example.
#[test]
fn interfaces_whose_names_are_shown_alike_stay_apart() {
    let frame = udp_frame();
    let long = "rpcap://[2001:db8::1]:2002/".repeat(4);
    let [first, second] = ["{A}", "{B}"].map(|end| format!("{long}{end}"));
    let file = PcapNg::new(Order::Little)
        .named(ETHERNET, &first)
        .named(ETHERNET, &second)
        .named(ETHERNET, "a\nb")
        .named(ETHERNET, r"a\x0ab")
        .named(ETHERNET, "x")
        .whole(0, &frame)
        .whole(1, &frame)
        .whole(1, &frame)
        .section(Order::Big)
        .unnamed(ETHERNET) // which is called x, too
        .named(ETHERNET, &second)
        .whole(0, &frame)
        .whole(1, &frame);
    let folder = Folder::new();
    let played = play(&folder.file("x.pcapng", &file.bytes));
    let names: Vec<&str> = played.interfaces.iter().map(|found| &*found.name).collect();
    let shown = &long[..64];
    let numbered = format!("{}~2", &long[..62]);
    assert_eq!(
        names,
        [shown, &numbered, r"a\x0ab", r"a\x0ab~2", "x", "x~2"]
    );
    let received = |name: &str| played.packets.get(&(name.to_owned(), 0)).copied();
    let counts = [shown, &numbered, "x", "x~2"].map(received);
    assert_eq!(counts, [Some(1), Some(3), None, Some(1)]);
    let warnings = played.playback.warnings();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings[0].contains(&numbered), "{warnings:?}");
}

#[rstest]
#[case(Order::Little)]
#[case(Order::Big)]
fn directions_come_from_the_packet_flags(#[case] order: Order) {
    let frame = udp_frame();
    let file = PcapNg::new(order)
        .named(ETHERNET, "eth0")
        .directed(0, 0, &frame)
        .directed(0, 1, &frame)
        .directed(0, 2, &frame)
        .directed(0, 0xff00_0002, &frame);
    let folder = Folder::new();
    let played = play(&folder.file("x.pcapng", &file.bytes));
    assert_eq!(played.sent("eth0"), 2);
    assert_eq!(played.ledger.flows.packets, 4);
}

#[rstest]
#[case(Order::Little)]
#[case(Order::Big)]
fn simple_and_obsolete_packet_blocks(#[case] order: Order) {
    let frame = udp_frame(); // 46 bytes, of which the interface keeps 40
    let file = PcapNg::new(order)
        .unnamed(ETHERNET)
        .simple(&frame[..40], 46)
        .simple(&frame[..37], 37)
        .obsolete(0, &frame)
        .block(4, b"a block that is no packet")
        .block(0x0bad_cafe, b"of an unknown kind");
    let folder = Folder::new();
    let played = play(&folder.file("x.pcapng", &file.bytes));
    assert_eq!(played.ending, Ending::Complete);
    assert_eq!(
        (played.ledger.seen.packets, played.ledger.seen.bytes),
        (3, 46 + 37 + 46)
    );
    assert_eq!(played.ledger.flows.packets, 3);
}

#[test]
fn time_stamps_follow_resolution_and_offset() {
    type Case = (&'static [(u16, &'static [u8])], u64, i128);
    const OFFSET: &[u8] = &60i64.to_be_bytes();
    let cases: [Case; 4] = [
        (&[], 1_500_000, 1_500_000_000),
        (&[(IF_TSRESOL, &[9])], 7, 7),
        (&[(IF_TSRESOL, &[0x8a])], 1024 * 3 + 512, 3_500_000_000),
        (
            &[(IF_TSRESOL, &[3]), (IF_TSOFFSET, OFFSET)],
            5,
            60_005_000_000,
        ),
    ];
    for (options, ticks, expected_ns) in cases {
        let frame = udp_frame();
        let file = PcapNg::new(Order::Big).interface(ETHERNET, options).packet(
            0,
            ticks,
            &frame,
            frame.len(),
            &[],
        );
        let folder = Folder::new();
        let played = play(&folder.file("x.pcapng", &file.bytes));
        let (at, _) = played.playback.time_range().expect("a time");
        assert_eq!(at.as_nanosecond(), expected_ns, "{options:?}");
    }
}

#[test]
fn times_that_cannot_be_do_no_harm() {
    let frame = udp_frame();
    let file = PcapNg::new(Order::Little)
        .interface(
            ETHERNET,
            &[
                (IF_TSRESOL, &[0]),
                (IF_TSOFFSET, &[0x7f; 8]),
                (IF_NAME, b"\xff"),
            ],
        )
        .packet(0, u64::MAX, &frame, frame.len(), &[]);
    let folder = Folder::new();
    let played = play(&folder.file("x.pcapng", &file.bytes));
    assert_eq!(played.ledger.flows.packets, 1);
    assert_eq!(played.playback.time_range(), None);
    assert_eq!(&*played.interfaces[0].name, "x", "a name that is no UTF-8");
}

#[test]
fn packets_of_an_unsupported_interface_are_a_named_loss() {
    let frame = udp_frame();
    let file = PcapNg::new(Order::Little)
        .named(ETHERNET, "eth0")
        .named(USB, "usbmon1")
        .whole(0, &frame)
        .whole(1, &frame)
        .whole(1, &frame);
    let folder = Folder::new();
    let played = play(&folder.file("x.pcapng", &file.bytes));
    assert_eq!(played.loss(Loss::NonIp), 2);
    assert_eq!(played.ledger.residue(), 0);
    let warnings = played.playback.warnings();
    assert!(
        warnings.len() == 1
            && warnings[0].contains("usbmon1")
            && warnings[0].contains("189 (USB_LINUX)"),
        "{warnings:?}"
    );
}

#[test]
fn packets_larger_than_the_buffer_are_read() {
    let small = udp_frame();
    let large = frame::ethernet(frame::IPV4, &vec![0x45; 600_000]);
    let file = Pcap::ethernet().whole(&small).whole(&large).whole(&small);
    let folder = Folder::new();
    let played = play(&folder.file("x.pcap", &file.bytes));
    assert_eq!(played.ending, Ending::Complete);
    assert_eq!(played.ledger.seen.packets, 3);
    assert_eq!(played.ledger.seen.bytes, 46 + 46 + 600_014);
}

#[test]
fn lengths_that_contradict_each_other_are_the_larger_one() {
    let frame = frame::Ipv4 {
        total_len: Some(0),
        ..frame::Ipv4::of(frame::UDP)
    }
    .frame(&frame::udp(4));
    let file = Pcap::ethernet().packet(1, 0, &frame, 3);
    let folder = Folder::new();
    let played = play(&folder.file("x.pcap", &file.bytes));
    assert_eq!(
        (played.ledger.seen.bytes, played.ledger.flows.bytes),
        (46, 32)
    );
}
