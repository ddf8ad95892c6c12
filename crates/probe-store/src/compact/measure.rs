//! What compaction takes and saves, with made-up traffic of a day. Run it optimised:
//! `cargo test -p probe-store --lib --config profile.dev.package.probe-store.opt-level=3 -- --ignored
//! --nocapture measure_a_day`. `PROBE_COMPACT_KEEP` names a directory that keeps the stores.

use std::{collections::HashSet, fs, io, path::Path, process::Command};

use jiff::{SignedDuration, Timestamp, civil::date};
use probe_common::{
    classify::Evidence,
    ephash::EpHash,
    headers::ip_protocol::{ICMP, TCP, UDP},
};
use rustix::time::{ClockId, clock_gettime};

use super::{Compactor, Outcome};
use crate::{WriteoutHandler, file_sink::FileSink, fixture, options::Retention, parquet::Parquet};
use probe_flow::{
    flow::{Flow, FlowCounters, FlowMap},
    interval::Interval,
    moment::Moment,
    ticks::{TickClock, millis},
};

/// Length of an interval in milliseconds.
const LENGTH_MS: u64 = 300_000;

/// xorshift64*, the same on each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) * limit) >> 32
    }

    /// Few numbers often, many seldom: each half of the bits is as likely as the next.
    fn skewed(&mut self, limit: u64) -> u64 {
        let bits = u64::from(limit.ilog2()) + 1;
        let width = self.below(bits) + 1;
        self.below(1 << width) % limit
    }

    fn up_to(&mut self, limit: u64) -> u32 {
        u32::try_from(self.below(limit)).unwrap()
    }
}

/// A flow that lasts for some intervals.
struct Session {
    key: EpHash<4>,
    intervals_left: u64,
    evidence: Evidence,
    /// Most packets of a direction in an interval.
    packets: u64,
}

fn session(random: &mut Random, aggregated: bool) -> Session {
    let client = 0x0a00_0000 + u32::try_from(random.skewed(2000)).unwrap();
    let (dst_port, ip_protocol) = match random.below(100) {
        0..=54 => (443, TCP),
        55..=64 => (443, UDP),
        65..=72 => (80, TCP),
        73..=84 => (53, UDP),
        85..=86 => (22, TCP),
        87..=88 => (123, UDP),
        89..=91 => (0, ICMP),
        92..=93 => (5432, TCP),
        _ => (1024 + random.up_to(60_000), TCP),
    };
    let dst_port = u16::try_from(dst_port).unwrap();
    let is_common = [443, 80, 53, 0].contains(&dst_port);
    let src_port = if dst_port == 0 || aggregated && is_common {
        0
    } else {
        0x8000 | u16::try_from(random.below(28_000)).unwrap()
    };
    let server = if ip_protocol == UDP && dst_port < 443 {
        0x0a00_0001 + random.up_to(3)
    } else {
        let server = u32::try_from(random.skewed(20_000)).unwrap();
        0x5db8_0000 + server.wrapping_mul(2_654_435_761) % 0x00ff_ffff
    };
    Session {
        key: EpHash {
            src_addr: client.to_be_bytes(),
            src_port: src_port.to_be_bytes(),
            dst_addr: server.to_be_bytes(),
            dst_port: dst_port.to_be_bytes(),
            ip_protocol,
        },
        intervals_left: 1 + random.skewed(if src_port == 0 { 100 } else { 12 }),
        evidence: match ip_protocol {
            TCP => Evidence::Handshake,
            ICMP => Evidence::IcmpType,
            _ => Evidence::Ports,
        },
        packets: 1 + random.skewed(3000),
    }
}

