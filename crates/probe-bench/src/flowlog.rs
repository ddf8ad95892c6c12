//! `bench flowlog`: what the agent takes for a record that the programs hand over, and what a flow
//! takes of its memory.
//!
//! Records of random flows in both directions go into a flow log that has all of them, in the form
//! and on the way in which a drain thread hands them over. Timed as all benchmarks here are, in
//! rounds that take turns and by the CPU time of the thread, so that numbers and verdicts come out
//! in the same form; criterion would bring a second one.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "numbers of records and bytes far below 2^52, and octets cut out of numbers"
)]

use std::{ops::Range, time::Duration};

use anyhow::Result;
use probe_common::{
    ephash::EpHash,
    headers::ip_protocol::TCP,
    record::{AsRecord, EGRESS, INGRESS, IntoRecord, RecordHead, RecordV4, RecordV6, origin_flags},
};
use probe_flow::flow_log::{FlowLog, FlowLogOptions};
use serde_json::json;

use crate::{
    Common,
    facts::Facts,
    process::anonymous_bytes,
    programs::cpu_time_ns,
    quiet::Quiet,
    random::Random,
    report::{self, Table, Verdict},
    stats::median,
};

/// ns per record with few flows and with many, and bytes per flow with many (IPv4).
const FEW_NS: f64 = 15.0;
const MANY_NS: f64 = 100.0;
const FLOW_BYTES: f64 = 128.0;

const FEW: u32 = 1000;
const MANY: u32 = 1_000_000;
const FLOWS: [u32; 3] = [FEW, 1 << 16, MANY];
/// Records of a measurement.
const RECORDS: u32 = 2_000_000;

/// Records that are handed over at once.
const BATCH: usize = 64;

/// Records that are timed at once: milliseconds, in which neighbours may leave the core alone. With IPv6
/// they are 7 MB in a ring, which has 8 MiB for each of two CPUs unless told otherwise.
const CHUNK: usize = 100_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rounds, each of which measures everything once.
    #[arg(long)]
    rounds: Option<usize>,
    /// How long a round may wait until neighbours leave the core alone, and measure again.
    #[arg(long, value_name = "SECONDS", default_value_t = 7)]
    patience: u64,
}

/// One log with its records, and a value for each round.
struct Row {
    version: u8,
    flows: u32,
    log: FlowLog,
    input: Input,
    /// Records that were handed over to be timed, also those whose time was thrown away.
    handed_over: u64,
    ns: Vec<f64>,
}

enum Input {
    V4(Records<RecordV4>),
    V6(Records<RecordV6>),
}

/// All records, and the memory from which they are handed over: as programs do, somebody has just
/// written them there, and it is as large as a ring.
struct Records<R> {
    records: Vec<R>,
    ring: Vec<R>,
}

pub(crate) fn run(args: &Args, common: &Common) -> Result<()> {
    let rounds = args.rounds.unwrap_or(if common.short { 1 } else { 9 });
    let (flows, records) = if common.short {
        (&FLOWS[..2], RECORDS / 10)
    } else {
        (&FLOWS[..], RECORDS)
    };
    let facts = Facts::gather();
    // First, while nothing has been freed that could be used again.
    let flow_bytes = memory_per_flow(*flows.last().unwrap_or(&FEW))?;
    let mut rows = Vec::new();
    for version in [4, 6] {
        for flows in flows {
            eprintln!(":: IPv{version}, {flows} flows");
            rows.push(Row::new(version, *flows, records));
        }
    }
    let mut quiet = Quiet::new();
    for round in 0..rounds {
        if !common.short {
            quiet.set_patience(Duration::from_secs(args.patience));
        }
        for turn in 0..rows.len() {
            let index = (turn + round) % rows.len();
            rows[index].measure(&mut quiet)?;
        }
    }
    print(&facts, rounds, flow_bytes, &rows);
    println!("{quiet}\n");
    let mut verdicts = Vec::new();
    for row in &rows {
        let counted = (row.log.totals().packets() - u64::from(row.flows)) as f64;
        let expected = row.handed_over as f64;
        let name = format!("IPv{}, {} flows", row.version, row.flows);
        let target = format!("{name}, records in no flow");
        verdicts.push(Verdict::at_most(target, (expected - counted).abs(), 0.0));
        // Times of a build for tests say nothing.
        if common.short {
            continue;
        }
        let limit = match row.flows {
            FEW => FEW_NS,
            MANY => MANY_NS,
            _ => continue,
        };
        verdicts.push(Verdict::at_most(
            format!("{name}, ns per record"),
            row.median(),
            limit,
        ));
    }
    if !common.short {
        let target = format!("bytes per IPv4 flow, {MANY} flows");
        verdicts.push(Verdict::at_most(target, flow_bytes, FLOW_BYTES));
    }
    let results = rows.iter().map(|row| {
        json!({ "ip_version": row.version, "flows": row.flows, "ns": row.ns, "median_ns": row.median() })
    });
    let numbers = json!({
        "rounds": rounds,
        "records": records,
        "neighbours": quiet.json(),
        "bytes_per_flow": flow_bytes,
        "results": results.collect::<Vec<_>>(),
    });
    report::finish(common, &facts, "flowlog", numbers, &verdicts)
}

