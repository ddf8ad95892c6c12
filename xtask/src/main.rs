//! Developer tasks of probe, run as `cargo xtask VERB`. One file per verb.

mod bench;
mod build_ebpf;
mod ci;
mod crate_graph;
mod demo;
mod docs;
mod fuzz;
mod kernels;
#[path = "../../crates/probe-datapath/build/object_sources.rs"]
mod object_sources;
mod query;
mod setup_ebpf;
mod test;
mod tidy;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Developer tasks of probe.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show flows of real traffic between two network namespaces, and clean up (root).
    Demo(demo::Args),
    /// Run every test that can run here, and list what could not and why.
    Test(test::Args),
    /// Measure what the agent costs: kernel, e2e, impact, scale, or all.
    Bench(bench::Args),
    /// Try the agent on other kernels, in qemu.
    Kernels(kernels::Args),
    /// Search for inputs that break the parser, filters, configurations, capture files or API queries.
    Fuzz(fuzz::Args),
    /// Check what the compiler does not: budgets, metrics, wire types.
    Tidy,
    /// Run all checks of a change, or the named ones.
    Ci(ci::Args),
    /// Write the references in docs/ anew, from the code.
    Docs,
    /// Build the eBPF object and its manifest into crates/probe-datapath/bpf.
    BuildEbpf(build_ebpf::Args),
    /// Install the toolchain that builds the eBPF object. Nothing else needs it.
    SetupEbpf,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Demo(args) => demo::run(&args),
        Verb::Test(args) => test::run(&args, &test::Objects::default()),
        Verb::Bench(args) => bench::run(&args),
        Verb::Kernels(args) => kernels::run(&args),
        Verb::Fuzz(args) => fuzz::run(&args),
        Verb::Tidy => tidy::run(),
        Verb::Ci(args) => ci::run(&args),
        Verb::Docs => docs::run(),
        Verb::BuildEbpf(args) => build_ebpf::run(&args),
        Verb::SetupEbpf => setup_ebpf::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
