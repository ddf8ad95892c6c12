//! `cargo xtask bench`: what the agent costs, measured here and now.
//!
//! Every benchmark prints a table and, with `--json`, writes the same numbers with the machine, the
//! kernel and the commit. All ratios come from one run, in which what is compared takes turns.

mod agent;
mod facts;
mod impact;
mod net;
mod stats;

use anyhow::Result;
use clap::Subcommand;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Throughput through a monitored veth, per hook, over that of an unmonitored one (root).
    Impact(impact::Args),
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.benchmark {
        Benchmark::Impact(args) => impact::run(args),
    }
}
