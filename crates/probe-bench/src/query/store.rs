//! The stores that are asked: the same intervals as they are written, and with compacted days.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use jiff::{SignedDuration, Timestamp};
use probe_common::{control::Tally, ephash::EpHash};
use probe_flow::{
    flow::{Flow, FlowCounters, FlowMap},
    interval::{Interval, Watched},
    ledger::Ledger,
    ticks::TickClock,
};
use probe_store::{
    WriteoutHandler,
    compact::{Compactor, Outcome},
    file_sink::FileSink,
    options::Retention,
    parquet::Parquet,
};

use super::traffic::{LENGTH, Traffic};
use serde::{Deserialize, Serialize};

use crate::process::{reset_peak, rss_peak_bytes, thread_cpu_seconds};

/// 2026-03-01, a day of 24 hours everywhere.
pub(super) fn first_day() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(20_513 * 24)
}

/// How much is stored, and how it is cut.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) days: u32,
    pub(super) ifaces: usize,
    /// Intervals that each day has.
    pub(super) intervals: u32,
    /// Flows that each interval has.
    pub(super) flows: usize,
}

impl Size {
    pub(super) fn until(self) -> Timestamp {
        first_day() + SignedDuration::from_hours(24 * i64::from(self.days))
    }

    pub(super) fn name(self) -> String {
        let Self {
            days,
            ifaces,
            intervals,
            flows,
        } = self;
        format!("{days} days, {ifaces} interfaces, {intervals} intervals a day of {flows} flows")
    }
}

/// Both stores, and what compaction took.
#[derive(Deserialize, Serialize)]
pub(super) struct Stores {
    size: String,
    pub(super) written: PathBuf,
    pub(super) compacted: PathBuf,
    /// Of CPU, for each day and interface.
    pub(super) seconds: Vec<f64>,
    /// Above what the process had.
    pub(super) peak_bytes: u64,
    /// Bytes of the compacted files by those of the files as written.
    pub(super) bytes_ratio: f64,
}

impl Stores {
    /// The stores below `root`, if they are there and of this size.
    pub(super) fn open_or_make(root: &Path, size: Size, csv: Option<&Path>) -> Result<Self> {
        let told = root.join("stores.json");
        if let Ok(text) = fs::read_to_string(&told)
            && let Ok(stores) = serde_json::from_str::<Self>(&text)
            && stores.size == size.name()
            && csv.is_none()
        {
            return Ok(stores);
        }
        let stores = make(root, size, csv)?;
        fs::write(&told, serde_json::to_string(&stores)?)
            .with_context(|| format!("cannot write {}", told.display()))?;
        Ok(stores)
    }
}

/// Writes each interval to both stores as the agent does, and compacts one. Rows go to `csv`, too.
fn make(root: &Path, size: Size, csv: Option<&Path>) -> Result<Stores> {
    let (written, compacted) = (root.join("written/flows"), root.join("compacted/flows"));
    let mut rows = csv.map(Rows::create).transpose()?;
    for iface in 0..size.ifaces {
        eprintln!(":: writing {} of {} interfaces", iface + 1, size.ifaces);
        write(&written, &compacted, size, iface, &mut rows)?;
    }
    if let Some(rows) = rows {
        rows.finish()?;
    }
    let compactor = Compactor::new(compacted.clone(), 0);
    let until = size.until().to_zoned(jiff::tz::TimeZone::UTC).date();
    let days = compactor.days_before(until)?;
    let (mut seconds, mut bytes) = (Vec::new(), (0, 0));
    reset_peak()?;
    let memory = rss_peak_bytes()?;
    for (number, (date, iface)) in days.iter().enumerate() {
        eprint!("\r:: compacting day {} of {}", number + 1, days.len());
        let before = thread_cpu_seconds();
        let Outcome::Compacted(done) = compactor.compact(iface, *date)? else {
            bail!("{iface} of {date} was not compacted");
        };
        seconds.push(thread_cpu_seconds() - before);
        bytes = (bytes.0 + done.old_bytes, bytes.1 + done.new_bytes);
    }
    eprintln!();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let bytes_ratio = bytes.1 as f64 / bytes.0 as f64;
    Ok(Stores {
        size: size.name(),
        written,
        compacted,
        seconds,
        peak_bytes: rss_peak_bytes()?.saturating_sub(memory),
        bytes_ratio,
    })
}

