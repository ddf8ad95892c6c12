//! `cargo xtask demo`: the newcomer's first command.
//!
//! Makes two network namespaces joined by a veth pair, starts the agent on one end and drives real
//! traffic through it. Meanwhile it shows what the agent's own commands say. Then it stops the agent,
//! and shows metrics and the ledger beside the kernel's own counters of the link. Everything it made
//! is gone afterwards.

mod agent;
mod load;
mod net;
mod over;
mod report;
mod traffic;
mod window;

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{test, workspace};

const BUNDLED_CAPTURE: &str = "probe-agent/tests/data/demo.pcap";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show the bundled capture instead of live traffic, as happens without root.
    #[arg(long)]
    replay: bool,
    /// Test of the demo itself: so many runs, beside threads that keep every CPU busy.
    #[arg(long, value_name = "RUNS", conflicts_with = "replay")]
    under_load: Option<u32>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let binary = build_agent()?;
    if args.replay {
        return replay(&binary);
    }
    if !rustix::process::geteuid().is_root() {
        step("not root, so no live capture: `sudo -E cargo xtask demo` shows it");
        step("the same pipeline on a bundled capture instead:");
        return replay(&binary);
    }
    if workspace::find_program("ip").is_none() {
        bail!("the `ip` command is missing: install iproute2 (Debian: apt-get install iproute2)");
    }
    match args.under_load {
        Some(runs) => load::beside(runs, || live(&binary)),
        None => live(&binary),
    }
}

fn live(binary: &Path) -> Result<()> {
    step("making two network namespaces joined by a veth pair");
    let testbed = match net::testbed() {
        Ok(testbed) => testbed,
        Err(error) => {
            step(&format!(
                "no namespaces can be made here, so no live capture: {error:#}"
            ));
            step("the same pipeline on a bundled capture instead:");
            return replay(binary);
        }
    };
    step("starting the agent on one end");
    let running = agent::start(binary, &testbed)?;
    net::go_up(&testbed)?;
    let open = window::boundary(&testbed, &running)?;
    step("driving TCP, UDP and ping over IPv4 and IPv6; what the agent says meanwhile:");
    traffic::drive_while(&testbed, || agent::show(binary, &running))
        .context("the demo's own traffic failed")?;
    step("waiting until the link is quiet");
    let closed = window::boundary(&testbed, &running)?;
    let metrics = running.try_exposition()?;
    step("stopping the agent: it writes the open interval");
    let written = agent::stop(running)?.within(&open, &closed);
    let link = closed.link.since(open.link);
    report::print(&written, &metrics, &link)?;
    report::check(&written, &link)?;
    drop(testbed);
    step("namespaces, veth and programs are gone again");
    Ok(())
}

fn replay(binary: &Path) -> Result<()> {
    let capture = workspace::root().join(BUNDLED_CAPTURE);
    let mut replay = std::process::Command::new(binary);
    workspace::run(replay.arg("replay").arg(capture))
}

/// Builds the agent and nothing else, with the libraries that the tests use.
fn build_agent() -> Result<PathBuf> {
    step("building the agent: some 200 crates the first time, two to four minutes on two CPUs");
    let mut build = workspace::cargo();
    build.arg("build").args(test::SELECTION);
    workspace::run(build.args(["--bin", "probe-agent", "--example", "one_build"]))?;
    let target = std::env::current_exe().context("cannot find the build directory")?;
    let binary = target.with_file_name("probe-agent");
    if !binary.is_file() {
        bail!(
            "the build left no {}: is CARGO_TARGET_DIR set differently?",
            binary.display()
        );
    }
    Ok(binary)
}

/// Says what is being done, on standard error, so that standard output holds results only.
fn step(sentence: &str) {
    if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        eprintln!("\x1b[1;34m::\x1b[0m {sentence}");
    } else {
        eprintln!(":: {sentence}");
    }
}
