//! Writes the binary part of the corpus anew: frames for `parser`, files for `capture_file`. All are
//! made here, none was captured. The texts of the other targets are written by hand.
//!
//! `cargo run -p probe-fuzz --example seeds`

use std::{collections::HashSet, fs, io, path::Path};

use probe_common::parse::{Packet, link::parse_ethernet};
use probe_fuzz::parser::HEAD_LEN;

#[path = "../../../probe-agent/src/selftest/packets.rs"]
mod packets;
#[path = "../../../probe-agent/tests/replay/write.rs"]
#[expect(dead_code, reason = "shared with the tests of capture files")]
mod write;

use packets::{Case, frame};
use write::{ETHERNET, IF_TSOFFSET, IF_TSRESOL, Order, Pcap, PcapNg, SLL2, USB};

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    write_all(&corpus.join("parser"), frames())?;
    write_all(&corpus.join("capture_file"), files())
}

fn write_all(folder: &Path, seeds: Vec<(String, Vec<u8>)>) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, bytes) in seeds {
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

/// Of the frames of the self-test one for each way through the parser.
fn frames() -> Vec<(String, Vec<u8>)> {
    let mut ways = HashSet::new();
    let cases = packets::cases().into_iter();
    let distinct = cases.filter(|case| ways.insert(way(case)));
    distinct
        .map(|case| {
            let cut = u16::try_from(case.wire_len - case.frame.len()).expect("a short frame");
            let head: [u8; HEAD_LEN] = cut.to_be_bytes();
            (file_name(case.name), [&head[..], &case.frame].concat())
        })
        .collect()
}

/// What tells two ways through the parser apart.
fn way(case: &Case) -> String {
    let ether_type = case.frame.get(12..14);
    let outcome = match &case.expected {
        Ok(Packet::V4(it)) => format!("{} {} {}", it.key.ip_protocol, it.header_octets, it.flags),
        Ok(Packet::V6(it)) => format!("{} {} {}", it.key.ip_protocol, it.header_octets, it.flags),
        Err(error) => error.loss().name().to_owned(),
    };
    assert_eq!(
        parse_ethernet(&case.frame[..]).is_ok(),
        case.expected.is_ok()
    );
    format!("{ether_type:?} {outcome}")
}

fn file_name(name: &str) -> String {
    let word = |char: char| {
        if char.is_ascii_alphanumeric() {
            char
        } else {
            '-'
        }
    };
    name.chars().map(word).collect()
}

/// A file of each format, byte order and link type, and some that are cut or lie.
fn files() -> Vec<(String, Vec<u8>)> {
    let udp = frame::Ipv4::of(frame::UDP).frame(&frame::udp(4));
    let tcp = frame::Ipv6::of(frame::TCP).frame(&frame::tcp(0x12));
    let raw = &udp[14..];
    let pcap = |order, magic, link_type, packet: &[u8]| {
        let file = Pcap::new(order, magic, link_type).whole(packet);
        file.packet(2, 999, &packet[..20], packet.len()).bytes
    };
    let pcapng = PcapNg::new(Order::Little)
        .interface(
            ETHERNET,
            &[(2, b"eth0"), (IF_TSRESOL, &[9]), (IF_TSOFFSET, &[1; 8])],
        )
        .whole(0, &udp)
        .directed(0, 2, &tcp)
        .named(SLL2, "any")
        .whole(1, &[&[0x08, 0][..], &[0; 8], &[4], &[0; 9], raw].concat())
        .section(Order::Big)
        .unnamed(ETHERNET)
        .simple(&udp, 46)
        .obsolete(0, &frame::vlan(7, frame::IPV4, raw))
        .named(USB, "usbmon1")
        .whole(1, &udp)
        .block(5, &[0; 20])
        .bytes;
    let old = Pcap::of_version(Order::Big, 0xa1b2_c3d4, (2, 2), ETHERNET).kept_last();
    let years = [0, u32::MAX, 1_700_000_000].into_iter();
    let years = years.fold(Pcap::ethernet(), |file, second| {
        file.packet(second, 0, &udp, udp.len())
    });
    let many = (0..40).fold(Pcap::ethernet(), |file, _| file.whole(&tcp));
    vec![
        (
            "microseconds.pcap".into(),
            pcap(Order::Little, 0xa1b2_c3d4, ETHERNET, &udp),
        ),
        (
            "nanoseconds.pcap".into(),
            pcap(Order::Big, 0xa1b2_3c4d, ETHERNET, &tcp),
        ),
        (
            "modified.pcap".into(),
            pcap(Order::Little, 0xa1b2_cd34, ETHERNET, &udp),
        ),
        (
            "raw-ip.pcap".into(),
            pcap(Order::Little, 0xa1b2_c3d4, 101, raw),
        ),
        ("many.pcap".into(), many.bytes),
        ("cut.pcapng".into(), pcapng[..pcapng.len() - 9].to_vec()),
        ("sections.pcapng".into(), pcapng),
        ("version-2.2.pcap".into(), old.whole(&udp).bytes),
        ("years.pcap".into(), years.bytes),
    ]
    .into_iter()
    .chain(link_types(raw))
    .collect()
}

/// A file of each link type that has its own way to the IP header, and an A-MSDU.
fn link_types(raw: &[u8]) -> Vec<(String, Vec<u8>)> {
    let framed = |link_type: u16, header: &[u8]| {
        let file = Pcap::new(Order::Little, 0xa1b2_c3d4, link_type);
        let packet = [header, raw].concat();
        (
            format!("link-type-{link_type}.pcap"),
            file.whole(&packet).bytes,
        )
    };
    let wifi = [
        &[0x88, 0x03, 0, 0][..],
        &[2; 18],
        &[0, 0],
        &[2; 6],
        &[0, 0],
        &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0],
    ]
    .concat();
    let mut part = [&[2; 12][..], &[0, 40], &wifi[32..], raw].concat();
    part.resize(part.len().next_multiple_of(4), 0);
    let radio = [0, 0, 17, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];
    let aggregate = [&radio[..], &wifi[..30], &[0x80, 0], &part, &part, &[9; 4]].concat();
    let radios: [(u16, &[u8]); 5] = [
        (105, &[]),
        (119, &[0x44, 0, 0, 0, 12, 0, 0, 0, 1, 2, 3, 4]),
        (127, &[0, 0, 9, 0, 2, 0, 0, 0, 0x30]),
        (163, &[0x80, 0x21, 0x10, 1, 0, 0, 0, 8]),
        (192, &[0, 0, 8, 0, 105, 0, 0, 0]),
    ];
    let on_air = radios.map(|(link_type, radio)| framed(link_type, &[radio, &wifi].concat()));
    let on_wire = [
        framed(9, &[0xff, 3, 0, 0x21]),
        framed(50, &[0x0f, 0, 8, 0]),
        framed(51, &[0x11, 0, 0, 1, 0, 23, 0, 0x21]),
        framed(107, &[0x18, 0x41, 3, 0, 0x80, 0, 0, 0, 8, 0]),
        framed(109, &[2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
        framed(205, &[1, 0x8f, 0, 8, 0]),
        framed(219, &[0, 0, 0x11, 64]),
    ];
    let aggregate = Pcap::new(Order::Little, 0xa1b2_c3d4, 127).whole(&aggregate);
    let mut files = vec![("aggregate.pcap".to_owned(), aggregate.bytes)];
    files.extend(on_air);
    files.extend(on_wire);
    files
}
