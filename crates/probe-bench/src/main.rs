//! The benchmarks of probe, run by `cargo xtask bench`: what the agent costs, measured here and now.
//!
//! Each prints a table in Markdown and, with `--json`, writes the same numbers with the machine, the
//! kernel and the commit. What is compared takes turns in one run, and ratios are taken within a
//! round.

mod e2e;
mod facts;
mod flowlog;
mod impact;
mod kernel;
mod process;
mod programs;
mod query;
mod quiet;
mod random;
mod report;
mod requirements;
mod rotation;
mod scale;
mod sinks;
mod stats;
mod testbed;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Cli {
    #[command(subcommand)]
    benchmark: Benchmark,
    #[command(flatten)]
    common: Common,
}

/// What all benchmarks take.
#[derive(clap::Args)]
struct Common {
    /// Writes the numbers there, too.
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fails where a target of the design is missed.
    #[arg(long, global = true)]
    check: bool,
    /// A short form: shows that the benchmark works and that the ratios are in order.
    #[arg(long, global = true)]
    short: bool,
    /// The agent to run, instead of the one just built.
    #[arg(
        long,
        global = true,
        value_name = "BINARY",
        default_value = "probe-agent"
    )]
    agent: PathBuf,
    /// The eBPF programs of the benchmarks.
    #[arg(
        long,
        global = true,
        value_name = "OBJECT",
        hide = true,
        default_value = "bench.bpf.o"
    )]
    programs: PathBuf,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Cost of the programs per packet, over an empty program (root).
    Kernel(kernel::Args),
    /// Throughput through a monitored veth, per hook, over that of an unmonitored one (root).
    Impact(impact::Args),
    /// CPU time of the agent per record, and memory per flow.
    Flowlog(flowlog::Args),
    /// CPU time and octets of files of each sink, per flow.
    Sinks(sinks::Args),
    /// Pause and length of a rotation under load.
    Rotation(rotation::Args),
    /// CPU of the whole machine per packet, beside other probes; or a flood (root).
    E2e(e2e::Args),
    /// What questions about stored flows take, beside DuckDB.
    Query(query::Args),
    /// Start, memory and end with many interfaces (root).
    Scale(scale::Args),
    /// Runs a command, and tells what it took.
    #[command(hide = true)]
    MeasureChild(query::MeasureArgs),
}

fn main() -> ExitCode {
    let Cli { benchmark, common } = Cli::parse();
    let outcome = match benchmark {
        Benchmark::Kernel(args) => kernel::run(&args, &common),
        Benchmark::Impact(args) => impact::run(&args, &common),
        Benchmark::Flowlog(args) => flowlog::run(&args, &common),
        Benchmark::Sinks(args) => sinks::run(&args, &common),
        Benchmark::Query(args) => query::run(&args, &common),
        Benchmark::MeasureChild(args) => query::measure_child(&args),
        Benchmark::Rotation(args) => rotation::run(&args, &common),
        Benchmark::E2e(args) => e2e::run(&args, &common),
        Benchmark::Scale(args) => scale::run(&args, &common),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
