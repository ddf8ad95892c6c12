//! A week that is made up: days and nights, an interface that comes late, an outage, a time in which not
//! all was seen, packets lost at a peak.

use std::{path::Path, time::Duration};

use jiff::{SignedDuration, Timestamp};
use probe_common::{classify::Evidence, control::Tally, ephash::EpHash};
use probe_flow::{
    coverage::Compared,
    flow::{Flow, FlowCounters, FlowMap},
    interval::{Interval, Watched},
    ledger::{Ledger, Loss},
    moment::Moment,
    ticks::{TickClock, millis},
};
use probe_store::{WriteoutHandler, file_sink::FileSink, options::Retention, parquet::Parquet};

/// Hours of the week, from Monday in Berlin on, an interval each.
const HOURS: u32 = 7 * 24;
/// Interfaces, each with its first hour and how much it moves.
const IFACES: [(&str, u32, u32); 3] = [("eth0", 0, 200), ("eth1", 0, 90), ("wg0", 30, 24)];
/// When the agent was not running: from two to six on Thursday.
const OUTAGE: std::ops::Range<u32> = 3 * 24 + 2..3 * 24 + 6;
/// When eth1 saw three of five packets: Wednesday evening.
const BLIND: std::ops::Range<u32> = 2 * 24 + 18..2 * 24 + 22;
/// When the ring was too small: Friday at ten.
const LOSS: u32 = 4 * 24 + 10;
/// The last octet of each client, its share, and a port of the server.
const CLIENTS: [(u8, u32, u16); 12] = [
    (10, 400, 443),
    (23, 210, 443),
    (42, 150, 8443),
    (7, 120, 22),
    (99, 90, 443),
    (150, 60, 53),
    (201, 45, 443),
    (31, 30, 993),
    (77, 22, 443),
    (180, 15, 123),
    (222, 9, 443),
    (5, 6, 25),
];

/// Writes the week into a store.
pub(crate) fn write(root: &Path) {
    let clock = || Moment {
        wall: at(HOURS),
        since_boot: Duration::from_hours(1),
    };
    let retention = Retention::default();
    let mut sink = FileSink::open(Parquet::new(), root.to_owned(), retention, clock).unwrap();
    for (iface, first, scale) in IFACES {
        for number in (first..HOURS).filter(|number| !OUTAGE.contains(number)) {
            sink.write(&interval(iface, number, scale)).unwrap();
        }
    }
}

fn at(number: u32) -> Timestamp {
    let monday: Timestamp = "2026-11-22T23:00:00Z".parse().unwrap();
    monday + SignedDuration::from_hours(i64::from(number))
}

/// How busy an hour is, of 1000: mornings, afternoons, and less at the weekend.
fn busy(number: u32) -> u32 {
    const DAY: [u32; 24] = [
        90, 70, 60, 55, 55, 70, 130, 260, 520, 780, 900, 860, 700, 820, 950, 1000, 930, 760, 560,
        430, 380, 330, 240, 150,
    ];
    let hour = usize::try_from(number % 24).unwrap();
    let weekend = if number / 24 >= 5 { 3 } else { 1 };
    // Some unrest, the same on each run.
    let unrest = 85 + number.wrapping_mul(2_654_435_761) / 143_165_577;
    DAY[hour] / weekend * unrest / 100
}

fn interval(iface: &str, number: u32, scale: u32) -> Interval {
    let (start, end) = (at(number), at(number + 1));
    let mut flows = FlowMap {
        v4: Vec::new(),
        v6: Vec::new(),
    };
    let mut totals = FlowCounters::default();
    for (place, (host, share, port)) in CLIENTS.into_iter().enumerate() {
        let place = u32::try_from(place).unwrap();
        let unrest = 50 + (number.wrapping_mul(40_503) ^ place.wrapping_mul(9_973)) % 100;
        let bytes = u64::from(busy(number) * share) * u64::from(scale * unrest) * 4;
        let is_up = port == 22 || port == 25;
        let (rcvd, sent) = if is_up {
            (bytes, bytes / 9)
        } else {
            (bytes / 6, bytes)
        };
        let counters = FlowCounters {
            bytes_rcvd: rcvd,
            bytes_sent: sent,
            packets_rcvd: rcvd / 700 + 1,
            packets_sent: sent / 1100 + 1,
        };
        totals.bytes_rcvd += counters.bytes_rcvd;
        totals.bytes_sent += counters.bytes_sent;
        totals.packets_rcvd += counters.packets_rcvd;
        totals.packets_sent += counters.packets_sent;
        let key = EpHash {
            src_addr: [192, 0, 2, host],
            src_port: (40_000 + u16::from(host)).to_be_bytes(),
            dst_addr: [198, 51, 100, 80],
            dst_port: port.to_be_bytes(),
            ip_protocol: if matches!(port, 53 | 123) { 17 } else { 6 },
        };
        let flow = Flow {
            counters,
            first: millis(start),
            last: millis(start).wrapping_add(1000),
            evidence: Evidence::Ports,
            ..Flow::default()
        };
        flows.v4.push((key, flow));
    }
    let lost = if iface == "eth0" && number == LOSS {
        1234
    } else {
        0
    };
    let seen = if iface == "eth1" && BLIND.contains(&number) {
        60
    } else {
        100
    };
    let mut watched = Watched {
        ingress: "tcx",
        egress: "tcx",
        ..Watched::default()
    };
    watched.coverage[0] = Compared {
        link: 100,
        frames: seen,
        packets: seen,
        ..Compared::default()
    };
    Interval {
        iface: iface.into(),
        start,
        end,
        end_since_boot: None,
        flows,
        tick_clock: TickClock::millis(start),
        totals,
        ledger: ledger(totals, lost),
        watched,
    }
}

fn ledger(totals: FlowCounters, lost: u64) -> Ledger {
    let flows = Tally {
        packets: totals.packets(),
        bytes: totals.bytes(),
    };
    let recorded = Tally {
        packets: flows.packets + lost,
        bytes: flows.bytes + lost * 60,
    };
    let mut ledger = Ledger {
        seen: recorded,
        recorded,
        flows,
        ..Ledger::default()
    };
    ledger.losses[Loss::RingFull as usize].add(lost, lost * 60);
    ledger
}