fn counted(session: &Session, start: Timestamp, random: &mut Random) -> Flow {
    let most = if session.key.dst_port == 53_u16.to_be_bytes() {
        3
    } else {
        session.packets
    };
    let (received, sent) = (1 + random.below(most), 1 + random.below(most));
    let first = random.below(LENGTH_MS);
    // What goes on is there from the first second.
    let first = if session.intervals_left > 1 && session.packets > 50 {
        first % 5000
    } else {
        first
    };
    let last = first + random.below(LENGTH_MS - first);
    let tick = |at: u64| millis(start).wrapping_add(u32::try_from(at).unwrap());
    Flow {
        counters: FlowCounters {
            bytes_rcvd: received * (60 + random.below(1400)),
            bytes_sent: sent * (60 + random.below(400)),
            packets_rcvd: received,
            packets_sent: sent,
        },
        first: tick(first),
        last: tick(last),
        tcp_flags: if session.key.ip_protocol == TCP {
            [0x1b, 0x18, 0x10, 0x1f][usize::try_from(random.skewed(4)).unwrap()]
        } else {
            0
        },
        evidence: session.evidence,
        ..Flow::default()
    }
}

/// Writes the intervals of a day as the agent does.
fn write_day(root: &Path, intervals: u32, flows: usize, aggregated: bool) {
    let clock = || Moment {
        wall: "2026-03-02T06:00:00Z".parse().unwrap(),
        since_boot: std::time::Duration::from_hours(1),
    };
    let open = FileSink::open(Parquet::new(), root.to_owned(), Retention::default(), clock);
    let mut sink = open.unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut sessions = Vec::<Session>::new();
    let day: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
    // A rotation is some milliseconds late.
    let mut start = day + SignedDuration::from_millis(31);
    for number in 1..=intervals {
        let end = day
            + SignedDuration::from_mins(5) * i32::try_from(number).unwrap()
            + SignedDuration::from_millis(20 + i64::from(random.up_to(20)));
        for session in &mut sessions {
            session.intervals_left -= 1;
        }
        sessions.retain(|session| session.intervals_left > 0);
        let mut keys: HashSet<_> = sessions.iter().map(|session| session.key).collect();
        while sessions.len() < flows {
            let session = session(&mut random, aggregated);
            if keys.insert(session.key) {
                sessions.push(session);
            }
        }
        let v4 = sessions
            .iter()
            .map(|session| (session.key, counted(session, start, &mut random)));
        let interval = Interval {
            start,
            end,
            flows: FlowMap {
                v4: v4.collect(),
                v6: Vec::new(),
            },
            tick_clock: TickClock::millis(start),
            ..fixture::interval("eth0", "2026-03-01T00:00:00Z", 0)
        };
        sink.write(&interval).unwrap();
        start = end;
    }
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap();
    f64::from(i32::try_from(time.tv_sec).unwrap()) + f64::from(nanoseconds) / 1e9
}

fn peak_kib() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let digits = peak.unwrap_or_default().trim().trim_end_matches(" kB");
    digits.parse().map_err(io::Error::other)
}

#[test]
#[ignore = "a measurement, to be run optimised"]
#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
fn measure_a_day() {
    for (aggregated, intervals, flows) in
        [(true, 288, 1500), (false, 288, 1500), (false, 36, 20_000)]
    {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("flows");
        write_day(&root, intervals, flows, aggregated);
        // Makes the kernel forget the peak so far.
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let (memory, before) = (peak_kib().unwrap(), cpu_seconds());
        let compactor = Compactor::new(root.clone(), 0);
        let outcome = compactor.compact("iface=eth0", date(2026, 3, 1)).unwrap();
        let seconds = cpu_seconds() - before;
        let Outcome::Compacted(compacted) = outcome else {
            panic!("{outcome:?}");
        };
        let ratio = compacted.new_bytes as f64 / compacted.old_bytes as f64;
        println!(
            "{intervals} intervals of {flows} flows, aggregated ports {aggregated}: {} bytes become {} \
             ({ratio:.3}), {seconds:.2} s of CPU, {} KiB above {memory} KiB",
            compacted.old_bytes,
            compacted.new_bytes,
            peak_kib().unwrap() - memory,
        );
        if let Some(kept) = std::env::var_os("PROBE_COMPACT_KEEP") {
            let name = format!("{intervals}x{flows}-{aggregated}");
            let kept = Path::new(&kept).join(name).join("compacted");
            fs::create_dir_all(kept.parent().unwrap()).unwrap();
            let copied = Command::new("cp").arg("-r").args([&root, &kept]).status();
            assert!(copied.unwrap().success());
            write_day(
                &kept.with_file_name("written"),
                intervals,
                flows,
                aggregated,
            );
        }
    }
}
