//! `bench rotation`: what closing an interval takes while records keep coming.
//!
//! The real manager, drain thread, flow log and local buffers, fed with records of random flows at a
//! steady rate by a source that needs no kernel. The pause is the longest time in which the drain
//! thread took nothing from its stream, sleeping aside.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "numbers of packets far below 2^52, and numbers of flows below 2^32"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use parking_lot::{Mutex, RwLock};
use probe_capture::{
    interface::{Interface, InterfaceConfig},
    manager::{Manager, ManagerOptions},
    source::{
        Attachment, BankCounters, Drained, Hooks, RecordSource, RecordStream, Source, SourceError,
        SourceStatistics, SupervisedHooks, Waker,
    },
    status::StatusReader,
};
use probe_common::{
    ephash::EpHash,
    headers::ip_protocol::UDP,
    record::{INGRESS, IntoRecord, Record, RecordHead, RecordV4, origin_flags},
};
use probe_flow::{flow_log::FlowLogOptions, ticks::TickClock};
use serde_json::json;

use crate::{
    Common,
    facts::Facts,
    random::Random,
    report::{self, Table, Verdict},
    stats::median,
};

/// The longest pause, in milliseconds, with most flows.
const PAUSE_MS: f64 = 1.0;
const FLOWS: [u32; 3] = [10_000, 100_000, 1_000_000];
const IFINDEX: u32 = 1;
const OCTETS: u64 = 100;
/// Records that are handed over in one go.
const CHUNK: u64 = 2048;

/// Records that are handed over at once, as a ring does.
const BATCH: usize = 64;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rotations for each number of flows.
    #[arg(long)]
    rotations: Option<usize>,
    /// Records handed over in a second.
    #[arg(long, default_value_t = 250_000)]
    rate: u32,
}

/// What came of one number of flows.
struct Row {
    flows: u32,
    pause_ms: Vec<f64>,
    total_ms: Vec<f64>,
    handed: u64,
    /// In no interval and in no named loss.
    missing: i64,
    lost: u64,
}

pub(crate) fn run(args: &Args, common: &Common) -> Result<()> {
    let rotations = args.rotations.unwrap_or(if common.short { 2 } else { 7 });
    let flows = if common.short {
        &FLOWS[..1]
    } else {
        &FLOWS[..]
    };
    let facts = Facts::gather();
    let mut rows = Vec::new();
    for flows in flows {
        eprintln!(":: {flows} flows");
        rows.push(measure(*flows, rotations, args.rate)?);
    }
    print(&facts, args.rate, rotations, &rows);
    let mut verdicts = Vec::new();
    for row in &rows {
        let name = format!("{} flows", row.flows);
        let missing = row.missing.unsigned_abs() as f64;
        verdicts.push(Verdict::at_most(
            format!("{name}, packets missing"),
            missing,
            0.0,
        ));
        // A build for tests, beside others, may be too slow for the rate.
        if common.short {
            continue;
        }
        verdicts.push(Verdict::at_most(
            format!("{name}, packets lost"),
            row.lost as f64,
            0.0,
        ));
        let pause = median(&row.pause_ms);
        verdicts.push(Verdict::at_most(
            format!("{name}, pause, ms"),
            pause,
            PAUSE_MS,
        ));
    }
    let results = rows.iter().map(|row| {
        json!({
            "flows": row.flows,
            "pause_ms": row.pause_ms,
            "total_ms": row.total_ms,
            "handed": row.handed,
            "missing": row.missing,
            "lost": row.lost,
        })
    });
    let numbers = json!({ "rate": args.rate, "results": results.collect::<Vec<_>>() });
    report::finish(common, &facts, "rotation", numbers, &verdicts)
}

/// What generator and measurement share.
#[derive(Default)]
struct Shared {
    bank: RwLock<u8>,
    counters: Mutex<BankCounters>,
    /// Records that were handed over.
    handed: AtomicU64,
    /// 0: as fast as possible, each flow once.
    rate: AtomicU64,
    /// Records may come: the capture is there, and goes on.
    is_open: AtomicBool,
    longest_pause: Mutex<Duration>,
}

/// The control side, and the data side.
struct Generated(Arc<Shared>);

