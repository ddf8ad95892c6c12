//! Which tests failed, from what the runners write.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use probe_testkit::command::shown;

/// Runs a command with its output visible. Whether it failed, and the tests that libtest says did.
pub(super) fn run(command: &mut Command) -> Result<(Result<()>, Vec<String>)> {
    let text = shown(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("`{text}` did not start: is it installed?"))?;
    let mut failed = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.context("the output of the tests is no text")?;
            println!("{line}");
            failed.extend(of_line(&line));
        }
    }
    let status = child.wait()?;
    let outcome = if status.success() {
        Ok(())
    } else {
        Err(anyhow::anyhow!("`{text}` failed ({status})"))
    };
    Ok((outcome, failed))
}

/// `test NAME ... FAILED`, as libtest writes it; of documentation tests `FILE - ITEM (line N)`.
fn of_line(line: &str) -> Option<String> {
    let name = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
    Some(name.to_owned())
}

/// The test cases of a `JUnit` report that have a failure or an error.
pub(super) fn of_junit(report: &str) -> Vec<String> {
    let cases = report.split("<testcase ").skip(1);
    let has_failed = |case: &&str| case.contains("<failure") || case.contains("<error");
    let name = |case: &str| {
        let attribute = |key: &str| {
            let (_, rest) = case.split_once(&format!("{key}=\""))?;
            Some(rest.split('"').next()?.to_owned())
        };
        // The first has `name=`, too.
        Some(format!(
            "{} {}",
            attribute("classname")?,
            attribute(" name").or(attribute("name"))?
        ))
    };
    cases.filter(has_failed).filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::{of_junit, of_line};

    #[test]
    fn failed_tests_are_found_in_both_forms() {
        let line = "test src/lib.rs - skip (line 3) ... FAILED";
        assert_eq!(of_line(line).as_deref(), Some("src/lib.rs - skip (line 3)"));
        assert_eq!(of_line("test a::b ... ok"), None);
        // As nextest 0.9.143 writes it.
        let report = r#"<testsuite name="probe-agent::cli" tests="3" failures="1">
            <testcase name="good" classname="probe-agent::cli" time="0.1"></testcase>
            <testcase name="a::bad" classname="probe-agent::cli" time="0.1">
                <failure type="test failure">panicked</failure>
            </testcase>
            <testcase name="good_too" classname="probe-agent::cli" time="0.1"/></testsuite>"#;
        assert_eq!(of_junit(report), ["probe-agent::cli a::bad"]);
    }
}
