//! `bench query`: what questions about a month take, beside DuckDB on the same files and any other command.
//!
//! Made-up traffic is stored as the agent stores it, and compacted as the agent compacts. Each subject is
//! a process of its own, measured from start to end; of DuckDB only what it takes above opening a database
//! from Python. The answers of all must have the same bytes in the same order.

mod questions;
mod store;
mod subject;
mod traffic;

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

pub(crate) use self::subject::{MeasureArgs, measure_child};
use self::{
    questions::Question,
    store::{Size, Stores},
    subject::{Subject, Taken},
};
use crate::{
    Common,
    facts::Facts,
    report::{self, Table, Verdict},
    stats::median,
};

const SIZE: Size = Size {
    days: 30,
    ifaces: 1,
    intervals: 288,
    flows: 1500,
};
const SHORT_SIZE: Size = Size {
    days: 4,
    ifaces: 1,
    intervals: 72,
    flows: 1500,
};

/// Targets of the design.
const MOST_OF_DUCKDB: f64 = 1.0;
const MOST_OF_DUCKDB_AS_WRITTEN: f64 = 1.0 / 8.0;
const MOST_BYTES_OF_COMPACTED: f64 = 0.6;
const MOST_SECONDS_OF_A_DAY: f64 = 3.0;
const MOST_MEMORY_MIB: f64 = 200.0;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rounds, each of which asks everybody everything once.
    #[arg(long)]
    rounds: Option<usize>,
    /// Interfaces with traffic of their own.
    #[arg(long)]
    interfaces: Option<usize>,
    /// Intervals of a day.
    #[arg(long)]
    intervals: Option<u32>,
    /// Flows of an interval.
    #[arg(long)]
    flows: Option<usize>,
    /// Keeps the stores there, and uses them again.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Writes the flows as comma-separated values, too, for the stores of others.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Measures a command of the shell beside the others, for one question: `goQuery@one host=goQuery …`.
    #[arg(long = "beside", value_name = "NAME@QUESTION=COMMAND")]
    others: Vec<String>,
    /// The `probe-query` to ask, instead of the one just built.
    #[arg(long, value_name = "BINARY", default_value = "probe-query")]
    query: PathBuf,
}

/// One subject with what each question took it, a value for each round.
struct Row {
    name: String,
    subject: Subject,
    taken: Vec<Vec<Taken>>,
}

pub(crate) fn run(args: &Args, common: &Common) -> Result<()> {
    let size = if common.short { SHORT_SIZE } else { SIZE };
    let size = Size {
        days: size.days,
        ifaces: args.interfaces.unwrap_or(size.ifaces),
        intervals: args.intervals.unwrap_or(size.intervals),
        flows: args.flows.unwrap_or(size.flows),
    };
    let rounds = args.rounds.unwrap_or(if common.short { 2 } else { 5 });
    let facts = Facts::gather();
    let temporary = tempfile::tempdir().context("cannot make a temporary directory")?;
    let root = args.keep.as_deref().unwrap_or(temporary.path());
    let stores = Stores::open_or_make(root, size, args.csv.as_deref())?;
    let questions = questions::all(size);
    let mut rows = rows(args, &stores, questions.len())?;
    for round in 0..rounds {
        for (place, question) in questions.iter().enumerate() {
            eprintln!(":: round {} of {rounds}, {}", round + 1, question.name);
            ask_all(&mut rows, place, question)?;
        }
    }
    print(&facts, size, rounds, &stores, &questions, &rows);
    let verdicts = verdicts(common, &stores, &questions, &rows);
    let results = rows.iter().flat_map(|row| {
        let each = questions.iter().zip(&row.taken);
        each.map(|(question, taken)| {
            json!({ "subject": row.name, "question": question.name, "taken": taken })
        })
    });
    let numbers = json!({
        "store": size.name(),
        "rounds": rounds,
        "compaction_seconds": stores.seconds,
        "compacted_bytes_ratio": stores.bytes_ratio,
        "results": results.collect::<Vec<_>>(),
    });
    report::finish(common, &facts, "query", numbers, &verdicts)
}

