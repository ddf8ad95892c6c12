//! Fragments of the corpus in the flow log, against a count of their identifications.

use std::{collections::HashSet, path::Path};

use probe_capture::{
    interface::InterfaceConfig,
    source::{Drained, Hooks, RecordSource},
};
use probe_common::record::{FLAG_FIRST_FRAGMENT, Record};
use probe_flow::flow_log::{FlowLog, FlowLogOptions};
use probe_pcap::PcapSource;

use crate::oracle;

/// Direction, addresses, identification; of IPv4 also the protocol.
type PacketId = (u8, Vec<u8>, u32);

fn id(record: Record<'_>) -> PacketId {
    let head = record.head();
    let ends = match record {
        Record::V4(record) => {
            let key = record.key;
            [&key.src_addr[..], &key.dst_addr, &[key.ip_protocol]].concat()
        }
        Record::V6(record) => [record.key.src_addr, record.key.dst_addr].concat(),
    };
    (head.direction(), ends, head.fragment_id())
}

/// Fragments of one capture: all later ones, those that the flow log did not attribute, and those
/// of which the capture has no first one.
fn fragments(path: &Path) -> (u64, u64, u64) {
    let (mut source, interfaces) = PcapSource::open(path).unwrap_or_else(|error| panic!("{error}"));
    let mut stream = source.take_streams().pop().expect("a stream");
    for interface in &interfaces {
        let config = InterfaceConfig::default();
        source.attach(interface, &config).expect("attached");
    }
    let mut logs: Vec<_> = interfaces
        .iter()
        .map(|_| FlowLog::new(FlowLogOptions::default()))
        .collect();
    let mut first = HashSet::new();
    let mut later = Vec::new();
    let mut keep = |record: Record<'_>| {
        let head = record.head();
        logs[head.ifindex as usize - 1].handle_record(record);
        if head.flags & FLAG_FIRST_FRAGMENT != 0 {
            first.insert((head.ifindex, id(record)));
        } else if head.is_fragment() {
            later.push((head.ifindex, id(record)));
        }
    };
    let mut keep_all = |records: &[Record<'_>]| records.iter().copied().for_each(&mut keep);
    while stream.drain(&mut keep_all).expect("drained") != Drained::End {}
    let mut unattributed = 0;
    for log in &mut logs {
        let totals = log.totals();
        assert_eq!(log.rotate().1, totals, "{}", path.display());
        unattributed += log.unattributed_fragments();
    }
    let orphans = later.iter().filter(|id| !first.contains(*id)).count();
    (later.len() as u64, unattributed, orphans as u64)
}

#[test]
fn only_fragments_without_a_first_one_stay_unattributed() {
    let Some(corpus) = oracle::corpus() else {
        return;
    };
    let (mut all, mut all_unattributed) = (0, 0);
    for (name, path) in oracle::captures(&corpus) {
        let (later, unattributed, orphans) = fragments(&path);
        assert_eq!(unattributed, orphans, "{name}: of {later} later fragments");
        all += later;
        all_unattributed += unattributed;
    }
    eprintln!("{all} later fragments, {all_unattributed} of them without a first one");
    assert!(all > all_unattributed, "the corpus has whole packets");
}
