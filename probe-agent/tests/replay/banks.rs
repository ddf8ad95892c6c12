//! The source keeps the rules of all sources: batches, banks, attaching.

use std::path::PathBuf;

use probe_capture::{
    interface::InterfaceConfig,
    source::{Drained, Hooks, RecordSource},
};
use probe_common::record::Record;
use probe_flow::ledger::Loss;
use probe_pcap::PcapSource;

use crate::{
    packets::frame,
    play::play_with,
    write::{ETHERNET, Folder, Order, Pcap, PcapNg},
};

const PACKETS: usize = 5000;

fn udp_frame() -> Vec<u8> {
    frame::Ipv4::of(frame::UDP).frame(&frame::udp(4))
}

fn long_file(folder: &Folder) -> PathBuf {
    let frame = udp_frame();
    let file = (0..PACKETS).fold(Pcap::ethernet(), |file, _| file.whole(&frame));
    folder.file("x.pcap", &file.bytes)
}

#[test]
fn a_switch_of_the_bank_splits_records_and_counters_alike() {
    let folder = Folder::new();
    let (mut source, interfaces) = PcapSource::open(&long_file(&folder)).unwrap();
    let mut stream = source.take_streams().pop().unwrap();
    assert!(
        source.take_streams().is_empty(),
        "a stream is handed out once"
    );
    assert_eq!(
        stream.drain(&mut |_| {}).unwrap(),
        Drained::Idle,
        "nothing is attached"
    );
    source
        .attach(&interfaces[0], &InterfaceConfig::default())
        .unwrap();

    let mut records = [0, 0];
    let mut calls = 0;
    loop {
        let mut batch = 0;
        let drained = stream.drain(&mut |batch_of_records| {
            for record in batch_of_records {
                records[usize::from(record.head().bank())] += 1;
                batch += 1;
            }
        });
        if drained.unwrap() == Drained::End {
            break;
        }
        assert!(batch <= 1024, "a call returns soon");
        calls += 1;
        if calls % 2 == 0 {
            let closed = usize::from(source.switch_bank().unwrap());
            let counters = source.counters(1).unwrap();
            assert_eq!(counters[closed][0].recorded.packets, records[closed]);
        }
    }
    let counters = source.counters(1).unwrap();
    let counted = [0, 1].map(|bank| counters[bank][0].recorded.packets);
    assert_eq!(counted, records);
    assert!(records.iter().all(|&count| count > 0), "{records:?}");
    assert_eq!(records.iter().sum::<u64>(), PACKETS as u64);
    assert_eq!(
        stream.drain(&mut |_| {}).unwrap(),
        Drained::End,
        "and stays at the end"
    );
}

#[test]
fn what_is_detached_or_never_attached_is_not_seen() {
    let frame = udp_frame();
    let file = PcapNg::new(Order::Little)
        .named(ETHERNET, "eth0")
        .named(ETHERNET, "eth1")
        .whole(0, &frame)
        .whole(1, &frame);
    let folder = Folder::new();
    let path = folder.file("x.pcapng", &file.bytes);

    let (mut source, interfaces) = PcapSource::open(&path).unwrap();
    let mut stream = source.take_streams().pop().unwrap();
    source
        .attach(&interfaces[1], &InterfaceConfig::default())
        .unwrap();
    assert_eq!(
        stream.drain(&mut |_| {}).unwrap(),
        Drained::Idle,
        "eth0 may still come"
    );
    source.playback().begin();
    let mut seen = Vec::new();
    while stream
        .drain(&mut |records| seen.extend(records.iter().map(Record::ifindex)))
        .unwrap()
        != Drained::End
    {}
    assert_eq!(seen, [2]);
    assert_eq!(source.counters(1).unwrap()[0][0].seen.packets, 0);

    let (mut source, interfaces) = PcapSource::open(&path).unwrap();
    let mut stream = source.take_streams().pop().unwrap();
    for interface in &interfaces {
        source
            .attach(interface, &InterfaceConfig::default())
            .unwrap();
    }
    source.detach(&[1]).unwrap();
    let mut seen = Vec::new();
    while stream
        .drain(&mut |records| seen.extend(records.iter().map(Record::ifindex)))
        .unwrap()
        != Drained::End
    {}
    assert_eq!(seen, [2]);
    assert!(source.counters(1).is_ok(), "counters stay readable");
    assert!(source.counters(3).is_err() && source.detach(&[0]).is_err());
}

#[test]
fn tagged_packets_are_left_out_on_demand() {
    let tagged = frame::vlans(
        2,
        frame::IPV4,
        &frame::Ipv4::of(frame::UDP).packet(&frame::udp(4)),
    );
    let arp = frame::ethernet(frame::C_TAG, &frame::vlan(1, frame::ARP, &[0; 28]));
    let file = Pcap::ethernet()
        .whole(&udp_frame())
        .whole(&tagged)
        .whole(&arp);
    let folder = Folder::new();
    let config = InterfaceConfig {
        ignore_vlans: true,
        ..InterfaceConfig::default()
    };
    let played = play_with(&folder.file("x.pcap", &file.bytes), &config);
    assert_eq!(played.ledger.flows.packets, 1);
    assert_eq!(
        played.loss(Loss::Filtered),
        2,
        "before anything else is read"
    );
    assert_eq!(played.ledger.residue(), 0);
}
