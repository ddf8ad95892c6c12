//! The month, written by the agent's own sink, and what is true of it.

use std::{collections::BTreeMap, net::IpAddr, path::Path, sync::Arc, time::Duration};

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
use probe_store::{
    WriteoutHandler,
    compact::{Compactor, Outcome},
    file_sink::FileSink,
    options::Retention,
    parquet::Parquet,
};

/// Interfaces with the number of their first interval. One has a name that is encoded in the path.
const IFACES: [(&str, u32); 4] = [("eth0", 0), ("eth1", 0), ("br=lan%1", 0), ("wg0", 36)];
/// More interfaces, in a large month.
const MORE: u32 = 16;

/// Intervals of a day.
const A_DAY: u32 = 4;
/// Intervals in which the agent was not running.
const OUTAGES: [std::ops::Range<u32>; 2] = [26..29, 76..77];
/// Intervals in which `eth1` saw a quarter of what it received.
const BLIND: std::ops::Range<u32> = 52..58;

/// A flow as it was stored.
pub(crate) struct Fed {
    pub(crate) iface: Arc<str>,
    pub(crate) start: Timestamp,
    pub(crate) src: String,
    pub(crate) dst: String,
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    pub(crate) protocol: u8,
    pub(crate) counters: FlowCounters,
}

/// What the report has to say of an interface.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) intervals: usize,
    pub(crate) holes: Vec<(Timestamp, Timestamp)>,
    pub(crate) blind: Vec<(Timestamp, Timestamp)>,
    pub(crate) losses: BTreeMap<String, u64>,
    pub(crate) seen: u64,
    pub(crate) missed: u64,
    pub(crate) overflow_packets: u64,
}

pub(crate) struct Script {
    directory: tempfile::TempDir,
    pub(crate) fed: Vec<Fed>,
    pub(crate) outages: Vec<(Timestamp, Timestamp)>,
    pub(crate) told: BTreeMap<String, Told>,
}

/// xorshift64*, the same on each run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let random = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        u32::try_from((random * u64::from(limit)) >> 32).unwrap()
    }
}

impl Random {
    fn octet(&mut self, limit: u32) -> u8 {
        u8::try_from(self.below(limit)).unwrap()
    }

    fn port(&mut self, limit: u32) -> u16 {
        u16::try_from(self.below(limit)).unwrap()
    }

    fn v4(&mut self, net: u8) -> [u8; 4] {
        [net, 0, self.octet(3), self.octet(60)]
    }

    fn v6(&mut self, net: u8) -> [u8; 16] {
        let mut octets = [0; 16];
        (octets[0], octets[1], octets[15]) = (0xfd, net, self.octet(40));
        octets
    }
}

/// The start of an interval by its number; rotations are some milliseconds late.
fn start_of(number: u32) -> Timestamp {
    let month: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
    let late = if number == 0 {
        0
    } else {
        20 + i64::from(number * 7 % 19)
    };
    month + SignedDuration::from_hours(6 * i64::from(number)) + SignedDuration::from_millis(late)
}

impl Script {
    /// Writes the month, interval by interval.
    pub(crate) fn new() -> Self {
        Self::of(IFACES.map(|(name, first)| (name.to_owned(), first)).into())
    }

    /// A month of 20 interfaces, with two days of three compacted.
    pub(crate) fn large() -> Self {
        let few = IFACES.map(|(name, first)| (name.to_owned(), first));
        let more = (0..MORE).map(|number| (format!("veth{number}"), 0));
        let script = Self::of(few.into_iter().chain(more).collect());
        script.compact_some_days();
        script
    }

    fn of(ifaces: Vec<(String, u32)>) -> Self {
        // Memory, where there is some: the sink waits for the disk with each file.
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let mut script = Self {
            directory: directory.unwrap(),
            fed: Vec::new(),
            outages: OUTAGES
                .map(|it| (start_of(it.start), start_of(it.end)))
                .to_vec(),
            told: BTreeMap::new(),
        };
        let clock = || Moment {
            wall: "2026-12-01T00:30:00Z".parse().unwrap(),
            since_boot: Duration::from_hours(1),
        };
        let root = script.root();
        let mut sink = FileSink::open(Parquet::new(), root, Retention::default(), clock).unwrap();
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for (iface, first) in ifaces {
            let iface = iface.as_str();
            let mut told = Told::default();
            for number in first..30 * A_DAY {
                if !OUTAGES.iter().any(|outage| outage.contains(&number)) {
                    let interval = script.interval(iface, number, &mut random, &mut told);
                    sink.write(&interval).unwrap();
                }
            }
            script.finish(iface, first, told);
        }
        script
    }

    /// Compacts two days of three, other ones for each interface: a time has files of both kinds.
    fn compact_some_days(&self) {
        let compactor = Compactor::new(self.root(), 0);
        let december = "2026-12-01".parse().unwrap();
        let days = compactor.days_before(december).unwrap();
        let some = days.iter().enumerate().filter(|(place, _)| place % 3 > 0);
        for (_, (date, iface)) in some {
            let outcome = compactor.compact(iface, *date).unwrap();
            assert!(
                matches!(outcome, Outcome::Compacted(_)),
                "{iface}, {date}: {outcome:?}"
            );
        }
    }

    /// Directory of the store.
    pub(crate) fn root(&self) -> std::path::PathBuf {
        self.directory.path().join("flows")
    }

