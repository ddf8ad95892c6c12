//! Versions of the formats: read, or refused by name.

use std::process::Stdio;

use probe_pcap::{Ending, PcapError, PcapSource};
use rstest::rstest;

use crate::{
    command::probe_agent,
    packets::frame,
    play::play,
    write::{ETHERNET, Folder, Order, Pcap, PcapNg},
};

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const MODIFIED: u32 = 0xa1b2_cd34;

fn udp_frame() -> Vec<u8> {
    frame::Ipv4::of(frame::UDP).frame(&frame::udp(4))
}

/// A cut packet of 400 bytes and two whole ones, in a file of this version.
fn written(order: Order, magic: u32, version: (u16, u16), is_kept_last: bool) -> Vec<u8> {
    let frame = udp_frame();
    let mut file = Pcap::of_version(order, magic, version, ETHERNET);
    if is_kept_last {
        file = file.kept_last();
    }
    file.packet(1, 0, &frame, 400)
        .whole(&frame)
        .packet(2, 0, &frame, 60)
        .bytes
}

#[rstest]
#[case::current((2, 4), false)]
#[case::before_the_lengths_changed_places((2, 2), true)]
#[case::the_first((2, 0), true)]
#[case::dg_ux((543, 0), true)]
#[case::of_the_change((2, 3), false)]
#[case::of_the_change_in_the_old_order((2, 3), true)]
fn versions_of_pcap_are_read(#[case] version: (u16, u16), #[case] is_kept_last: bool) {
    let folder = Folder::new();
    for order in [Order::Little, Order::Big] {
        for magic in [MICROSECONDS, NANOSECONDS, MODIFIED] {
            let bytes = written(order, magic, version, is_kept_last);
            let played = play(&folder.file("x.pcap", &bytes));
            assert_eq!(played.ending, Ending::Complete, "{order:?} {magic:x}");
            assert_eq!(played.ledger.flows.packets, 3, "{order:?} {magic:x}");
            assert_eq!(played.ledger.seen.bytes, 400 + 46 + 60);
        }
    }
}

#[rstest]
#[case::of_the_future((3, 0))]
#[case::minor((2, 5))]
#[case::archaic((1, 2))]
#[case::other_minor_of_dg_ux((543, 1))]
fn other_versions_of_pcap_are_refused(#[case] (major, minor): (u16, u16)) {
    let folder = Folder::new();
    for order in [Order::Little, Order::Big] {
        let bytes = written(order, MICROSECONDS, (major, minor), false);
        let path = folder.file("x.pcap", &bytes);
        let output = probe_agent(&[path.to_str().unwrap()], Stdio::null());
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        let version = format!("version {major}.{minor} of pcap,");
        assert!(
            text.contains(&version) && text.contains("2.0 to 2.4"),
            "{text}"
        );
    }
}

#[rstest]
#[case(0)]
#[case(2)]
fn minor_versions_of_pcapng_are_read(#[case] minor: u16) {
    let file = PcapNg::new(Order::Big)
        .section_of_version(Order::Little, (1, minor), &[])
        .named(ETHERNET, "eth0")
        .whole(0, &udp_frame());
    let folder = Folder::new();
    let played = play(&folder.file("x.pcapng", &file.bytes));
    assert_eq!(played.ending, Ending::Complete);
    assert_eq!(played.ledger.flows.packets, 1);
}

#[rstest]
#[case((2, 0))]
#[case((1, 1))]
#[case((0, 0))]
fn other_versions_of_pcapng_are_refused_where_they_begin(#[case] version: (u16, u16)) {
    let (major, minor) = version;
    let folder = Folder::new();
    for order in [Order::Little, Order::Big] {
        let file = PcapNg::new(Order::Little)
            .named(ETHERNET, "eth0")
            .whole(0, &udp_frame());
        let offset = file.bytes.len();
        let file = file
            .section_of_version(order, version, &[])
            .named(ETHERNET, "eth0")
            .whole(0, &udp_frame());
        let played = play(&folder.file("x.pcapng", &file.bytes));
        let unsupported = Ending::Unsupported {
            offset: offset as u64,
            major,
            minor,
        };
        assert_eq!(played.ending, unsupported);
        assert_eq!(played.ledger.flows.packets, 1);
        let sentence = unsupported.to_string();
        assert!(
            sentence.contains(&format!("version {major}.{minor} of pcapng")),
            "{sentence}"
        );

        let alone = folder.file("y.pcapng", &file.bytes[offset..]);
        let error = PcapSource::open(&alone).err().expect("refused");
        assert!(
            matches!(error, PcapError::UnsupportedVersion { .. }),
            "{error}"
        );
    }
}
