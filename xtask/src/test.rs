//! `cargo xtask test`: every test that can run here, and a list of what could not and why.
//!
//! A test that finds something missing appends one line to the file named by `PROBE_SKIP_LOG` and
//! returns; the lines are printed at the end. See `probe_testkit::skip`.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace;

mod failures;

/// How `not_in_this_kernel` of `skip.rs` words it.
const NOT_IN_THIS_KERNEL: &str = ": this kernel has no ";

/// What is tested. Whatever is built for the same packages finds the same libraries: Cargo takes the
/// features of a library from the packages that are built together.
pub(crate) const SELECTION: [&str; 4] = ["--locked", "--workspace", "--exclude", "probe-ebpf"];

#[derive(Default, clap::Args)]
pub(crate) struct Args {
    /// Run only tests whose name contains this.
    filter: Option<String>,
}

/// eBPF objects that were built for the tests.
#[derive(Default)]
pub(crate) struct Objects {
    /// Replaces the committed object.
    pub(crate) embedded: Option<PathBuf>,
    /// Has messages for the agent's log.
    pub(crate) with_log: Option<PathBuf>,
}

/// Where nextest writes which tests failed, as `.config/nextest.toml` says.
const JUNIT: &str = "target/nextest/default/junit.xml";

/// Builds and runs the tests, with the objects that they need. The names of those that failed are the
/// last lines.
pub(crate) fn run(args: &Args, objects: &Objects) -> Result<()> {
    let skip_log = workspace::root().join("target/skipped.log");
    let junit = workspace::root().join(JUNIT);
    forget(&skip_log)?;
    forget(&junit)?;
    let mut failed = BTreeSet::new();
    let mut failures = Vec::new();
    for mut command in commands(args) {
        command.env("PROBE_SKIP_LOG", &skip_log);
        if let Some(object) = &objects.embedded {
            command.env("PROBE_BPF_OBJECT", object);
        }
        if let Some(object) = &objects.with_log {
            command.env("PROBE_BPF_LOG_OBJECT", object);
        }
        let (outcome, names) = failures::run(&mut command)?;
        failed.extend(names);
        failures.extend(outcome.err());
    }
    // There is none where nothing was built.
    failed.extend(failures::of_junit(
        &fs::read_to_string(&junit).unwrap_or_default(),
    ));
    report_skipped(&skip_log)?;
    for failure in &failures {
        eprintln!("{failure:#}");
    }
    match (failures.is_empty(), failed.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => bail!("the tests cannot be built, or did not end"),
        (false, false) => {
            let names: Vec<_> = failed.iter().map(String::as_str).collect();
            bail!("{} tests failed:\n  {}", names.len(), names.join("\n  "))
        }
    }
}

/// nextest where it is installed: it is faster and shows what hangs. It runs no documentation
/// tests, so those follow. Without it, `cargo test` runs both.
fn commands(args: &Args) -> Vec<Command> {
    let cargo = |words: &[&str]| {
        let mut cargo = workspace::cargo();
        cargo.args(words).args(SELECTION).arg("--no-fail-fast");
        cargo
    };
    let mut commands = if has_nextest() {
        let mut nextest = cargo(&["nextest", "run"]);
        nextest.arg("--no-tests=fail");
        vec![nextest, cargo(&["test", "--doc"])]
    } else {
        println!("cargo-nextest is not installed: running `cargo test`");
        vec![cargo(&["test"])]
    };
    for command in &mut commands {
        command.args(&args.filter);
    }
    commands
}

fn has_nextest() -> bool {
    workspace::output(workspace::cargo().args(["nextest", "--version"])).is_ok()
}

fn forget(skip_log: &Path) -> Result<()> {
    match fs::remove_file(skip_log) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", skip_log.display()))
        }
        _ => Ok(()),
    }
}

fn report_skipped(skip_log: &Path) -> Result<()> {
    let lines = match fs::read_to_string(skip_log) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("reading {}", skip_log.display()))?,
    };
    // What the kernel was built without is no skip: nothing that could be installed would help.
    let (absent, skipped): (BTreeSet<_>, BTreeSet<_>) = lines
        .lines()
        .partition(|line| line.contains(NOT_IN_THIS_KERNEL));
    if !absent.is_empty() {
        println!(
            "\nnot in this kernel, so not tested on it: {}",
            absent.len()
        );
        print_lines(&absent);
    }
    if skipped.is_empty() {
        println!("\nskipped: nothing");
        return Ok(());
    }
    println!("\nskipped: {}", skipped.len());
    print_lines(&skipped);
    Ok(())
}

fn print_lines(lines: &BTreeSet<&str>) {
    for line in lines {
        println!("  {line}");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::SELECTION;
    use crate::workspace;

    /// Each library with its features, as that command line takes them.
    fn libraries(selection: &[&str], edges: &str) -> BTreeSet<String> {
        let mut tree = workspace::cargo();
        tree.arg("tree").args(selection).args(["--edges", edges]);
        tree.args(["--prefix", "none", "--format", "{p}|{f}"]);
        let tree = workspace::output(&mut tree).expect("cargo knows the dependencies");
        let lines = tree.lines().map(|line| {
            let line = line.trim_end_matches(" (*)");
            line.replace(" (proc-macro)", "")
        });
        lines.collect()
    }

    #[test]
    fn cargo_xtask_builds_what_the_tests_use() {
        let xtask = libraries(&["--locked", "--package", "xtask"], "normal,build");
        let tests = libraries(&SELECTION, "normal,build,dev");
        let of_no_test: Vec<_> = xtask.difference(&tests).collect();
        assert!(xtask.len() > 20, "{xtask:?}");
        assert!(of_no_test.is_empty(), "built twice: {of_no_test:#?}");
    }
}
