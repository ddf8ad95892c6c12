//! Files that are no capture, are cut or lie.

use std::{io::Write as _, os::fd::AsRawFd, path::Path, thread};

use probe_flow::ledger::Loss;
use probe_pcap::{Ending, PcapError, PcapSource};
use proptest::prelude::*;
use rstest::rstest;

use crate::{
    packets::frame,
    play::play,
    write::{ETHERNET, Folder, Order, PCAP_HEADER_LEN, PCAP_PACKET_HEADER_LEN, Pcap, PcapNg, USB},
};

fn udp_frame() -> Vec<u8> {
    frame::Ipv4::of(frame::UDP).frame(&frame::udp(4))
}

fn refusal(path: &Path) -> PcapError {
    match PcapSource::open(path) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

#[rstest]
#[case::empty(b"", "is empty")]
#[case::text(b"interfaces: {eth0: {}}\n", "looks like text")]
#[case::gzip(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0], "gzip -dc")]
#[case::cut_pcap_header(&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0], "file header is incomplete")]
#[case::cut_pcapng_header(&[0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0], "file header is incomplete")]
#[case::pcapng_without_byte_order(&[0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 1, 2, 3, 4], "header")]
fn what_is_no_capture_is_named(#[case] bytes: &[u8], #[case] answer: &str) {
    let folder = Folder::new();
    let path = folder.file("x.pcap", bytes);
    let sentence = refusal(&path).to_string();
    assert!(sentence.contains(answer), "{sentence}");
    assert!(sentence.contains("x.pcap"), "the file is named: {sentence}");
}

#[test]
fn what_cannot_be_opened_is_named() {
    let folder = Folder::new();
    let sentence = refusal(&folder.path().join("nowhere.pcap")).to_string();
    assert!(
        sentence.contains("cannot open") && sentence.contains("nowhere.pcap"),
        "{sentence}"
    );
    let sentence = refusal(folder.path()).to_string();
    assert!(sentence.contains("directory"), "{sentence}");
}

#[test]
fn an_unsupported_link_type_is_named_with_remedy_and_the_supported_ones() {
    let folder = Folder::new();
    let pcap = Pcap::new(Order::Little, 0xa1b2_c3d4, USB);
    let pcapng = PcapNg::new(Order::Little).named(USB, "usbmon1");
    for bytes in [&pcap.bytes, &pcapng.bytes] {
        let error = refusal(&folder.file("x", bytes));
        assert!(matches!(
            error,
            PcapError::UnsupportedLinkType { number: 189, .. }
        ));
        let sentence = error.to_string();
        assert!(
            sentence.contains("189 (USB_LINUX)")
                && sentence.contains("editcap")
                && sentence.contains("Ethernet (1)"),
            "{sentence}"
        );
    }
}

#[test]
fn more_interfaces_than_can_be_captured_are_refused() {
    let mut file = PcapNg::new(Order::Little);
    for number in 0..1024 {
        file = file.named(ETHERNET, &format!("eth{number}"));
    }
    let folder = Folder::new();
    assert_eq!(play(&folder.file("x", &file.bytes)).interfaces.len(), 1024);
    let file = file.named(ETHERNET, "one more");
    let error = refusal(&folder.file("x", &file.bytes));
    assert!(
        matches!(error, PcapError::TooManyInterfaces { limit: 1024, .. }),
        "{error}"
    );
}

#[test]
fn a_pcap_file_cut_anywhere_keeps_its_whole_packets() {
    let frame = udp_frame();
    let packet_len = PCAP_PACKET_HEADER_LEN + frame.len();
    let file = Pcap::ethernet().whole(&frame).whole(&frame).whole(&frame);
    let folder = Folder::new();
    for len in PCAP_HEADER_LEN..=file.bytes.len() {
        let played = play(&folder.file("x.pcap", &file.bytes[..len]));
        let whole = (len - PCAP_HEADER_LEN) / packet_len;
        let end_of_whole = PCAP_HEADER_LEN + whole * packet_len;
        let ending = if end_of_whole == len {
            Ending::Complete
        } else {
            Ending::Cut {
                offset: end_of_whole as u64,
            }
        };
        assert_eq!(played.ending, ending, "cut at {len}");
        assert_eq!(played.ledger.flows.packets, whole as u64, "cut at {len}");
        assert_eq!(played.ledger.residue(), 0);
    }
}

#[test]
fn a_pcapng_file_cut_anywhere_keeps_its_whole_packets() {
    let frame = udp_frame();
    let header = PcapNg::new(Order::Big).named(ETHERNET, "eth0");
    let header_len = header.bytes.len();
    let file = header.whole(0, &frame).whole(0, &frame);
    let block_len = (file.bytes.len() - header_len) / 2;
    let folder = Folder::new();
    for len in header_len..=file.bytes.len() {
        let played = play(&folder.file("x.pcapng", &file.bytes[..len]));
        let whole = (len - header_len) / block_len;
        assert_eq!(
            played.ending.is_complete(),
            (len - header_len).is_multiple_of(block_len),
            "cut at {len}"
        );
        if let Ending::Cut { offset } = played.ending {
            assert_eq!(
                offset,
                (header_len + whole * block_len) as u64,
                "cut at {len}"
            );
        }
        assert_eq!(played.ledger.flows.packets, whole as u64, "cut at {len}");
    }
}

#[test]
fn the_sentence_about_a_cut_names_the_byte() {
    let frame = udp_frame();
    let file = Pcap::ethernet().whole(&frame).whole(&frame);
    let folder = Folder::new();
    let played = play(&folder.file("x.pcap", &file.bytes[..file.bytes.len() - 1]));
    let sentence = played.ending.to_string();
    assert!(
        sentence.contains("cut") && sentence.contains("byte 86"),
        "{sentence}"
    );
}

/// A good packet, then these bytes.
#[rstest]
#[case::huge_length(
    &[0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    Ending::TooLarge { offset: 86, bytes: 0x1_0000_000f },
)]
#[case::large_length(
    &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x30, 0, 0, 0, 0x30, 0],
    Ending::Cut { offset: 86 },
)]
fn a_hostile_length_in_a_pcap_file_is_the_end(#[case] tail: &[u8], #[case] ending: Ending) {
    let mut bytes = Pcap::ethernet().whole(&udp_frame()).bytes;
    bytes.extend(tail);
    bytes.resize(bytes.len() + 100, 0);
    let folder = Folder::new();
    let played = play(&folder.file("x.pcap", &bytes));
    assert_eq!(played.ledger.flows.packets, 1);
    assert_eq!(played.ending, ending);
}