struct Generator {
    shared: Arc<Shared>,
    flows: u32,
    random: Random,
    /// When the steady rate began, and how many records there were.
    since: Option<(Instant, u64)>,
    /// The end of the last time that was spent well: draining, or sleeping for want of records.
    busy_until: Instant,
}

fn measure(flows: u32, rotations: usize, rate: u32) -> Result<Row> {
    let shared = Arc::new(Shared::default());
    let generator = Generator {
        shared: shared.clone(),
        flows,
        random: Random::new(),
        since: None,
        busy_until: Instant::now(),
    };
    let written = Arc::new(Mutex::new((0_u64, 0_u64)));
    let sink = written.clone();
    let options = ManagerOptions {
        flow_log: FlowLogOptions {
            max_flows: 2 * flows as usize,
            ..FlowLogOptions::default()
        },
        writeout: Box::new(move |interval| {
            let mut written = sink.lock();
            written.0 += interval.totals.packets();
            written.1 += interval
                .ledger
                .losses
                .iter()
                .map(|it| it.packets)
                .sum::<u64>();
        }),
        ..ManagerOptions::default()
    };
    let source = Generated::with(generator);
    let manager = Manager::new(Box::new(source), options)?;
    let link = Interface {
        name: "bench0".into(),
        ifindex: IFINDEX,
    };
    let changes = manager.update([(link, InterfaceConfig::default())])?;
    if changes.failures().next().is_some() {
        bail!("the capture does not start");
    }
    shared.is_open.store(true, Ordering::Relaxed);
    wait_for(&shared, flows.into())?;
    shared.rate.store(rate.into(), Ordering::Relaxed);
    let (mut pause_ms, mut total_ms) = (Vec::new(), Vec::new());
    for _ in 0..rotations {
        // All flows have traffic in every interval, nearly.
        let enough = shared.handed.load(Ordering::Relaxed) + u64::from(flows).min(u64::from(rate));
        wait_for(&shared, enough)?;
        *shared.longest_pause.lock() = Duration::ZERO;
        let rotation = manager.rotate()?;
        // What waited meanwhile is counted after it.
        let after = shared.handed.load(Ordering::Relaxed) + u64::from(rate) / 4;
        wait_for(&shared, after)?;
        pause_ms.push(shared.longest_pause.lock().as_secs_f64() * 1e3);
        total_ms.push(rotation.duration.as_secs_f64() * 1e3);
    }
    shared.is_open.store(false, Ordering::Relaxed);
    // Flushes, so that a pass that had begun is over.
    drop(manager.flush_and_read());
    manager.close(&[])?;
    let handed = shared.handed.load(Ordering::Relaxed);
    let (in_flows, lost) = *written.lock();
    Ok(Row {
        flows,
        pause_ms,
        total_ms,
        handed,
        missing: handed.cast_signed() - in_flows.cast_signed() - lost.cast_signed(),
        lost,
    })
}