impl Row {
    fn new(version: u8, flows: u32, records: u32) -> Self {
        let mut random = Random::new();
        let draws = (0..records).map(|_| (random.below(flows), random.bits() & 1 != 0));
        let mut log = FlowLog::new(FlowLogOptions::default());
        let input = if version == 4 {
            fill::<4>(&mut log, flows);
            Input::V4(draws.map(|(flow, back)| record::<4>(flow, back)).collect())
        } else {
            fill::<16>(&mut log, flows);
            Input::V6(draws.map(|(flow, back)| record::<16>(flow, back)).collect())
        };
        Self {
            version,
            flows,
            log,
            input,
            handed_over: 0,
            ns: Vec::new(),
        }
    }

    fn measure(&mut self, quiet: &mut Quiet) -> Result<()> {
        let records = match &self.input {
            Input::V4(input) => input.records.len(),
            Input::V6(input) => input.records.len(),
        };
        let mut ns = 0.0;
        for begin in (0..records).step_by(CHUNK) {
            let chunk = begin..records.min(begin + CHUNK);
            ns += quiet.measure(|| {
                self.handed_over += chunk.len() as u64;
                Ok(match &mut self.input {
                    Input::V4(input) => input.hand_over(&mut self.log, chunk.clone()),
                    Input::V6(input) => input.hand_over(&mut self.log, chunk.clone()),
                })
            })?;
        }
        self.ns.push(ns / records as f64);
        Ok(())
    }

    fn median(&self) -> f64 {
        median(&self.ns)
    }
}

impl<R> FromIterator<R> for Records<R> {
    fn from_iter<I: IntoIterator<Item = R>>(records: I) -> Self {
        Self {
            records: records.into_iter().collect(),
            ring: Vec::with_capacity(CHUNK),
        }
    }
}

impl<R: AsRecord + Clone> Records<R> {
    /// Hands over some of them, and says in how many ns, without those for writing them.
    fn hand_over(&mut self, log: &mut FlowLog, range: Range<usize>) -> f64 {
        self.ring.clear();
        self.ring.extend_from_slice(&self.records[range]);
        let before = cpu_time_ns();
        for batch in self.ring.chunks(BATCH) {
            hand_over(log, batch);
        }
        cpu_time_ns() - before
    }
}

/// Records as a drain thread hands them over.
fn hand_over<R: AsRecord>(log: &mut FlowLog, batch: &[R]) {
    let mut row = [batch[0].as_record(); BATCH];
    for (place, record) in row.iter_mut().zip(batch) {
        *place = record.as_record();
    }
    log.handle_records(&row[..batch.len()]);
}

/// Puts every flow into the log.
fn fill<const N: usize>(log: &mut FlowLog, flows: u32)
where
    EpHash<N>: IntoRecord<Record: AsRecord>,
{
    for flow in 0..flows {
        log.handle_record(record::<N>(flow, false).as_record());
    }
}

/// A packet of a flow: a client's to port 5001 of one of 256 servers, or its answer.
fn record<const N: usize>(flow: u32, is_answer: bool) -> <EpHash<N> as IntoRecord>::Record
where
    EpHash<N>: IntoRecord,
{
    const SERVER_PORT: u16 = 5001;
    let [high, low, server, _] = flow.to_be_bytes();
    let mut key = EpHash {
        src_addr: [10; N],
        src_port: (32_768 | (flow & 0x7fff) as u16).to_be_bytes(),
        dst_addr: [20; N],
        dst_port: SERVER_PORT.to_be_bytes(),
        ip_protocol: TCP,
    };
    key.src_addr[1..4].copy_from_slice(&[high, low, (flow >> 15) as u8]);
    key.dst_addr[3] = server;
    let direction = if is_answer { EGRESS } else { INGRESS };
    let key = if is_answer { key.reverse() } else { key };
    key.into_record(RecordHead {
        octets: 1500,
        packets: 1,
        ifindex: 1,
        tcp_flags: 0x10,
        aux: 0x10,
        flags: origin_flags(direction, 0),
        ..RecordHead::default()
    })
}

/// Resident memory that a log of IPv4 flows takes, over their number.
fn memory_per_flow(flows: u32) -> Result<f64> {
    let own = std::process::id();
    let before = anonymous_bytes(own)?;
    let mut log = FlowLog::new(FlowLogOptions::default());
    fill::<4>(&mut log, flows);
    let after = anonymous_bytes(own)?;
    assert_eq!(log.len(), flows as usize, "all flows differ");
    Ok((after - before) as f64 / f64::from(flows))
}

/// As Markdown, for docs/PERFORMANCE.md.
fn print(facts: &Facts, rounds: usize, flow_bytes: f64, rows: &[Row]) {
    println!("{facts}  \nns of CPU time per record, medians of {rounds} rounds\n");
    let mut table = Table::new(["flows in the log", "IPv4", "IPv6"]);
    let (v4, v6) = rows.split_at(rows.len() / 2);
    for (v4, v6) in v4.iter().zip(v6) {
        table.row([
            v4.flows.to_string(),
            format!("{:.1}", v4.median()),
            format!("{:.1}", v6.median()),
        ]);
    }
    table.print();
    println!("{flow_bytes:.1} bytes of memory per IPv4 flow\n");
}
