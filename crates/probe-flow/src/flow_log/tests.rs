mod batches;
mod direction;

use std::collections::BTreeMap;

use probe_common::{
    classify::Evidence,
    ephash::{EpHash, EpHashV4},
    headers::tcp_flags::{ACK, SYN},
    record::{EGRESS, INGRESS, IntoRecord, Record, RecordHead, origin_flags},
};
use proptest::prelude::*;

use super::{FlowLog, FlowLogOptions};
use crate::flow::{FlowCounters, FlowMap};

const SYN_ACK: u8 = SYN | ACK;

fn key(src: u8, src_port: u16, dst: u8, dst_port: u16, ip_protocol: u8) -> EpHashV4 {
    EpHash {
        src_addr: [198, 18, 0, src],
        src_port: src_port.to_be_bytes(),
        dst_addr: [198, 18, 0, dst],
        dst_port: dst_port.to_be_bytes(),
        ip_protocol,
    }
}

fn head(direction: u8, octets: u64, tcp_flags: u8) -> RecordHead {
    RecordHead {
        octets,
        packets: 1,
        flags: origin_flags(direction, 0),
        tcp_flags,
        aux: tcp_flags,
        ..RecordHead::default()
    }
}

fn count(log: &mut FlowLog, key: EpHashV4, head: RecordHead) {
    log.handle_record(Record::V4(&key.into_record(head)));
}

#[test]
fn both_directions_of_a_conversation_are_one_flow() {
    let mut log = FlowLog::new(FlowLogOptions::default());
    let request = key(1, 40000, 2, 22, 6);
    count(&mut log, request, head(EGRESS, 60, SYN));
    count(&mut log, request.reverse(), head(INGRESS, 52, SYN_ACK));
    count(&mut log, request, head(EGRESS, 40, ACK));
    let (flows, totals) = log.rotate();
    assert_eq!(flows.v4.len(), 1);
    let (stored, flow) = flows.v4[0];
    assert_eq!(stored, request);
    assert_eq!(flow.evidence, Evidence::Handshake);
    assert_eq!(flow.tcp_flags, SYN | ACK);
    let expected = FlowCounters {
        bytes_rcvd: 52,
        bytes_sent: 100,
        packets_rcvd: 1,
        packets_sent: 2,
    };
    assert_eq!(flow.counters, expected);
    assert_eq!(totals, expected);
}

#[test]
fn a_reply_seen_first_is_stored_in_the_direction_of_the_client() {
    let mut log = FlowLog::new(FlowLogOptions::default());
    let reply = key(2, 22, 1, 40000, 6);
    count(&mut log, reply, head(INGRESS, 40, ACK));
    let (flows, _) = log.aggregate();
    assert_eq!(flows.v4[0].0, reply.reverse());
    assert_eq!(flows.v4[0].1.evidence, Evidence::Ports);
}

#[test]
fn a_handshake_corrects_a_guess() {
    let mut log = FlowLog::new(FlowLogOptions::default());
    // The server is the first that is seen to send; the handshake says who the client is.
    let client = key(2, 5000, 1, 6000, 6);
    count(&mut log, client.reverse(), head(EGRESS, 40, ACK));
    assert_eq!(log.aggregate().0.v4[0].0, client.reverse());
    count(&mut log, client, head(INGRESS, 60, SYN));
    let (flows, totals) = log.rotate();
    assert_eq!(flows.v4.len(), 1);
    assert_eq!(flows.v4[0].0, client);
    assert_eq!(flows.v4[0].1.evidence, Evidence::Handshake);
    assert_eq!(totals.packets(), 2);
}

#[test]
fn an_echo_request_turns_what_a_neighbour_advertisement_began() {
    let icmpv6 = |src: u8, dst: u8| EpHash::<16> {
        src_addr: [src; 16],
        src_port: [0; 2],
        dst_addr: [dst; 16],
        dst_port: [0; 2],
        ip_protocol: 58,
    };
    let mut log = FlowLog::new(FlowLogOptions::default());
    for (key, icmp_type) in [
        (icmpv6(2, 1), 136),
        (icmpv6(1, 2), 128),
        (icmpv6(2, 1), 129),
    ] {
        let head = RecordHead {
            aux: icmp_type,
            tcp_flags: 0,
            ..head(INGRESS, 100, 0)
        };
        log.handle_record(Record::V6(&key.into_record(head)));
    }
    let (flows, totals) = log.rotate();
    assert_eq!(flows.v6.len(), 1);
    assert_eq!(flows.v6[0].0, icmpv6(1, 2));
    assert_eq!(flows.v6[0].1.evidence, Evidence::IcmpType);
    assert_eq!(totals.packets_rcvd, 3);
}

