//! Questions of the tests: the words of a command line, and the JSON of the answer.

use std::path::Path;

use clap::Parser;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::{ask::ask, cli::Cli, error::QueryError, output::Json, progress::Progress, time::Now};

/// Asks a store as of the end of November 2026, in UTC.
pub(crate) fn ask_json(root: &Path, words: &[&str]) -> Result<Value, QueryError> {
    let cli = ["probe-query", "--utc", "--store", root.to_str().unwrap()];
    let cli = Cli::try_parse_from(cli.iter().chain(words)).unwrap();
    let now = Now::new("2026-12-01T00:30:00Z".parse().unwrap(), TimeZone::UTC);
    let question = cli.question(now, true)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let mut out = Vec::new();
    runtime.block_on(ask(
        &question,
        &mut Json::new(&mut out),
        &Progress::hidden(),
    ))?;
    let text = || String::from_utf8_lossy(&out);
    Ok(serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", text())))
}
