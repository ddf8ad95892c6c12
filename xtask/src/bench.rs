//! `cargo xtask bench`: builds the benchmarks and what they measure, and runs them.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{build_ebpf, query, workspace};

/// What `bench all` runs, by name, with the words for it and those for its short form. All but `query`, which
/// has to build a query engine in release.
const BENCHMARKS: [(&str, &str, &str); 8] = [
    ("kernel", "kernel", "kernel"),
    ("flowlog", "flowlog", "flowlog"),
    ("sinks", "sinks", "sinks"),
    ("rotation", "rotation", "rotation"),
    ("scale", "scale", "scale"),
    ("impact", "impact", "impact"),
    ("e2e", "e2e", "e2e"),
    ("flood", "e2e --flood 60", "e2e --flood 4 --max-flows 50000"),
];

#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// `kernel`, `flowlog`, `sinks`, `query`, `rotation`, `e2e`, `impact`, `scale` or `all`, and what that
    /// takes: `--help` tells.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    words: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let bench = Bench::build(args.words.iter().any(|word| word == "--short"))?;
    match args.words.split_first() {
        Some((first, rest)) if first == "all" => bench.all(rest),
        _ => bench.run(&args.words),
    }
}

/// The short form of all: whether they work, and whether the ratios are in order.
pub(crate) fn short() -> Result<()> {
    Bench::build(true)?.all(&["--short", "--check"].map(str::to_owned))
}

/// The executable of the built benchmarks.
struct Bench {
    folder: PathBuf,
    programs: PathBuf,
}

impl Bench {
    /// In release, as the agent is shipped; the short form takes the debug build, which the tests
    /// have left.
    fn build(is_short: bool) -> Result<Self> {
        eprintln!(":: building the agent and its benchmarks");
        let mut build = workspace::cargo();
        build.args(["build", "--locked", "--bins"]);
        build.args(["--package", "probe-agent", "--package", "probe-bench"]);
        if !is_short {
            build.arg("--release");
        }
        workspace::run(&mut build)?;
        let xtask = env::current_exe().context("cannot find the build directory")?;
        // Of `target/debug/xtask`.
        let target = xtask.ancestors().nth(2);
        let target = target.context("cannot find the build directory")?;
        let folder = target.join(if is_short { "debug" } else { "release" });
        let programs = build_ebpf::bench_object()?;
        Ok(Self { folder, programs })
    }

    fn run<S: AsRef<std::ffi::OsStr>>(&self, words: &[S]) -> Result<()> {
        let mut bench = std::process::Command::new(self.folder.join("probe-bench"));
        bench.args(words);
        let is_of_query = words.first().is_some_and(|word| word.as_ref() == "query");
        if is_of_query && !words.iter().any(|word| word.as_ref() == "--query") {
            // Optimised in the short form, too: what it takes is compared with what others take.
            bench.arg("--query").arg(query::build()?);
        }
        if !words.iter().any(|word| word.as_ref() == "--agent") {
            bench.arg("--agent").arg(self.folder.join("probe-agent"));
        }
        workspace::run(bench.arg("--programs").arg(&self.programs))
    }

    /// One after the other, also after one that failed. `--json FOLDER` gets a file of each.
    fn all(&self, words: &[String]) -> Result<()> {
        let mut words = words.to_vec();
        let mut folder = None;
        if let Some(position) = words.iter().position(|word| word == "--json") {
            folder = words.drain(position..).nth(1);
            let folder = folder.as_ref().context("--json wants a folder")?;
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {folder}"))?;
        }
        let mut failed = Vec::new();
        let is_short = words.iter().any(|word| word == "--short");
        for (name, usual, short) in BENCHMARKS {
            println!("\n### {name}\n");
            let own = if is_short { short } else { usual };
            let mut one: Vec<_> = own.split(' ').map(str::to_owned).collect();
            one.extend(words.iter().cloned());
            if let Some(folder) = &folder {
                let file = Path::new(folder).join(format!("{name}.json"));
                one.extend(["--json".to_owned(), file.display().to_string()]);
            }
            if let Err(error) = self.run(&one) {
                eprintln!("error: {error:#}");
                failed.push(name);
            }
        }
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        Ok(())
    }
}
