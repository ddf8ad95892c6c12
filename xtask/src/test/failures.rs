//! Which tests failed, from what the runners write.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::workspace::{outcome, spawn};

/// What a runner wrote before its end is read within this time.
const REST: Duration = Duration::from_secs(2);

/// Runs a command with its output visible. Whether it failed, and the tests that libtest says did.
///
/// A process that a test leaves behind may hold the output open for ever: it is not waited for.
pub(super) fn run(command: &mut Command) -> Result<(Result<()>, Vec<String>)> {
    let mut child = spawn(command.stdout(Stdio::piped()))?;
    let lines = child.stdout.take().map(show);
    let status = child.wait()?;
    let mut failed = Vec::new();
    if let Some(lines) = lines {
        let end = Instant::now() + REST;
        loop {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if Instant::now() < end => failed.extend(of_line(&line)),
                Err(RecvTimeoutError::Disconnected) => break,
                Ok(_) | Err(RecvTimeoutError::Timeout) => {
                    println!("a process that a test has started still holds the output");
                    break;
                }
            }
        }
    }
    Ok((outcome(command, status), failed))
}

/// Shows each line as soon as it is there, and sends it. Ends when all that write have ended.
fn show(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output
            .read_until(b'\n', &mut line)
            .is_ok_and(|octets| octets > 0)
        {
            let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
            println!("{text}");
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
    lines
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
        // What follows may have such attributes, too: it goes on to the next test case.
        let (attributes, _) = case.split_once('>')?;
        let attributes = format!(" {attributes}");
        let attribute = |key: &str| {
            let (_, rest) = attributes.split_once(&format!(" {key}=\""))?;
            rest.split('"').next()
        };
        Some(format!(
            "{} {}",
            attribute("classname")?,
            attribute("name")?
        ))
    };
    cases.filter(has_failed).filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        process::Command,
        time::{Duration, Instant},
    };

    use super::{of_junit, of_line, run};

    #[test]
    fn a_process_that_is_left_behind_is_not_waited_for() {
        let begin = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & printf 'test a::b ... FAILED\\n'; exit 3"]);
        let (outcome, failed) = run(&mut command).unwrap();
        assert!(outcome.unwrap_err().to_string().contains("exit status: 3"));
        assert_eq!(failed, ["a::b"]);
        assert!(begin.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_process_that_is_left_behind_and_writes_is_not_waited_for_either() {
        let begin = Instant::now();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "for _ in $(seq 60); do sleep 0.5; echo x; done & exit 3",
        ]);
        let (outcome, _) = run(&mut command).unwrap();
        assert!(outcome.is_err());
        assert!(begin.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn output_that_is_no_text_hides_nothing() {
        let mut command = Command::new("sh");
        command.args(["-c", r"printf '\377\376\ntest a::b ... FAILED\n'"]);
        let (outcome, failed) = run(&mut command).unwrap();
        outcome.unwrap();
        assert_eq!(failed, ["a::b"]);
    }

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
            <testcase name="good_too" classname="probe-agent::cli" time="0.1"/>
            <testcase name="last" classname="probe-agent::cli" time="0.1"><failure>it</failure>
            </testcase></testsuite>
            <testsuite name="probe-flow" tests="0"></testsuite>"#;
        assert_eq!(
            of_junit(report),
            ["probe-agent::cli a::bad", "probe-agent::cli last"]
        );
    }
}
