//! Which end is the source, and that one conversation is one flow.

use probe_common::{
    classify::Evidence,
    ephash::{EpHash, EpHashV4},
    headers::{
        ip_protocol::{TCP, UDP},
        tcp_flags::{ACK, SYN},
    },
    record::{EGRESS, INGRESS, IntoRecord as _, Record, RecordHead},
};
use proptest::prelude::*;

use super::{count, head, key};
use crate::flow_log::{FlowLog, FlowLogOptions};

const SYN_ACK: u8 = SYN | ACK;

/// The one flow of a log: key, evidence, packets of both directions.
#[track_caller]
fn only(log: &FlowLog) -> (EpHashV4, Evidence, u64) {
    let (flows, _) = log.aggregate();
    let [(key, flow)] = flows.v4[..] else {
        panic!("not one flow: {:?}", flows.v4);
    };
    assert!(!flow.is_overflow);
    (key, flow.evidence, flow.counters.packets())
}

fn at(tick: u32, head: RecordHead) -> RecordHead {
    RecordHead {
        first: tick,
        last_or_fragment_id: tick,
        ..head
    }
}

#[test]
fn a_conversation_between_two_common_ports_is_one_flow() {
    for (client_port, server_port, ip_protocol) in [
        (53, 53, UDP),
        (443, 443, UDP),
        (53, 443, UDP),
        (443, 53, UDP),
        (445, 445, TCP),
        (80, 443, TCP),
        (80, 22, TCP),
    ] {
        let mut log = FlowLog::new(FlowLogOptions::default());
        let request = key(1, client_port, 2, server_port, ip_protocol);
        for _ in 0..3 {
            count(&mut log, request, head(EGRESS, 60, 0));
            count(&mut log, request.reverse(), head(INGRESS, 60, 0));
        }
        assert_eq!(
            only(&log),
            (request, Evidence::None, 6),
            "the first sender is the source"
        );
    }
}

#[test]
fn a_common_user_port_is_the_client_of_a_system_port() {
    let mut log = FlowLog::new(FlowLogOptions::default());
    let client = key(1, 8080, 2, 80, TCP);
    count(&mut log, client.reverse(), head(INGRESS, 60, ACK));
    count(&mut log, client, head(EGRESS, 60, ACK));
    assert_eq!(only(&log), (client, Evidence::Ports, 2));
}

#[test]
fn a_handshake_between_two_common_ports_tells_the_server() {
    for is_client_first in [true, false] {
        let mut log = FlowLog::new(FlowLogOptions::default());
        let client = key(1, 80, 2, 80, TCP);
        let mut packets = vec![
            (client, head(EGRESS, 60, SYN)),
            (client.reverse(), head(INGRESS, 60, SYN_ACK)),
            (client, head(EGRESS, 52, ACK)),
            (client.reverse(), head(INGRESS, 52, ACK)),
            (client, head(EGRESS, 52, ACK)),
        ];
        if !is_client_first {
            packets.rotate_left(1);
        }
        for (key, head) in packets {
            count(&mut log, key, head);
        }
        assert_eq!(only(&log), (client, Evidence::Handshake, 5));
    }
}

#[test]
fn a_service_has_one_flow_for_each_client_and_one_for_itself() {
    let mut log = FlowLog::new(FlowLogOptions::default());
    for port in [40000, 1024, 5353] {
        count(&mut log, key(1, port, 2, 53, UDP), head(EGRESS, 60, 0));
        count(&mut log, key(2, 53, 1, port, UDP), head(INGRESS, 60, 0));
    }
    count(&mut log, key(1, 53, 2, 53, UDP), head(EGRESS, 60, 0));
    count(&mut log, key(2, 53, 1, 53, UDP), head(INGRESS, 60, 0));
    let mut keys: Vec<_> = log.rotate().0.v4.iter().map(|(key, _)| *key).collect();
    keys.sort_unstable();
    assert_eq!(keys, [key(1, 0, 2, 53, UDP), key(1, 53, 2, 53, UDP)]);
}