#[rstest]
#[case::block_longer_than_the_file(&[6, 0, 0, 0, 0xf0, 0xff, 0xff, 0x7f])]
#[case::huge_block(&[6, 0, 0, 0, 0xfc, 0xff, 0xff, 0xff])]
#[case::block_of_no_length(&[6, 0, 0, 0, 0, 0, 0, 0])]
#[case::block_shorter_than_any(&[6, 0, 0, 0, 11, 0, 0, 0])]
#[case::packet_longer_than_its_block(
    &[6, 0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0, 9, 0, 0, 0,
      1, 2, 3, 4, 36, 0, 0, 0]
)]
#[case::packet_longer_than_everything(
    &[6, 0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0xff, 0xff, 0xff,
      9, 0, 0, 0, 1, 2, 3, 4, 36, 0, 0, 0]
)]
#[case::interface_that_is_not_there(
    &[6, 0, 0, 0, 36, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0,
      1, 2, 3, 4, 36, 0, 0, 0]
)]
fn a_hostile_block_is_the_end(#[case] tail: &[u8]) {
    let mut bytes = PcapNg::new(Order::Little)
        .named(ETHERNET, "eth0")
        .whole(0, &udp_frame())
        .bytes;
    let offset = bytes.len() as u64;
    bytes.extend(tail);
    let folder = Folder::new();
    let played = play(&folder.file("x.pcapng", &bytes));
    assert_eq!(played.ledger.flows.packets, 1);
    assert!(
        [Ending::Cut { offset }, Ending::Damaged { offset }].contains(&played.ending),
        "{:?}",
        played.ending
    );
}

#[test]
fn a_packet_before_any_interface_is_damage() {
    let file = PcapNg::new(Order::Little).simple(&udp_frame(), 46);
    let folder = Folder::new();
    let played = play(&folder.file("x.pcapng", &file.bytes));
    assert_eq!(played.ending, Ending::Damaged { offset: 28 });
    assert!(played.interfaces.is_empty());
}

#[test]
fn a_pipe_is_as_good_as_a_file() {
    let file = PcapNg::new(Order::Little)
        .named(ETHERNET, "eth0")
        .whole(0, &udp_frame());
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let writing = thread::spawn(move || writer.write_all(&file.bytes));
    let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
    let played = play(Path::new(&path));
    writing.join().expect("joined").expect("written");
    assert_eq!(played.ending, Ending::Complete);
    assert_eq!(played.ledger.flows.packets, 1);
}

/// A small file of each format, to be spoilt.
fn small_file(is_pcapng: bool) -> Vec<u8> {
    let frame = udp_frame();
    if is_pcapng {
        PcapNg::new(Order::Little)
            .named(ETHERNET, "eth0")
            .whole(0, &frame)
            .directed(0, 2, &frame)
            .section(Order::Big)
            .named(ETHERNET, "eth1")
            .whole(0, &frame)
            .simple(&frame, 46)
            .obsolete(0, &frame)
            .bytes
    } else {
        Pcap::ethernet()
            .whole(&frame)
            .whole(&frame)
            .whole(&frame)
            .bytes
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever a file says, reading ends, and every packet that was seen is accounted for.
    #[test]
    fn spoilt_files_end_and_balance(
        is_pcapng: bool,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = small_file(is_pcapng);
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let folder = Folder::new();
        let path = folder.file("x", &bytes);
        if PcapSource::open(&path).is_ok() {
            let played = play(&path);
            prop_assert_eq!(played.ledger.residue(), 0);
            prop_assert!(played.ledger.seen.packets <= 5);
            prop_assert_eq!(played.loss(Loss::RingFull), 0);
        }
    }
}
