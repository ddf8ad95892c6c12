//! `cargo xtask kernels`: the agent on other kernels than this machine's, in qemu.
//!
//! Debian's own kernel packages, without a disk: the initramfs holds busybox, iproute2, the agent, the
//! end-to-end tests and a script (`kernels/init.sh`). The script runs the self-test, captures a ping
//! on a veth pair, runs the tests of link kinds and prints what came of it. KVM makes it fast, and most
//! virtual machines have none: emulation will do.

mod guest;
mod image;
mod kinds;
mod modules;
mod package;
mod programs;
mod report;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use self::{kinds::Table, package::Package, programs::Programs};
use crate::workspace;

/// Debian's series: one before TCX (6.6), where clsact has to do, and one after.
const SERIES: [&str; 2] = ["6.1", "6.12"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Series of Debian's kernels, such as 6.1; several may be given.
    #[arg(long = "series", value_name = "VERSION", default_values_t = SERIES.map(str::to_owned))]
    series: Vec<String>,
    /// Test this agent instead of building one.
    #[arg(long, value_name = "BINARY")]
    agent: Option<PathBuf>,
    /// Show everything that the machines print.
    #[arg(long)]
    verbose: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    require_programs()?;
    let programs = Programs::build(&mut workspace::cargo(), args.agent.as_deref())?;
    try_series(&args.series, &programs, args.verbose)
}

/// The newest series that this Debian has: the form for CI, of one machine. Verifiers of older kernels
/// take twice the time.
pub(crate) fn short(cargo: &mut Command) -> Result<()> {
    require_programs()?;
    let programs = Programs::build(cargo, None)?;
    let mut newest_first = SERIES.into_iter().rev();
    let series = newest_first.find(|series| package::has_series(series));
    try_series(&[series.unwrap_or(SERIES[0]).to_owned()], &programs, false)
}

fn try_series(series: &[String], programs: &Programs, verbose: bool) -> Result<()> {
    let folder = workspace::root().join("target/kernels");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let mut failed = Vec::new();
    let mut table = Table::default();
    for series in series {
        println!(":: Debian's {series}");
        match try_kernel(series, programs, &folder, verbose, &mut table) {
            Ok(summary) => println!("{summary}"),
            Err(error) => {
                eprintln!("error: {error:#}");
                failed.push(series.as_str());
            }
        }
    }
    println!("\n{table}\n");
    if !failed.is_empty() {
        bail!("does not work on: {}", failed.join(", "));
    }
    let links = workspace::root().join("docs/LINKS.md");
    let links =
        fs::read_to_string(&links).with_context(|| format!("reading {}", links.display()))?;
    table.judge(&kinds::documented(&links))
}

/// What is not on every machine, all at once.
fn require_programs() -> Result<()> {
    const PROGRAMS: [(&str, &str); 9] = [
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("busybox", "busybox-static"),
        ("cpio", "cpio"),
        ("xz", "xz-utils"),
        ("apt-get", "apt"),
        ("dpkg", "dpkg"),
        ("ldd", "libc-bin"),
        ("python3", "python3"),
        ("strip", "binutils"),
    ];
    let mut missing: Vec<_> = PROGRAMS
        .into_iter()
        .chain(image::TOOLS)
        .filter(|(program, _)| workspace::find_program(program).is_none())
        .map(|(_, package)| package)
        .collect();
    missing.dedup();
    if !missing.is_empty() {
        bail!(
            "missing: apt-get install --no-install-recommends {}",
            missing.join(" ")
        );
    }
    Ok(())
}

fn try_kernel(
    series: &str,
    programs: &Programs,
    folder: &Path,
    verbose: bool,
    table: &mut Table,
) -> Result<String> {
    let package = Package::of_series(series, folder)?;
    let image = image::build(&package, programs, folder)?;
    let printed = guest::run(&package.kernel()?, &image, verbose)?;
    table.add(&package.release, &printed);
    let judged = report::judge(&printed, &package.release);
    if judged.is_err() && !verbose {
        println!("{printed}");
    }
    judged
}