fn wait_for(shared: &Shared, records: u64) -> Result<()> {
    const PATIENCE: Duration = Duration::from_mins(2);
    let begin = Instant::now();
    while shared.handed.load(Ordering::Relaxed) < records {
        if begin.elapsed() > PATIENCE {
            bail!("no more records are taken");
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

impl Generator {
    /// Records that should have been there by now and were not yet.
    fn due(&mut self) -> u64 {
        let shared = &self.shared;
        let handed = shared.handed.load(Ordering::Relaxed);
        if !shared.is_open.load(Ordering::Relaxed) {
            return 0;
        }
        match shared.rate.load(Ordering::Relaxed) {
            0 => u64::from(self.flows).saturating_sub(handed).min(CHUNK),
            rate => {
                let (since, before) = *self.since.get_or_insert((Instant::now(), handed));
                let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
                let wanted = before + micros.saturating_mul(rate) / 1_000_000;
                wanted.saturating_sub(handed).min(CHUNK)
            }
        }
    }

    /// The next flow: each once at first, then random ones.
    fn flow(&mut self, number: u64) -> u32 {
        if number < u64::from(self.flows) {
            return number as u32;
        }
        self.random.below(self.flows)
    }
}

fn record(flow: u32, bank: u8) -> RecordV4 {
    let key = EpHash {
        src_addr: flow.to_be_bytes(),
        src_port: 40_000_u16.to_be_bytes(),
        dst_addr: [198, 18, 0, 1],
        dst_port: 5001_u16.to_be_bytes(),
        ip_protocol: UDP,
    };
    key.into_record(RecordHead {
        octets: OCTETS,
        packets: 1,
        ifindex: IFINDEX,
        flags: origin_flags(INGRESS, bank),
        ..RecordHead::default()
    })
}

impl RecordStream for Generator {
    fn drain(&mut self, handle: &mut dyn FnMut(&[Record<'_>])) -> Result<Drained, SourceError> {
        let pause = self.busy_until.elapsed();
        let shared = self.shared.clone();
        {
            let mut longest = shared.longest_pause.lock();
            *longest = pause.max(*longest);
        }
        let due = self.due();
        let bank = shared.bank.read();
        let mut batch = Vec::with_capacity(BATCH);
        for begin in (0..due).step_by(BATCH) {
            let number = shared.handed.load(Ordering::Relaxed);
            let records = (due - begin).min(BATCH as u64);
            batch.clear();
            batch.extend((number..number + records).map(|it| record(self.flow(it), *bank)));
            handle(&batch.iter().map(Record::V4).collect::<Vec<_>>());
            shared.handed.store(number + records, Ordering::Relaxed);
        }
        let counters = &mut shared.counters.lock()[usize::from(*bank)][usize::from(INGRESS)];
        counters.seen.add(due, due * (OCTETS + 14));
        counters.recorded.add(due, due * OCTETS);
        self.busy_until = Instant::now();
        Ok(match due {
            0 => Drained::Idle,
            due => Drained::Records(due as usize),
        })
    }

    fn wait(&mut self, records: usize) {
        if records == 0 {
            thread::park_timeout(Duration::from_micros(200));
        }
        self.busy_until = Instant::now();
    }

    fn on_thread_start(&mut self) {}

    fn waker(&self) -> Option<Waker> {
        None
    }

    fn drain_closed(
        &mut self,
        _bank: u8,
        _handle: &mut dyn FnMut(&[Record<'_>]),
    ) -> Result<(), SourceError> {
        Ok(())
    }
}

impl Generated {
    fn with(generator: Generator) -> WithStream {
        WithStream {
            control: Self(generator.shared.clone()),
            stream: Some(generator),
        }
    }
}

struct WithStream {
    control: Generated,
    stream: Option<Generator>,
}

impl RecordSource for WithStream {
    fn take_streams(&mut self) -> Vec<Box<dyn RecordStream>> {
        let stream = self.stream.take().into_iter();
        stream
            .map(|it| Box::new(it) as Box<dyn RecordStream>)
            .collect()
    }

    fn switch_bank(&mut self) -> Result<u8, SourceError> {
        let mut bank = self.control.0.bank.write();
        let closed = *bank;
        *bank = 1 - closed;
        Ok(closed)
    }

    fn counters(&self, _: u32) -> Result<BankCounters, SourceError> {
        Ok(*self.control.0.counters.lock())
    }

    fn tick_clock(&self) -> TickClock {
        TickClock::default()
    }
}

impl Hooks for WithStream {
    fn attach(&mut self, _: &Interface, _: &InterfaceConfig) -> Result<Attachment, SourceError> {
        Ok(Attachment::default())
    }

    fn detach(&mut self, _: &[u32]) -> Result<(), SourceError> {
        Ok(())
    }

    fn release(&mut self, _: u32) {}
}

impl Source for WithStream {
    fn supervised_hooks(&mut self) -> Option<&mut dyn SupervisedHooks> {
        None
    }

    fn statistics(&self) -> Option<&dyn SourceStatistics> {
        None
    }
}

/// As Markdown, for docs/PERFORMANCE.md.
fn print(facts: &Facts, rate: u32, rotations: usize, rows: &[Row]) {
    println!("{facts}  \n{rate} records a second, medians of {rotations} rotations\n");
    let mut table = Table::new([
        "flows in the log",
        "pause, ms",
        "rotation, ms",
        "records",
        "lost, by name",
        "missing",
    ]);
    for row in rows {
        table.row([
            row.flows.to_string(),
            format!("{:.2}", median(&row.pause_ms)),
            format!("{:.1}", median(&row.total_ms)),
            row.handed.to_string(),
            row.lost.to_string(),
            row.missing.to_string(),
        ]);
    }
    table.print();
}
