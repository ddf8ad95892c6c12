//! `cargo xtask kernels`: the agent on other kernels than this machine's, in qemu.
//!
//! Debian's own kernel packages, without a disk: the initramfs holds busybox, iproute2, the agent
//! and a script (`kernels/init.sh`) that runs the self-test, captures a ping on a veth pair and
//! prints what came of it. Without KVM, which is not to be had in most virtual machines, or does not
//! work there although it is.

mod image;
mod report;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::workspace::{self, output};

/// Debian's series: one before TCX (6.6), where clsact has to do, and one after.
const SERIES: [&str; 2] = ["6.1", "6.12"];

/// How long a machine may take from power on to off; on a quiet host it takes less than a minute.
const PATIENCE_SECONDS: &str = "400";

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
    let agent = match &args.agent {
        Some(agent) => agent.clone(),
        None => build_agent()?,
    };
    let folder = workspace::root().join("target/kernels");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let mut failed = Vec::new();
    for series in &args.series {
        println!(":: Debian's {series}");
        match try_kernel(series, &agent, &folder, args.verbose) {
            Ok(summary) => println!("{summary}"),
            Err(error) => {
                eprintln!("error: {error:#}");
                failed.push(series.as_str());
            }
        }
    }
    if !failed.is_empty() {
        bail!("does not work on: {}", failed.join(", "));
    }
    Ok(())
}

/// What is not on every machine, all at once.
fn require_programs() -> Result<()> {
    const PROGRAMS: [(&str, &str); 7] = [
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("busybox", "busybox-static"),
        ("ip", "iproute2"),
        ("cpio", "cpio"),
        ("xz", "xz-utils"),
        ("apt-get", "apt"),
        ("ldd", "libc-bin"),
    ];
    let missing: Vec<_> = PROGRAMS
        .into_iter()
        .filter(|(program, _)| workspace::find_program(program).is_none())
        .map(|(_, package)| package)
        .collect();
    if !missing.is_empty() {
        bail!(
            "missing: apt-get install --no-install-recommends {}",
            missing.join(" ")
        );
    }
    Ok(())
}

fn build_agent() -> Result<PathBuf> {
    workspace::run(workspace::cargo().args(["build", "--locked", "--package", "probe-agent"]))?;
    Ok(workspace::root().join("target/debug/probe-agent"))
}

fn try_kernel(series: &str, agent: &Path, folder: &Path, verbose: bool) -> Result<String> {
    let package = newest_package(series)?;
    let unpacked = unpack(&package, folder)?;
    let release = package
        .strip_prefix("linux-image-")
        .unwrap_or(&package)
        .to_owned();
    let image = image::build(&unpacked, &release, agent, folder)?;
    let mut qemu = Command::new("timeout");
    qemu.args([PATIENCE_SECONDS, "qemu-system-x86_64"])
        .args(["-m", "1024", "-smp", "2", "-nographic", "-no-reboot"])
        .args(["-accel", "tcg", "-kernel"])
        .arg(unpacked.join(format!("boot/vmlinuz-{release}")))
        .arg("-initrd")
        .arg(&image)
        .args(["-append", "console=ttyS0 quiet panic=-1"]);
    let finished = qemu.stdin(Stdio::null()).output();
    let finished = finished.context("`qemu-system-x86_64` did not start")?;
    let printed = String::from_utf8_lossy(&finished.stdout);
    if verbose {
        println!("{printed}");
    }
    report::judge(&printed, &release)
        .map_err(|problem| problem.context(format!("it printed:\n{printed}")))
}

/// The newest image of a series, of those that Debian builds for virtual machines.
fn newest_package(series: &str) -> Result<String> {
    let prefix = format!("linux-image-{series}.");
    let names = output(Command::new("apt-cache").args(["pkgnames", &prefix]))?;
    let mut names: Vec<_> = names
        .lines()
        .filter(|name| name.ends_with("-cloud-amd64"))
        .collect();
    names.sort_by_key(|name| numbers(name));
    let newest = names.last().with_context(|| {
        format!("this Debian has no kernel {series}: `apt-get update`, or name another --series")
    })?;
    Ok((*newest).to_owned())
}

/// The numbers in a name, which order versions.
fn numbers(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// Fetches and unpacks a package, once.
fn unpack(package: &str, folder: &Path) -> Result<PathBuf> {
    let unpacked = folder.join(package);
    if unpacked.is_dir() {
        return Ok(unpacked);
    }
    let mut download = Command::new("apt-get");
    download.args(["--quiet", "--quiet", "download", package]);
    workspace::run(download.current_dir(folder))?;
    let is_archive = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&format!("{package}_")) && name.ends_with(".deb")
    };
    let archive = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(is_archive)
        .with_context(|| format!("apt-get left no archive of {package}"))?;
    let partly = folder.join(format!("{package}.part"));
    workspace::run(Command::new("dpkg").arg("-x").args([&archive, &partly]))?;
    fs::remove_file(&archive)?;
    fs::rename(&partly, &unpacked)?;
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let older = numbers("linux-image-6.1.0-9-cloud-amd64");
        let newer = numbers("linux-image-6.1.0-52-cloud-amd64");
        assert!(older < newer, "{older:?} {newer:?}");
    }
}
