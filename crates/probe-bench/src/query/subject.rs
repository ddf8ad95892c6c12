//! Who is asked, and what an answer takes: CPU time and memory of the whole process.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use super::questions::Question;

/// A program that answers.
pub(super) enum Subject {
    ProbeQuery {
        binary: PathBuf,
        store: PathBuf,
    },
    DuckDb {
        /// What only opening a database takes.
        base_seconds: f64,
        store: PathBuf,
    },
    /// Given on the command line, for one question.
    Other {
        question: String,
        command: String,
    },
}

/// What one answer took.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Taken {
    /// Of CPU, user and system.
    pub(super) seconds: f64,
    /// From start to end.
    pub(super) wall_seconds: f64,
    /// Most that was resident.
    pub(super) peak_bytes: u64,
}

/// The hidden benchmark that runs one command: the kernel tells the peak of all children together.
#[derive(clap::Args)]
pub(crate) struct MeasureArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<OsString>,
}

/// Runs a command, and writes what it took behind its output.
pub(crate) fn measure_child(args: &MeasureArgs) -> Result<()> {
    let (program, words) = args.command.split_first().context("no command")?;
    let begin = Instant::now();
    let output = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let wall_seconds = begin.elapsed().as_secs_f64();
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed: {}", program.display(), told.trim());
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let time = usage.user_time() + usage.system_time();
    let taken = Taken {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        seconds: time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6,
        wall_seconds,
        peak_bytes: u64::try_from(usage.max_rss())? << 10,
    };
    print!("{}", String::from_utf8_lossy(&output.stdout));
    println!("\n{}", serde_json::to_string(&taken)?);
    Ok(())
}

impl Subject {
    /// DuckDB from Python; `None` where it is not installed.
    pub(super) fn duckdb(store: &Path) -> Option<(String, Self)> {
        let open = || measured(duckdb_command(&[]));
        let (version, _) = open().ok()?;
        let tries = (0..3).filter_map(|_| Some(open().ok()?.1.seconds));
        let base_seconds = tries.min_by(f64::total_cmp)?;
        let subject = Self::DuckDb {
            base_seconds,
            store: store.to_owned(),
        };
        Some((version.trim().to_owned(), subject))
    }

    /// Asks. Gives the bytes of each row of the answer in order, and what it took.
    pub(super) fn ask(&self, question: &Question) -> Result<Option<(Vec<u64>, Taken)>> {
        match self {
            Self::ProbeQuery { binary, store } => {
                let mut command = vec![binary.into(), "--store".into(), store.into()];
                command.extend(question.words.iter().map(OsString::from));
                let (text, taken) = measured(command)?;
                Ok(Some((bytes_of_json(&text)?, taken)))
            }
            Self::DuckDb {
                base_seconds,
                store,
            } => {
                let pattern = store.join("**/*.parquet").into_os_string();
                let sql = question.sql.clone().into();
                let (text, mut taken) = measured(duckdb_command(&[pattern, sql]))?;
                taken.seconds = (taken.seconds - base_seconds).max(0.0);
                let rows = text.split_whitespace().map(str::parse);
                Ok(Some((rows.collect::<Result<_, _>>()?, taken)))
            }
            Self::Other {
                question: name,
                command,
            } => {
                if name != question.name {
                    return Ok(None);
                }
                let command = ["sh", "-c", command].map(OsString::from);
                Ok(Some((Vec::new(), measured(command.to_vec())?.1)))
            }
        }
    }
}

fn duckdb_command(words: &[OsString]) -> Vec<OsString> {
    let script = include_str!("duckdb.py");
    let mut command: Vec<OsString> = ["python3", "-c", script].map(OsString::from).to_vec();
    command.extend(words.iter().cloned());
    command
}

fn measured(command: Vec<OsString>) -> Result<(String, Taken)> {
    let me = std::env::current_exe().context("cannot find this program")?;
    let output = Command::new(me).arg("measure-child").args(command).output();
    let output = output.context("cannot run this program again")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8(output.stdout)?;
    let (text, taken) = text
        .trim_end()
        .rsplit_once('\n')
        .context("no measurement")?;
    Ok((text.to_owned(), serde_json::from_str(taken)?))
}

fn bytes_of_json(text: &str) -> Result<Vec<u64>> {
    let answer: serde_json::Value = serde_json::from_str(text)?;
    if answer["completeness"]["complete"] != true {
        bail!("the answer is not complete: {}", answer["completeness"]);
    }
    let rows = answer["rows"].as_array().context("no rows")?;
    let count = |row: &serde_json::Value, name: &str| row[name].as_u64().context("no count");
    rows.iter()
        .map(|row| Ok(count(row, "bytes_rcvd")? + count(row, "bytes_sent")?))
        .collect()
}