fn write(
    written: &Path,
    compacted: &Path,
    size: Size,
    number: usize,
    rows: &mut Option<Rows>,
) -> Result<()> {
    let iface: Arc<str> = format!("eth{number}").into();
    let mut sinks = [open(written)?, open(compacted)?];
    let mut traffic = Traffic::new(size.flows, number);
    for day in 0..size.days {
        let midnight = first_day() + SignedDuration::from_hours(24 * i64::from(day));
        // A rotation is some milliseconds late.
        let mut start = midnight + traffic.delay();
        for place in 1..=size.intervals {
            let end = midnight + LENGTH * i32::try_from(place)? + traffic.delay();
            let flows = traffic.interval(start);
            if let Some(rows) = rows {
                rows.push(start, &iface, &flows)?;
            }
            let interval = interval(&iface, start, end, flows);
            for sink in &mut sinks {
                sink.write(&interval)?;
            }
            start = end;
        }
    }
    Ok(())
}

fn open(root: &Path) -> Result<FileSink<Parquet>> {
    let keeps_all = Retention::default();
    let clock = probe_capture::clock::now;
    FileSink::open(Parquet::new(), root.to_owned(), keeps_all, clock)
        .with_context(|| format!("cannot make a store in {}", root.display()))
}

fn interval(
    iface: &Arc<str>,
    start: Timestamp,
    end: Timestamp,
    flows: Vec<(EpHash<4>, Flow)>,
) -> Interval {
    let mut totals = FlowCounters::default();
    for (_, flow) in &flows {
        totals.bytes_rcvd += flow.counters.bytes_rcvd;
        totals.bytes_sent += flow.counters.bytes_sent;
        totals.packets_rcvd += flow.counters.packets_rcvd;
        totals.packets_sent += flow.counters.packets_sent;
    }
    let tally = Tally {
        packets: totals.packets_rcvd + totals.packets_sent,
        bytes: totals.bytes_rcvd + totals.bytes_sent,
    };
    Interval {
        iface: Arc::clone(iface),
        start,
        end,
        end_since_boot: None,
        flows: FlowMap {
            v4: flows,
            v6: Vec::new(),
        },
        tick_clock: TickClock::millis(start),
        totals,
        ledger: Ledger {
            seen: tally,
            flows: tally,
            ..Ledger::default()
        },
        watched: Watched::default(),
    }
}

/// Flows as comma-separated values, for the stores of others.
struct Rows {
    out: BufWriter<File>,
    path: PathBuf,
}

impl Rows {
    fn create(path: &Path) -> Result<Self> {
        let cannot = || format!("cannot write {}", path.display());
        let mut out = BufWriter::new(File::create(path).with_context(cannot)?);
        let names = "time,iface,src_addr,src_port,dst_addr,dst_port,ip_protocol,packets_rcvd,\
                     packets_sent,bytes_rcvd,bytes_sent";
        writeln!(out, "{names}").with_context(cannot)?;
        Ok(Self {
            out,
            path: path.to_owned(),
        })
    }

    fn push(&mut self, start: Timestamp, iface: &str, flows: &[(EpHash<4>, Flow)]) -> Result<()> {
        for (key, flow) in flows {
            let counts = &flow.counters;
            writeln!(
                self.out,
                "{},{iface},{},{},{},{},{},{},{},{},{}",
                start.as_second(),
                Ipv4Addr::from(key.src_addr),
                u16::from_be_bytes(key.src_port),
                Ipv4Addr::from(key.dst_addr),
                u16::from_be_bytes(key.dst_port),
                key.ip_protocol,
                counts.packets_rcvd,
                counts.packets_sent,
                counts.bytes_rcvd,
                counts.bytes_sent,
            )
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        let written = self.out.flush();
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}
