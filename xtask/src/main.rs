//! Developer tasks of probe, run as `cargo xtask VERB`. One file per verb.

mod build_ebpf;
#[path = "../../probe-agent/build/object_sources.rs"]
mod object_sources;
mod setup_ebpf;
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
    /// Install the toolchain that builds the eBPF object. Nothing else needs it.
    SetupEbpf,
    /// Build the eBPF object and its manifest into probe-agent/bpf.
    BuildEbpf(build_ebpf::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::SetupEbpf => setup_ebpf::run(),
        Verb::BuildEbpf(args) => build_ebpf::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
