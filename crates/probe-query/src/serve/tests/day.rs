//! A day that is made up, as a server has it: busy by day, a backup at night, an outage, an interface that
//! comes late, lost packets, a hook that is missing, and a scan by many hosts.

use std::{net::Ipv4Addr, ops::Range, path::Path, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use probe_common::classify::Evidence;
use probe_flow::{
    coverage::Compared,
    flow::{Flow, FlowCounters, FlowMap},
    interval::{Interval, Watched},
    moment::Moment,
    ticks::{TickClock, millis},
};
use probe_store::{WriteoutHandler, file_sink::FileSink, options::Retention, parquet::Parquet};

use crate::month::script::{Random, key, ledger};

/// Intervals of the day, of five minutes each.
const INTERVALS: u32 = 288;
/// Intervals in which the agent was not running: 03:10 to 04:05.
const OUTAGE: Range<u32> = 38..49;
/// Intervals in which `eth0` lost packets: 13:40 to 14:05.
const LOSSES: Range<u32> = 164..169;
/// Intervals in which `eth0` saw two fifths of what it received: 17:00 to 18:15.
const BLIND: Range<u32> = 204..219;
/// The interval of the scan: 16:40.
const SCAN: u32 = 200;
/// The first interval of `wg0`: 06:30.
const WG0: u32 = 78;
/// Hosts that scan.
pub(super) const SCANNERS: u32 = 10_500;
/// A name that would be an element, were it ever taken for HTML. The kernel takes it.
pub(super) const HOSTILE: &str = "<img src=q>";

/// The store, in a directory that is removed when it is dropped.
pub(super) fn store() -> tempfile::TempDir {
    // Memory, where there is some: the sink waits for the disk with each file.
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    let dir = dir.unwrap();
    write(dir.path());
    dir
}

fn start_of(number: u32) -> Timestamp {
    let day: Timestamp = "2026-11-20T00:00:00Z".parse().unwrap();
    day + SignedDuration::from_mins(5 * i64::from(number))
}

fn write(root: &Path) {
    let clock = || Moment {
        wall: "2026-11-21T00:00:00Z".parse().unwrap(),
        since_boot: Duration::from_hours(48),
    };
    let mut sink =
        FileSink::open(Parquet::new(), root.to_owned(), Retention::default(), clock).unwrap();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for (iface, first, scale) in [("eth0", 0, 100), ("wg0", WG0, 14), (HOSTILE, 0, 2)] {
        for number in (first..INTERVALS).filter(|number| !OUTAGE.contains(number)) {
            let interval = interval(iface, number, scale, &mut random);
            sink.write(&interval).unwrap();
        }
    }
}

/// How busy the host is at this time of the day, of 1,000.
fn business(number: u32) -> u64 {
    let hour = f64::from(number) / 12.0;
    let day =
        (-((hour - 14.5) / 4.6).powi(2)).exp() + 0.35 * (-((hour - 20.5) / 1.8).powi(2)).exp();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 1500"
    )]
    let business = (90.0 + 800.0 * day) as u64;
    business
}

fn interval(iface: &str, number: u32, scale: u64, random: &mut Random) -> Interval {
    let start = start_of(number);
    let mut flows = FlowMap {
        v4: Vec::new(),
        v6: Vec::new(),
    };
    let is_backup = iface == "eth0" && (24..34).contains(&number);
    for place in 0..26_u8 {
        // A few clients have most of the traffic.
        let share = 300_000_000 / (u64::from(place) + 2);
        let jitter = 500 + u64::from(random.below(1000));
        let bytes = share * scale / 100 * business(number) / 1000 * jitter / 1000;
        let client = [10, 20, place % 3, 10 + place];
        let port = [443, 443, 5432, 53, 22, 8443][usize::from(place) % 6];
        let protocol = if port == 53 { 17 } else { 6 };
        let server = [192, 0, 2, 10 + place % 5];
        let counters = counters(bytes / 3, bytes);
        push(
            &mut flows,
            start,
            client,
            server,
            (port, protocol),
            counters,
        );
    }
    if is_backup {
        let bytes = 600_000_000 + u64::from(random.below(200_000_000));
        let (from, to) = ([198, 18, 0, 9], [192, 0, 2, 10]);
        push(
            &mut flows,
            start,
            from,
            to,
            (22, 6),
            counters(bytes, bytes / 50),
        );
    }
    if iface == "eth0" && number == SCAN {
        for host in 0..SCANNERS {
            let client = Ipv4Addr::from(0xc612_1000 + host).octets();
            let counters = counters(60 + u64::from(host % 7) * 40, 0);
            push(
                &mut flows,
                start,
                client,
                [192, 0, 2, 10],
                (22, 6),
                counters,
            );
        }
    }
    of_flows(iface, number, flows)
}

/// Packets of 60 to 1,400 octets.
fn counters(bytes_rcvd: u64, bytes_sent: u64) -> FlowCounters {
    FlowCounters {
        bytes_rcvd,
        bytes_sent,
        packets_rcvd: bytes_rcvd.div_ceil(300),
        packets_sent: bytes_sent.div_ceil(1400),
    }
}

fn push(
    flows: &mut FlowMap,
    start: Timestamp,
    src: [u8; 4],
    dst: [u8; 4],
    (port, protocol): (u16, u8),
    counters: FlowCounters,
) {
    let flow = Flow {
        counters,
        first: millis(start),
        last: millis(start).wrapping_add(290_000),
        tcp_flags: if protocol == 6 { 0x1b } else { 0 },
        evidence: Evidence::Ports,
        ..Flow::default()
    };
    flows.v4.push((key(src, dst, [0, port], protocol), flow));
}

fn of_flows(iface: &str, number: u32, flows: FlowMap) -> Interval {
    let (start, end) = (start_of(number), start_of(number + 1));
    let mut totals = FlowCounters::default();
    for (_, flow) in &flows.v4 {
        totals.bytes_rcvd += flow.counters.bytes_rcvd;
        totals.bytes_sent += flow.counters.bytes_sent;
        totals.packets_rcvd += flow.counters.packets_rcvd;
        totals.packets_sent += flow.counters.packets_sent;
    }
    let is_eth0 = iface == "eth0";
    let lost = if is_eth0 && LOSSES.contains(&number) {
        totals.packets() * u64::from(number - LOSSES.start + 2) / 30
    } else {
        0
    };
    let mut watched = Watched {
        ingress: "tcx",
        egress: "tcx",
        ..Watched::default()
    };
    let packets = if is_eth0 && BLIND.contains(&number) {
        40
    } else {
        100
    };
    watched.coverage[0] = Compared {
        link: 100,
        frames: packets,
        packets,
        ..Compared::default()
    };
    Interval {
        iface: Arc::from(iface),
        start,
        end,
        end_since_boot: None,
        flows,
        tick_clock: TickClock::millis(start),
        totals,
        ledger: ledger(totals, lost, 0),
        watched,
    }
}
