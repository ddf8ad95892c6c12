//! `cargo xtask fuzz TARGET`: libFuzzer on one target of `crates/probe-fuzz`, or on each in turn.
//!
//! The fuzzers are a workspace of their own, built by the workspace's compiler and with the releases
//! of its `Cargo.lock`. They need no sanitizer, and so no nightly compiler: our code is safe Rust,
//! in which a fault is a panic.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// The targets of `crates/probe-fuzz`.
const TARGETS: [&str; 5] = ["api_query", "capture_file", "config", "filter", "parser"];

/// Word for all of the targets.
const ALL: &str = "all";

/// Seconds after which one input counts as a hang.
const TIMEOUT_SECONDS: u32 = 10;

/// Memory that the whole fuzzer may take, its own tables included.
const MEMORY_MIB: u32 = 1024;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name of the fuzz target, or `all`.
    #[arg(value_parser = names())]
    target: String,
    /// How long, for each target.
    #[arg(long, value_name = "N", default_value_t = 300)]
    seconds: u32,
}

fn names() -> Vec<&'static str> {
    TARGETS.into_iter().chain([ALL]).collect()
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if workspace::output(workspace::cargo().args(["fuzz", "--version"])).is_err() {
        bail!("cargo-fuzz is not installed: run `cargo install --locked cargo-fuzz`");
    }
    let root = workspace::root();
    let locked = |folder: &Path| folder.join("Cargo.lock");
    fs::copy(locked(&root), locked(&root.join("fuzz"))).context("copying Cargo.lock to fuzz")?;
    let chosen = TARGETS
        .iter()
        .filter(|target| [ALL, *target].contains(&args.target.as_str()));
    for target in chosen {
        println!("\n== {target}: {} s", args.seconds);
        workspace::run(&mut fuzzer(&root, target, args.seconds)?)
            .with_context(|| format!("fuzzing {target}; the input is named above"))?;
    }
    Ok(())
}

/// What it finds new goes to `target/fuzz`; the committed corpus is only read.
fn fuzzer(root: &Path, target: &str, seconds: u32) -> Result<Command> {
    let work = root.join("target/fuzz");
    let found = work.join("corpus").join(target);
    let failed = work.join("failed").join(target);
    for folder in [&found, &failed] {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let mut cargo = workspace::cargo();
    cargo.args(["fuzz", "run", "--fuzz-dir", "fuzz", "--sanitizer", "none"]);
    cargo.arg("--target-dir").arg(work.join("build"));
    cargo.arg(target).arg(found);
    cargo.arg(root.join("fuzz/corpus").join(target)).arg("--");
    cargo.arg(format!("-artifact_prefix={}/", failed.display()));
    cargo.arg(format!("-max_total_time={seconds}"));
    cargo.arg(format!("-timeout={TIMEOUT_SECONDS}"));
    cargo.arg(format!("-rss_limit_mb={MEMORY_MIB}"));
    cargo.args(["-print_final_stats=1", "-verbosity=1"]);
    Ok(cargo)
}