#[test]
fn a_flow_with_itself_survives_correction() {
    let mut log = FlowLog::new(FlowLogOptions::default());
    let itself = key(1, 5000, 1, 5000, 6);
    count(&mut log, itself, head(INGRESS, 40, ACK));
    count(&mut log, itself, head(INGRESS, 40, SYN_ACK));
    assert_eq!(log.rotate().1.packets_rcvd, 2);
}

#[test]
fn client_connections_to_one_service_are_one_flow() {
    let mut log = FlowLog::new(FlowLogOptions::default());
    for port in [40000, 40001, 40002] {
        count(&mut log, key(1, port, 2, 443, 6), head(EGRESS, 60, SYN));
        count(
            &mut log,
            key(2, 443, 1, port, 6),
            head(INGRESS, 60, SYN_ACK),
        );
    }
    let (flows, totals) = log.rotate();
    assert_eq!(flows.v4.len(), 1);
    assert_eq!(flows.v4[0].0, key(1, 0, 2, 443, 6));
    assert_eq!(totals.packets(), 6);
}

#[test]
fn raw_keeps_every_five_tuple_apart() {
    let options = FlowLogOptions {
        port_aggregation: false,
        bidirectional: false,
        ..Default::default()
    };
    let mut log = FlowLog::new(options);
    for port in [40000, 40001] {
        count(&mut log, key(1, port, 2, 443, 6), head(EGRESS, 60, SYN));
        count(
            &mut log,
            key(2, 443, 1, port, 6),
            head(INGRESS, 60, SYN_ACK),
        );
    }
    assert_eq!(log.rotate().0.v4.len(), 4);
}

#[test]
fn rotation_zeroes_live_flows_and_drops_idle_ones() {
    let mut log = FlowLog::new(FlowLogOptions::default());
    let busy = key(1, 40000, 2, 22, 6);
    count(&mut log, busy, head(EGRESS, 60, SYN));
    count(&mut log, key(3, 40000, 2, 22, 6), head(EGRESS, 60, SYN));
    assert_eq!(log.rotate().0.len(), 2);
    assert_eq!(
        log.len(),
        2,
        "live flows stay, so that their direction is remembered"
    );
    count(&mut log, busy.reverse(), head(INGRESS, 40, ACK));
    let (flows, _) = log.rotate();
    assert_eq!(flows.len(), 1);
    assert_eq!(
        flows.v4[0].0, busy,
        "direction remembered from the handshake"
    );
    assert_eq!(flows.v4[0].1.tcp_flags, ACK);
    assert_eq!(log.len(), 1, "the other was idle for a whole interval");
}

#[test]
fn a_full_log_folds_new_flows_and_keeps_the_totals() {
    let mut log = FlowLog::new(FlowLogOptions {
        max_flows: 10,
        ..FlowLogOptions::default()
    });
    for flow in 0..20_000_u32 {
        let [_, high, mid, low] = flow.to_be_bytes();
        let dst_port = u16::try_from(flow % 30_000).unwrap();
        let key = EpHash {
            src_addr: [198, high, mid, low],
            ..key(1, 40000, 2, dst_port, 17)
        };
        count(&mut log, key, head(INGRESS, 100, 0));
    }
    assert_eq!(log.len(), 10);
    assert_eq!(log.aggregate().1.packets_rcvd, 20_000);
    let (flows, totals) = log.rotate();
    assert!(flows.len() <= 10 + 4096 + 256, "{} flows", flows.len());
    assert_eq!(
        flows.v4.iter().filter(|(_, flow)| flow.is_overflow).count(),
        flows.len() - 10
    );
    assert_eq!(
        (totals.packets_rcvd, totals.bytes_rcvd),
        (20_000, 2_000_000)
    );
    let folded = flows.v4.iter().filter(|(_, flow)| flow.is_overflow);
    let folded: u64 = folded.map(|(_, flow)| flow.counters.packets()).sum();
    assert_eq!((log.overflow_packets(), folded), (19_990, 19_990));
    assert!(
        log.rotate().0.is_empty(),
        "overflow flows live for one interval"
    );
    assert_eq!(log.overflow_packets(), 19_990, "it never goes back");
}

/// Ticks of the scripts start here, so that they wrap round.
const EPOCH: u32 = u32::MAX - 500;

