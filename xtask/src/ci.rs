//! `cargo xtask ci`: all checks of a change, in order, with their times; or the named ones.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build_ebpf::{self, Checked};
use crate::{bench, crate_graph, kernels, query, test, tidy, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these steps; all by default.
    #[arg(value_parser = STEPS.map(|step| step.name))]
    steps: Vec<String>,
}

struct Step {
    name: &'static str,
    run: fn(&mut Run) -> Result<StepResult>,
}

enum StepResult {
    Passed,
    /// Passed, but something could not be checked.
    Partly(String),
}

/// What one step leaves to the next ones.
#[derive(Default)]
struct Run {
    /// The object to test where the committed one could not be compared.
    bpf_object: Option<PathBuf>,
    /// The programs with messages, for the test that reads one.
    bpf_log_object: Option<PathBuf>,
}

/// The object comes before whatever compiles the agent, which embeds it.
const STEPS: [Step; 12] = [
    Step {
        name: "fmt",
        run: fmt,
    },
    Step {
        name: "tidy",
        run: |_| passed(tidy::run()),
    },
    Step {
        name: "crates",
        run: |_| passed(crate_graph::run()),
    },
    Step {
        name: "object",
        run: object,
    },
    Step {
        name: "clippy",
        run: clippy,
    },
    Step {
        name: "docs",
        run: docs,
    },
    Step {
        name: "unused",
        run: unused,
    },
    Step {
        name: "deny",
        run: deny,
    },
    Step {
        name: "test",
        run: tests,
    },
    Step {
        name: "query",
        run: |_| passed(query::check()),
    },
    Step {
        name: "kernels",
        run: |run| passed(kernels::short(&mut run.cargo())),
    },
    Step {
        name: "bench",
        run: |_| passed(bench::short()),
    },
];

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut run = Run::default();
    let mut results = Vec::new();
    for step in STEPS {
        if !args.steps.is_empty() && !args.steps.iter().any(|name| name == step.name) {
            continue;
        }
        println!("\n== {}", step.name);
        let started = Instant::now();
        let outcome = (step.run)(&mut run);
        let took = started.elapsed();
        if let Err(error) = &outcome {
            eprintln!("error: {error:#}");
        }
        println!("== {}: {:.1} s", step.name, took.as_secs_f64());
        results.push((step.name, outcome, took));
    }
    summarise(&results)
}

fn summarise(results: &[(&str, Result<StepResult>, Duration)]) -> Result<()> {
    println!("\n== summary");
    for (name, outcome, took) in results {
        let verdict = match outcome {
            Ok(StepResult::Passed) => "ok",
            Ok(StepResult::Partly(reason)) => &format!("ok, but {reason}"),
            Err(_) => "FAILED",
        };
        println!("{name:8} {:7.1} s  {verdict}", took.as_secs_f64());
    }
    let failed: Vec<_> = results
        .iter()
        .filter(|(_, outcome, _)| outcome.is_err())
        .map(|(name, ..)| *name)
        .collect();
    if !failed.is_empty() {
        bail!(
            "failed: {}; run one alone with `cargo xtask ci STEP`",
            failed.join(", ")
        );
    }
    Ok(())
}

impl Run {
    fn cargo(&self) -> Command {
        let mut cargo = workspace::cargo();
        if let Some(object) = &self.bpf_object {
            cargo.env("PROBE_BPF_OBJECT", object);
        }
        cargo
    }
}

fn fmt(run: &mut Run) -> Result<StepResult> {
    passed(workspace::run(
        run.cargo().args(["fmt", "--all", "--check"]),
    ))
}

fn object(run: &mut Run) -> Result<StepResult> {
    let checked = build_ebpf::check()?;
    let with_log = workspace::root().join("target/probe-log.bpf.o");
    build_ebpf::with_log(&with_log)?;
    run.bpf_log_object = Some(with_log);
    match checked {
        Checked::Same => Ok(StepResult::Passed),
        Checked::NotCompared { built } => {
            run.bpf_object = Some(built);
            Ok(StepResult::Partly(
                "bytes were not compared: another toolchain".to_owned(),
            ))
        }
    }
}

/// The programs are linted for the host: it has no BPF target to lint for. With the `bpf`
/// profile, since a program without `std` can only abort.
fn clippy(run: &mut Run) -> Result<StepResult> {
    let mut agent = run.cargo();
    agent.args([
        "clippy",
        "--locked",
        "--workspace",
        "--exclude",
        "probe-ebpf",
        "--all-targets",
    ]);
    workspace::run(agent.args(["--", "-D", "warnings"]))?;
    let mut programs = run.cargo();
    programs.args([
        "clippy",
        "--locked",
        "--package",
        "probe-ebpf",
        "--features",
        "bench,lint",
        "--profile",
        "bpf",
    ]);
    passed(workspace::run(programs.args(["--", "-D", "warnings"])))
}

/// With private items: the readers are those who work on it.
fn docs(run: &mut Run) -> Result<StepResult> {
    let mut doc = run.cargo();
    doc.args([
        "doc",
        "--locked",
        "--no-deps",
        "--document-private-items",
        "--workspace",
        "--exclude",
        "probe-ebpf",
    ]);
    let flags = "-D warnings -A rustdoc::private_intra_doc_links";
    passed(workspace::run(doc.env("RUSTDOCFLAGS", flags)))
}

/// Dependencies that nothing uses.
fn unused(run: &mut Run) -> Result<StepResult> {
    need(run, "machete")?;
    passed(workspace::run(run.cargo().arg("machete")))
}

/// Fails where a subcommand of cargo is missing: a step that did not run has not passed.
fn need(run: &Run, subcommand: &str) -> Result<()> {
    let asked = workspace::output(run.cargo().args([subcommand, "--version"]));
    asked.map(drop).with_context(|| {
        format!("cargo-{subcommand} is missing: `cargo install --locked cargo-{subcommand}`")
    })
}

/// Not the advisories: those change with the day, not with the change that is checked.
fn deny(run: &mut Run) -> Result<StepResult> {
    need(run, "deny")?;
    let mut deny = run.cargo();
    passed(workspace::run(deny.args([
        "deny", "--locked", "check", "bans", "licenses", "sources",
    ])))
}

fn tests(run: &mut Run) -> Result<StepResult> {
    need(run, "nextest")?;
    let objects = test::Objects {
        embedded: run.bpf_object.clone(),
        with_log: run.bpf_log_object.clone(),
    };
    passed(test::run(&test::Args::default(), &objects))
}

fn passed(result: Result<()>) -> Result<StepResult> {
    result.map(|()| StepResult::Passed)
}