fn rows(args: &Args, stores: &Stores, questions: usize) -> Result<Vec<Row>> {
    let binary = &args.query;
    let probe_query = |store: &PathBuf| Subject::ProbeQuery {
        binary: binary.clone(),
        store: store.clone(),
    };
    let mut subjects = vec![("probe-query".to_owned(), probe_query(&stores.compacted))];
    let duckdb = |store| Subject::duckdb(store);
    match (duckdb(&stores.compacted), duckdb(&stores.written)) {
        (Some((version, compacted)), Some((_, written))) => {
            subjects.push((format!("DuckDB {version}"), compacted));
            subjects.push((AS_WRITTEN.to_owned(), written));
        }
        _ => eprintln!(":: DuckDB is not installed (pip install duckdb): measured without it"),
    }
    for other in &args.others {
        let parts = other.split_once('=');
        let parts = parts.and_then(|(who, command)| Some((who.split_once('@')?, command)));
        let Some(((name, question), command)) = parts else {
            bail!("--beside {other}: write NAME@QUESTION=COMMAND");
        };
        let subject = Subject::Other {
            question: question.to_owned(),
            command: command.to_owned(),
        };
        subjects.push((name.to_owned(), subject));
    }
    let row = |(name, subject)| Row {
        name,
        subject,
        taken: vec![Vec::new(); questions],
    };
    Ok(subjects.into_iter().map(row).collect())
}

const AS_WRITTEN: &str = "DuckDB, files as written";

/// One question to everybody, each after the other.
fn ask_all(rows: &mut [Row], place: usize, question: &Question) -> Result<()> {
    let mut expected: Option<Vec<u64>> = None;
    for row in rows {
        let asked = row.subject.ask(question);
        let asked = asked.with_context(|| format!("{}, {}", row.name, question.name))?;
        let Some((bytes, taken)) = asked else {
            continue;
        };
        if !bytes.is_empty() {
            let expected = expected.get_or_insert_with(|| bytes.clone());
            ensure!(
                *expected == bytes,
                "{} answers {} otherwise than probe-query",
                row.name,
                question.name
            );
        }
        row.taken[place].push(taken);
    }
    Ok(())
}

fn seconds(taken: &[Taken]) -> f64 {
    median(&taken.iter().map(|it| it.seconds).collect::<Vec<_>>())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn peak_mib(taken: &[Taken]) -> f64 {
    let peak = taken.iter().map(|it| it.peak_bytes).max();
    peak.unwrap_or_default() as f64 / f64::from(1 << 20)
}

fn verdicts(
    common: &Common,
    stores: &Stores,
    questions: &[Question],
    rows: &[Row],
) -> Vec<Verdict> {
    let mut verdicts = vec![Verdict::at_most(
        "bytes of compacted days by those as written",
        stores.bytes_ratio,
        MOST_BYTES_OF_COMPACTED,
    )];
    // A debug build compacts in the short form.
    if !common.short {
        let seconds = median(&stores.seconds);
        let target = "CPU seconds to compact a day";
        verdicts.push(Verdict::at_most(target, seconds, MOST_SECONDS_OF_A_DAY));
    }
    let Some((own, others)) = rows.split_first() else {
        return verdicts;
    };
    for (place, question) in questions.iter().enumerate() {
        let mine = &own.taken[place];
        let memory = format!("{}, MiB of memory", question.name);
        verdicts.push(Verdict::at_most(memory, peak_mib(mine), MOST_MEMORY_MIB));
        for other in others.iter().filter(|row| row.name.starts_with("DuckDB")) {
            let limit = if other.name == AS_WRITTEN {
                MOST_OF_DUCKDB_AS_WRITTEN
            } else {
                MOST_OF_DUCKDB
            };
            let target = format!("{}, CPU by that of {}", question.name, other.name);
            let ratio = seconds(mine) / seconds(&other.taken[place]).max(1e-3);
            verdicts.push(Verdict::at_most(target, ratio, limit));
        }
    }
    verdicts
}

/// As Markdown, for docs/QUERY.md.
fn print(
    facts: &Facts,
    size: Size,
    rounds: usize,
    stores: &Stores,
    questions: &[Question],
    rows: &[Row],
) {
    println!("{facts}  \n{}; medians of {rounds} rounds\n", size.name());
    let compaction = median(&stores.seconds);
    println!(
        "compaction: {compaction:.2} s of CPU a day, {:.0} MiB of memory, {:.3} of the bytes\n",
        peak_mib(&[Taken {
            seconds: 0.0,
            wall_seconds: 0.0,
            peak_bytes: stores.peak_bytes,
        }]),
        stores.bytes_ratio,
    );
    let mut table = Table::new(["question, who", "CPU, s", "wall, s", "memory, MiB"]);
    for (place, question) in questions.iter().enumerate() {
        for row in rows.iter().filter(|row| !row.taken[place].is_empty()) {
            let taken = &row.taken[place];
            let wall: Vec<_> = taken.iter().map(|it| it.wall_seconds).collect();
            table.row([
                format!("{}, {}", question.name, row.name),
                format!("{:.3}", seconds(taken)),
                format!("{:.3}", median(&wall)),
                format!("{:.0}", peak_mib(taken)),
            ]);
        }
    }
    table.print();
}