/// One step of a script.
#[derive(Clone, Debug)]
enum Step {
    Record {
        src: u8,
        src_port: u16,
        dst: u8,
        dst_port: u16,
        head: RecordHead,
    },
    Rotate,
    Aggregate,
}

fn step() -> impl Strategy<Value = Step> {
    let port = prop_oneof![Just(22), Just(443), Just(5000), Just(40000), Just(40001)];
    let record = (
        0..4_u8,
        port.clone(),
        0..4_u8,
        port,
        0..2_u8,
        20..2000_u64,
        any::<u8>(),
        (0..1000_u32, 0..50_u32),
    )
        .prop_map(
            |(src, src_port, dst, dst_port, direction, octets, flags, (at, lasts))| Step::Record {
                src,
                src_port,
                dst,
                dst_port,
                head: RecordHead {
                    first: EPOCH.wrapping_add(at),
                    last_or_fragment_id: EPOCH.wrapping_add(at + lasts),
                    ..head(direction, octets, flags)
                },
            },
        );
    prop_oneof![20 => record, 1 => Just(Step::Rotate), 1 => Just(Step::Aggregate)]
}

/// Sums per unordered pair of ends: what no rotation and no change of orientation may alter.
fn fold(sums: &mut BTreeMap<EpHashV4, FlowCounters>, flows: &FlowMap) {
    for (key, flow) in &flows.v4 {
        *sums.entry((*key).min(key.reverse())).or_default() += flow.counters;
    }
}

/// Ticks of the first and the last packet since [`EPOCH`], by unordered pair of ends.
type Times = BTreeMap<EpHashV4, (u32, u32)>;

fn add_times(times: &mut Times, key: EpHashV4, first: u32, last: u32) {
    let since_epoch = [first, last].map(|tick| tick.wrapping_sub(EPOCH));
    let pair = key.min(key.reverse());
    let (first, last) = times.entry(pair).or_insert((u32::MAX, 0));
    *first = since_epoch[0].min(*first);
    *last = since_epoch[1].max(*last);
}

fn times_of(flows: &FlowMap) -> Times {
    let mut times = Times::new();
    for (key, flow) in &flows.v4 {
        add_times(&mut times, *key, flow.first, flow.last);
    }
    times
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2500))]

    #[test]
    fn times_are_those_of_the_first_and_the_last_packet_of_the_interval(
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let options = FlowLogOptions { port_aggregation: false, ..FlowLogOptions::default() };
        let mut log = FlowLog::new(options);
        let mut expected = Times::new();
        for step in &steps {
            match *step {
                Step::Record { src, src_port, dst, dst_port, head } => {
                    let key = key(src, src_port, dst, dst_port, 6);
                    count(&mut log, key, head);
                    add_times(&mut expected, key, head.first, head.last());
                }
                Step::Rotate => {
                    let expected = std::mem::take(&mut expected);
                    prop_assert_eq!(times_of(&log.rotate().0), expected);
                }
                Step::Aggregate => prop_assert_eq!(&times_of(&log.aggregate().0), &expected),
            }
        }
        prop_assert_eq!(times_of(&log.rotate().0), expected);
    }

    #[test]
    fn rotations_anywhere_give_the_same_sums_as_none(
        steps in prop::collection::vec(step(), 0..200),
        max_flows in prop_oneof![Just(3_usize), Just(1_000_000)],
    ) {
        let mut log = FlowLog::new(FlowLogOptions { max_flows, ..FlowLogOptions::default() });
        let mut plain = FlowLog::new(FlowLogOptions::default());
        let mut sums = BTreeMap::new();
        let mut totals = FlowCounters::default();
        for step in &steps {
            match *step {
                Step::Record { src, src_port, dst, dst_port, head } => {
                    let key = key(src, src_port, dst, dst_port, 6);
                    count(&mut log, key, head);
                    count(&mut plain, key, head);
                }
                Step::Rotate => {
                    let (flows, interval) = log.rotate();
                    fold(&mut sums, &flows);
                    totals += interval;
                }
                Step::Aggregate => {
                    let before = log.aggregate().1;
                    prop_assert_eq!(log.aggregate().1, before);
                }
            }
        }
        let (flows, interval) = log.rotate();
        fold(&mut sums, &flows);
        totals += interval;
        prop_assert_eq!(totals, plain.totals());
        prop_assert_eq!(totals, log.totals());
        if max_flows > 3 {
            let mut expected = BTreeMap::new();
            fold(&mut expected, &plain.rotate().0);
            prop_assert_eq!(sums, expected);
        }
    }
}