    fn finish(&mut self, iface: &str, first: u32, mut told: Told) {
        if first > 0 {
            // While the agent ran: what is an outage of all is none of the interface.
            let mut at = 0;
            for outage in OUTAGES.iter().filter(|outage| outage.start < first) {
                told.holes.push((start_of(at), start_of(outage.start)));
                at = outage.end;
            }
            told.holes.push((start_of(at), start_of(first)));
        }
        if iface == "eth1" {
            told.blind
                .push((start_of(BLIND.start), start_of(BLIND.end)));
        }
        self.told.insert(iface.to_owned(), told);
    }

    fn interval(
        &mut self,
        iface: &str,
        number: u32,
        random: &mut Random,
        told: &mut Told,
    ) -> Interval {
        let (start, end) = (start_of(number), start_of(number + 1));
        let iface: Arc<str> = iface.into();
        let mut flows = FlowMap {
            v4: Vec::new(),
            v6: Vec::new(),
        };
        let mut totals = FlowCounters::default();
        let mut overflow_packets = 0;
        for place in 0..10 + random.port(10) {
            let (ports, protocol, mut flow) = flow(random, start);
            flow.is_overflow = &*iface == "br=lan%1" && number == 3 && place == 0;
            let counters = flow.counters;
            totals.bytes_rcvd += counters.bytes_rcvd;
            totals.bytes_sent += counters.bytes_sent;
            totals.packets_rcvd += counters.packets_rcvd;
            totals.packets_sent += counters.packets_sent;
            overflow_packets += if flow.is_overflow {
                counters.packets()
            } else {
                0
            };
            let (src, dst): (IpAddr, IpAddr) = if place % 5 == 0 {
                let key = key(random.v6(0), random.v6(7), ports, protocol);
                flows.v6.push((key, flow));
                (key.src_addr.into(), key.dst_addr.into())
            } else {
                let key = key(random.v4(10), random.v4(93), ports, protocol);
                flows.v4.push((key, flow));
                (key.src_addr.into(), key.dst_addr.into())
            };
            self.fed.push(Fed {
                iface: Arc::clone(&iface),
                start,
                src: src.to_string(),
                dst: dst.to_string(),
                src_port: ports[0],
                dst_port: ports[1],
                protocol,
                counters,
            });
        }
        let lost = if number % 17 == 5 {
            u64::from(number)
        } else {
            0
        };
        let ledger = ledger(totals, lost, overflow_packets);
        told.add(&ledger, lost);
        let mut watched = Watched {
            ingress: "tcx",
            egress: "tcx",
            ..Watched::default()
        };
        let is_blind = &*iface == "eth1" && BLIND.contains(&number);
        let packets = if is_blind { 25 } else { 100 };
        watched.coverage[0] = Compared {
            link: 100,
            frames: packets,
            packets,
            ..Compared::default()
        };
        Interval {
            iface,
            start,
            end,
            end_since_boot: None,
            flows,
            tick_clock: TickClock::millis(start),
            totals,
            ledger,
            watched,
        }
    }
}

impl Told {
    fn add(&mut self, ledger: &Ledger, lost: u64) {
        self.intervals += 1;
        self.seen += ledger.seen.packets;
        self.missed += lost;
        self.overflow_packets += ledger.overflow_packets;
        for (loss, packets) in [(Loss::RingFull, lost), (Loss::NonIp, 3)] {
            if packets > 0 {
                *self.losses.entry(loss.name().to_owned()).or_default() += packets;
            }
        }
    }
}

/// The ledger of an interval with these flows, so many lost packets, and three that are not IP.
pub(crate) fn ledger(totals: FlowCounters, lost: u64, overflow_packets: u64) -> Ledger {
    let flows = Tally {
        packets: totals.packets(),
        bytes: totals.bytes(),
    };
    let recorded = Tally {
        packets: flows.packets + lost,
        bytes: flows.bytes + lost * 60,
    };
    let mut ledger = Ledger {
        seen: Tally {
            packets: recorded.packets + 3,
            bytes: recorded.bytes + 180,
        },
        recorded,
        flows,
        overflow_packets,
        ..Ledger::default()
    };
    ledger.losses[Loss::RingFull as usize].add(lost, lost * 60);
    ledger.losses[Loss::NonIp as usize].add(3, 180);
    ledger
}

pub(crate) fn key<const N: usize>(
    src_addr: [u8; N],
    dst_addr: [u8; N],
    ports: [u16; 2],
    ip_protocol: u8,
) -> EpHash<N> {
    EpHash {
        src_addr,
        src_port: ports[0].to_be_bytes(),
        dst_addr,
        dst_port: ports[1].to_be_bytes(),
        ip_protocol,
    }
}

fn flow(random: &mut Random, start: Timestamp) -> ([u16; 2], u8, Flow) {
    let (port, protocol) =
        [(443, 6), (443, 17), (53, 17), (22, 6), (0, 1)][random.below(5) as usize];
    let src_port = if port == 443 || port == 0 {
        0
    } else {
        30_000 + random.port(9000)
    };
    let counters = FlowCounters {
        bytes_rcvd: 60 + u64::from(random.below(1_000_000)),
        bytes_sent: u64::from(random.below(1_000_000)),
        packets_rcvd: 1 + u64::from(random.below(1000)),
        packets_sent: u64::from(random.below(1000)),
    };
    let flow = Flow {
        counters,
        first: millis(start),
        last: millis(start).wrapping_add(1000),
        tcp_flags: if protocol == 6 { 0x1b } else { 0 },
        evidence: Evidence::Ports,
        ..Flow::default()
    };
    ([src_port, port], protocol, flow)
}
