//! What a benchmark found: a table for people, numbers for programs, and verdicts.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{Common, facts::Facts};

/// A table in Markdown. The first column is text, the others are numbers.
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            header: header.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn print(&self) {
        println!("| {} |", self.header.join(" | "));
        println!("| --- |{}", " ---: |".repeat(self.header.len() - 1));
        for row in &self.rows {
            println!("| {} |", row.join(" | "));
        }
        println!();
    }
}

/// A target, and whether it was met.
pub(crate) struct Verdict {
    pub(crate) target: String,
    pub(crate) value: f64,
    pub(crate) limit: f64,
    /// The value must not be above the limit; else not below.
    pub(crate) is_upper: bool,
}

impl Verdict {
    pub(crate) fn at_most(target: impl Into<String>, value: f64, limit: f64) -> Self {
        Self {
            target: target.into(),
            value,
            limit,
            is_upper: true,
        }
    }

    pub(crate) fn at_least(target: impl Into<String>, value: f64, limit: f64) -> Self {
        Self {
            is_upper: false,
            ..Self::at_most(target, value, limit)
        }
    }

    fn is_met(&self) -> bool {
        if self.is_upper {
            self.value <= self.limit
        } else {
            self.value >= self.limit
        }
    }
}

/// Prints the verdicts, writes the JSON, and fails with `--check` where a target is missed.
pub(crate) fn finish(
    common: &Common,
    facts: &Facts,
    benchmark: &str,
    mut numbers: Value,
    verdicts: &[Verdict],
) -> Result<()> {
    for verdict in verdicts {
        let Verdict {
            target,
            value,
            limit,
            is_upper,
        } = verdict;
        let word = if verdict.is_met() { "met" } else { "MISSED" };
        let sign = if *is_upper { "<=" } else { ">=" };
        println!("* {target}: {value:.3}, target {sign} {limit:.3}: {word}");
    }
    println!();
    numbers["benchmark"] = json!(benchmark);
    numbers["facts"] = facts.json();
    numbers["targets"] = verdicts
        .iter()
        .map(|it| json!({ "target": it.target, "value": it.value, "limit": it.limit, "met": it.is_met() }))
        .collect();
    if let Some(path) = &common.json {
        write(path, &numbers)?;
    }
    let missed = verdicts.iter().filter(|verdict| !verdict.is_met()).count();
    if common.check && missed > 0 {
        bail!(
            "bench {benchmark}: {missed} of {} targets missed",
            verdicts.len()
        );
    }
    Ok(())
}

fn write(path: &Path, numbers: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(numbers)? + "\n";
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