#[test]
fn one_way_traffic_is_from_its_sender() {
    for (src_port, dst_port) in [(40001, 50001), (50001, 40001), (2055, 9995), (9995, 2055)] {
        let mut log = FlowLog::new(FlowLogOptions::default());
        let sent = key(1, src_port, 2, dst_port, UDP);
        for _ in 0..3 {
            count(&mut log, sent, head(EGRESS, 60, 0));
        }
        assert_eq!(only(&log), (sent, Evidence::None, 3));
    }
}

#[test]
fn the_first_sender_is_the_source_in_whatever_order_records_come() {
    // The ticks wrap round.
    let first = u32::MAX;
    let request = key(1, 50001, 2, 40001, UDP);
    let mut log = FlowLog::new(FlowLogOptions::default());
    count(
        &mut log,
        request.reverse(),
        at(first.wrapping_add(2), head(INGRESS, 60, 0)),
    );
    assert_eq!(only(&log).0, request.reverse(), "as far as is known");
    count(&mut log, request, at(first, head(EGRESS, 60, 0)));
    assert_eq!(only(&log), (request, Evidence::None, 2));
    count(
        &mut log,
        request.reverse(),
        at(first.wrapping_add(1), head(INGRESS, 60, 0)),
    );
    assert_eq!(only(&log), (request, Evidence::None, 3));
}

#[test]
fn the_order_of_a_later_interval_says_nothing() {
    let request = key(1, 50001, 2, 40001, UDP);
    let mut log = FlowLog::new(FlowLogOptions::default());
    count(&mut log, request, at(10, head(EGRESS, 60, 0)));
    log.rotate();
    count(&mut log, request, at(30, head(EGRESS, 60, 0)));
    count(&mut log, request.reverse(), at(20, head(INGRESS, 60, 0)));
    assert_eq!(only(&log), (request, Evidence::None, 2));
}

#[test]
fn ports_are_better_evidence_than_order() {
    let request = key(1, 40000, 2, 5432, TCP);
    let mut log = FlowLog::new(FlowLogOptions::default());
    count(&mut log, request, at(20, head(EGRESS, 60, ACK)));
    count(&mut log, request.reverse(), at(10, head(INGRESS, 60, ACK)));
    assert_eq!(only(&log), (request, Evidence::Ports, 2));
}

#[test]
fn a_group_is_a_destination_also_live() {
    let sent = EpHash {
        dst_addr: [239, 255, 255, 250],
        ..key(1, 1025, 0, 1900, UDP)
    };
    let mut log = FlowLog::new(FlowLogOptions::default());
    count(&mut log, sent, head(INGRESS, 60, 0));
    assert_eq!(only(&log), (sent, Evidence::Multicast, 1));
}

proptest! {
    /// Both directions of any conversation meet in one flow, whatever is aggregated.
    #[test]
    fn both_directions_are_one_flow(
        ports in [any::<u16>(), any::<u16>()],
        common in prop::sample::select(vec![53_u16, 80, 443, 445, 8080, 22, 1024, 0]),
        is_common in any::<[bool; 2]>(),
        ip_protocol in prop::sample::select(vec![TCP, UDP, 132]),
        addrs in any::<[[u8; 16]; 2]>(),
    ) {
        let [src_port, dst_port] = [0, 1].map(|it: usize| if is_common[it] { common } else { ports[it] });
        let v4 = key(1, src_port, 2, dst_port, ip_protocol);
        let v6 = EpHash::<16> {
            src_addr: addrs[0],
            src_port: v4.src_port,
            dst_addr: addrs[1],
            dst_port: v4.dst_port,
            ip_protocol,
        };
        let mut log = FlowLog::new(FlowLogOptions::default());
        for (v4, v6) in [(v4, v6), (v4.reverse(), v6.reverse())] {
            log.handle_record(Record::V4(&v4.into_record(head(INGRESS, 60, ACK))));
            log.handle_record(Record::V6(&v6.into_record(head(INGRESS, 60, ACK))));
        }
        let (flows, _) = log.rotate();
        prop_assert_eq!((flows.v4.len(), flows.v6.len()), (1, 1));
        let kept = [flows.v4[0].0.src_port(), flows.v4[0].0.dst_port()];
        let service = |port| probe_common::ports::is_kept(ip_protocol, port);
        for port in [src_port, dst_port].into_iter().filter(|port| service(*port)) {
            prop_assert!(kept.contains(&port), "{port} of {kept:?}");
        }
    }
}
