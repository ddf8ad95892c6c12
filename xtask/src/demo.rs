//! `cargo xtask demo`: the newcomer's first command.
//!
//! Makes two network namespaces joined by a veth pair, starts the agent on one end, drives real
//! traffic through it, stops the agent and shows what it wrote: flows, metrics and the ledger,
//! beside the kernel's own counters of the link. Everything it made is gone afterwards.

mod agent;
mod net;
mod report;
mod traffic;

use std::{io::IsTerminal, path::PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace;

const BUNDLED_CAPTURE: &str = "probe-agent/tests/data/demo.pcap";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show the bundled capture instead of live traffic, as happens without root.
    #[arg(long)]
    replay: bool,
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
    live(&binary)
}

fn live(binary: &std::path::Path) -> Result<()> {
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
    step("driving TCP, UDP and ping over IPv4 and IPv6");
    traffic::drive(&testbed).context("the demo's own traffic failed")?;
    let link = net::quiet_link_counters(&testbed)?;
    let metrics = running.try_exposition()?;
    step("stopping the agent: it writes the open interval");
    let written = agent::stop(running)?;
    let link_after = net::link_counters(&testbed)?;
    report::print(&written, &metrics, &link)?;
    if link != link_after {
        step(
            "a few packets passed while the agent was closing; the totals above may differ by them",
        );
        return Ok(());
    }
    report::check(&written, &link)?;
    drop(testbed);
    step("namespaces, veth and programs are gone again");
    Ok(())
}

fn replay(binary: &std::path::Path) -> Result<()> {
    let capture = workspace::root().join(BUNDLED_CAPTURE);
    let mut replay = std::process::Command::new(binary);
    workspace::run(replay.arg("replay").arg(capture))
}

fn build_agent() -> Result<PathBuf> {
    step("building the agent (the first time takes a minute or two)");
    workspace::run(workspace::cargo().args(["build", "--package", "probe-agent"]))?;
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
