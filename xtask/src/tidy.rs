//! `cargo xtask tidy`: what the compiler does not check. One file per check.

mod attributes;
mod budgets;
mod invariants;
mod markers;
mod metrics;
mod short_docs;
mod wire_types;
mod words;

use std::fmt::{self, Display};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Folders with sources of the house.
const FOLDERS: [&str; 6] = [
    "probe-agent",
    "probe-common",
    "probe-ebpf",
    "crates",
    "xtask",
    "fuzz",
];

/// Folders with pages for people; the first is the root itself.
const PAGES: [&str; 4] = ["", "config", "docs", "deploy"];

type Check = fn(&[Source]) -> Vec<Finding>;

const CHECKS: [Check; 6] = [
    attributes::check,
    budgets::check,
    markers::check,
    metrics::check,
    short_docs::check,
    wire_types::check,
];

/// One source file and its text.
struct Source {
    /// From the workspace root, with `/`.
    path: String,
    text: String,
}

struct Finding {
    path: String,
    /// Counted from 1; 0 for the file as a whole.
    line: usize,
    message: String,
    severity: Severity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Warning,
    Error,
}

pub(crate) fn run() -> Result<()> {
    let sources = read_sources(&workspace::root())?;
    let mut findings: Vec<_> = CHECKS.iter().flat_map(|check| check(&sources)).collect();
    let architecture = fs::read_to_string(workspace::root().join("ARCHITECTURE.md"))
        .context("reading ARCHITECTURE.md")?;
    findings.extend(invariants::check(&architecture, &sources));
    let pages = read_pages(&workspace::root())?;
    findings.extend(
        words::check(&sources)
            .into_iter()
            .chain(words::check(&pages)),
    );
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .count();
    let warnings = findings.len() - errors;
    println!(
        "tidy: {} files, {errors} errors, {warnings} warnings",
        sources.len()
    );
    if errors > 0 {
        bail!("the tree is not tidy");
    }
    Ok(())
}

impl Source {
    /// Lines with their numbers, up to the file's own tests. A module of tests that lies in a file
    /// of its own is declared anywhere, and ends nothing.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let next = self.text.lines().skip(1).chain([""]);
        let code = self.text.lines().zip(next);
        code.take_while(|(line, next)| *line != "#[cfg(test)]" || next.ends_with(';'))
            .enumerate()
            .map(|(index, (line, _))| (index + 1, line))
    }

    fn error(&self, line: usize, message: impl Into<String>) -> Finding {
        self.finding(line, message, Severity::Error)
    }

    fn finding(&self, line: usize, message: impl Into<String>, severity: Severity) -> Finding {
        Finding {
            path: self.path.clone(),
            line,
            message: message.into(),
            severity,
        }
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}: {}", self.path)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}", self.message)
    }
}

fn read_sources(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for folder in FOLDERS
        .map(|folder| root.join(folder))
        .iter()
        .filter(|folder| folder.is_dir())
    {
        read_folder(root, folder, &mut sources)?;
    }
    sources.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(sources)
}

/// Pages that people read, but for the history in CHANGELOG.md.
fn read_pages(root: &Path) -> Result<Vec<Source>> {
    let mut pages = Vec::new();
    for folder in PAGES {
        let folder = root.join(folder);
        let reading = || format!("reading {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(reading)? {
            let path = entry.with_context(reading)?.path();
            let is_page = path
                .extension()
                .is_some_and(|it| it == "md" || it == "yaml");
            if is_page && !path.ends_with("CHANGELOG.md") {
                pages.push(read_source(root, &path)?);
            }
        }
    }
    pages.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(pages)
}

fn read_folder(root: &Path, folder: &Path, sources: &mut Vec<Source>) -> Result<()> {
    let reading = || format!("reading {}", folder.display());
    for entry in fs::read_dir(folder).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            read_folder(root, &path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(read_source(root, &path)?);
        }
    }
    Ok(())
}

fn read_source(root: &Path, path: &Path) -> Result<Source> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let path = path
        .strip_prefix(root)
        .unwrap_or(path)
        .to_string_lossy()
        .into_owned();
    Ok(Source { path, text })
}

/// The part of a line before its comment. Rough: `//` in a string cuts it too.
fn without_comment(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// Whether a word stands in a line by itself, not inside a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

#[cfg(test)]
mod tests {
    use super::{Check, Source, has_word};

    /// What one check says about these files.
    pub(super) fn findings(check: Check, files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> = files
            .iter()
            .map(|(path, text)| Source {
                path: (*path).to_owned(),
                text: (*text).to_owned(),
            })
            .collect();
        check(&sources).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn words_are_whole_names() {
        assert!(has_word("use aya::Ebpf;", "aya"));
        assert!(!has_word("use aya_log::EbpfLogger;", "aya"));
        assert!(!has_word("let papaya = 1;", "aya"));
    }
}
