//! Intervals for the tests of this module.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use probe_common::{classify::Evidence, control::Tally, ephash::EpHash};

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
