//! Intervals for the tests of this module.

use std::{ops::Range, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use probe_common::{classify::Evidence, control::Tally, ephash::EpHash};
use proptest::{array::uniform4, prelude::*};

use probe_flow::interval::{Interval, Watched};
use probe_flow::{
    flow::{Flow, FlowCounters, FlowMap},
    ledger::{Ledger, Loss},
    ticks::{TickClock, millis},
};

/// Five minutes of one interface with `flows` IPv4 flows of one packet of 100 octets, and one
/// packet that is not IP.
pub(super) fn interval(iface: &str, start: &str, flows: u32) -> Interval {
    let start: Timestamp = start.parse().unwrap();
    let counters = FlowCounters {
        bytes_rcvd: 100,
        packets_rcvd: 1,
        ..FlowCounters::default()
    };
    let flow = |number: u32| {
        let key = EpHash {
            src_addr: (0xc612_0000 + number).to_be_bytes(),
            src_port: [0, 0],
            dst_addr: [198, 19, 0, 1],
            dst_port: 53_u16.to_be_bytes(),
            ip_protocol: 17,
        };
        let flow = Flow {
            counters,
            first: millis(start),
            last: millis(start).wrapping_add(1500),
            evidence: Evidence::Ports,
            ..Flow::default()
        };
        (key, flow)
    };
    let packets = u64::from(flows);
    let mut ledger = Ledger {
        seen: Tally {
            packets: packets + 1,
            bytes: packets * 114 + 60,
        },
        flows: Tally {
            packets,
            bytes: packets * 100,
        },
        ..Ledger::default()
    };
    ledger.losses[Loss::NonIp as usize].add(1, 60);
    Interval {
        iface: Arc::from(iface),
        start,
        end: start + SignedDuration::from_mins(5),
        end_since_boot: None,
        flows: FlowMap {
            v4: (0..flows).map(flow).collect(),
            v6: Vec::new(),
        },
        tick_clock: TickClock::millis(start),
        totals: FlowCounters {
            bytes_rcvd: packets * 100,
            packets_rcvd: packets,
            ..FlowCounters::default()
        },
        ledger,
        watched: Watched::default(),
    }
}

/// Flows of any keys, counts and evidence, so many of each IP version.
pub(super) fn flows(number: Range<usize>) -> impl Strategy<Value = FlowMap> {
    let v4 = prop::collection::vec((key::<4>(), flow()), number.clone());
    let v6 = prop::collection::vec((key::<16>(), flow()), number);
    (v4, v6).prop_map(|(v4, v6)| FlowMap { v4, v6 })
}

fn flow() -> impl Strategy<Value = Flow> {
    let evidence = prop::sample::select(vec![
        Evidence::None,
        Evidence::Ports,
        Evidence::Multicast,
        Evidence::IcmpType,
        Evidence::Handshake,
    ]);
    let others = (any::<[u32; 2]>(), any::<u8>(), evidence, any::<bool>());
    (uniform4(any::<u64>()), others).prop_map(
        |(
            [bytes_rcvd, bytes_sent, packets_rcvd, packets_sent],
            ([first, last], tcp_flags, evidence, is_overflow),
        )| {
            let counters = FlowCounters {
                bytes_rcvd,
                bytes_sent,
                packets_rcvd,
                packets_sent,
            };
            Flow {
                counters,
                first,
                last,
                tcp_flags,
                evidence,
                is_overflow,
            }
        },
    )
}

fn key<const N: usize>() -> impl Strategy<Value = EpHash<N>> {
    let ports = (any::<[u8; 2]>(), any::<[u8; 2]>());
    (any::<[u8; N]>(), any::<[u8; N]>(), ports, any::<u8>()).prop_map(
        |(src_addr, dst_addr, (src_port, dst_port), ip_protocol)| EpHash {
            src_addr,
            src_port,
            dst_addr,
            dst_port,
            ip_protocol,
        },
    )
}
