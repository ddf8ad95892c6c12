//! The examples of the manuals, as they are pasted.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::{Parser, error::ErrorKind};
use probe_agent::cli::Cli;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The manuals with their names.
fn manuals() -> Vec<(String, String)> {
    let pages = fs::read_dir(root().join("docs")).expect("docs/");
    let pages = pages.map(|entry| entry.expect("an entry").path());
    let others = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root().join(name));
    let files = pages.filter(|path| path.extension().is_some_and(|it| it == "md"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a page");
        (path.display().to_string(), text)
    };
    files.chain(others).map(read).collect()
}

/// The lines of the blocks for a shell, with their place.
fn shell_lines() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, text) in manuals() {
        let mut block = None;
        for (number, line) in text.lines().enumerate() {
            if let Some(kind) = line.trim_start().strip_prefix("```") {
                block = block.is_none().then(|| kind.to_owned());
            } else if let Some("sh" | "console" | "") = block.as_deref() {
                let is_output = block.as_deref() != Some("sh") && !line.starts_with("$ ");
                let line = line.trim_start_matches("$ ");
                if !is_output {
                    found.push((format!("{name}:{}", number + 1), line.to_owned()));
                }
            }
        }
    }
    found
}

/// The arguments of a line that calls the agent, as bash reads them: without `sudo`, without a
/// comment, and up to the first pipe, redirection or other command.
fn arguments(line: &str) -> Option<Vec<String>> {
    let line = line.trim_start_matches("sudo ");
    let call = line.strip_prefix("probe-agent ")?;
    // Nothing is run or written here but the words.
    let call = call.split([';', '|', '>', '&']).next().unwrap_or_default();
    assert!(!call.contains("$("), "{line}");
    let script = format!("printf '%s\\0' {call}");
    let output = Command::new("bash").args(["-c", &script]).output();
    let output = output.expect("bash runs").stdout;
    let words = String::from_utf8(output).expect("text");
    let words = words.split_terminator('\0').map(str::to_owned);
    Some(words.collect())
}

/// Calls in running text, but those with placeholders.
fn inline_calls() -> Vec<(String, String)> {
    let is_placeholder = |word: &str| {
        let letters = word.chars().filter(char::is_ascii_alphabetic).count();
        letters > 1 && word.chars().all(|it| !it.is_ascii_lowercase())
    };
    let mut found = Vec::new();
    for (name, text) in manuals() {
        let spans = text.split('`').skip(1).step_by(2);
        let calls = spans.filter(|span| span.starts_with("probe-agent ") && !span.contains('\n'));
        let complete = calls.filter(|span| {
            !span.contains(['[', '…']) && !span.split_whitespace().any(is_placeholder)
        });
        found.extend(complete.map(|call| (name.clone(), call.to_owned())));
    }
    found
}

#[test]
fn every_example_is_a_command_line() {
    let mut count = 0;
    for (place, line) in shell_lines().into_iter().chain(inline_calls()) {
        let Some(arguments) = arguments(&line) else {
            continue;
        };
        count += 1;
        let words = [["probe-agent".to_owned()].as_slice(), &arguments].concat();
        if let Err(error) = Cli::try_parse_from(words) {
            let is_help = matches!(error.kind(), ErrorKind::DisplayHelp);
            assert!(is_help, "{place}: {line}\n{error}");
        }
    }
    assert!(count > 25, "{count} examples were found");
}

/// Interactive zsh takes a comment behind a command for arguments.
#[test]
fn comments_have_lines_of_their_own() {
    for (place, line) in shell_lines() {
        let command = line.split(" # ").next().unwrap_or_default();
        assert!(
            command.len() == line.len() || command.is_empty(),
            "{place}: {line}"
        );
    }
}

/// Those that need no agent and no privileges, with files that are here.
#[test]
fn examples_run() {
    let mut count = 0;
    for (place, line) in shell_lines().into_iter().chain(inline_calls()) {
        let Some(mut arguments) = arguments(&line) else {
            continue;
        };
        let words = ["check", "replay", "version", "completions"];
        // That example shows mistakes.
        let is_wrong = arguments.iter().any(|word| word == "probe.yaml");
        if !words.contains(&arguments[0].as_str()) || is_wrong || line.contains(" > ") {
            continue;
        }
        count += 1;
        arguments.retain(|word| word != "-c" && word != "/etc/probe/probe.yaml");
        if arguments[0] == "check" {
            let file = root().join("config/probe.yaml");
            arguments.extend(["-c".to_owned(), file.display().to_string()]);
        }
        let capture = root().join("probe-agent/tests/data/demo.pcap");
        for word in &mut arguments {
            if Path::new(word).extension().is_some_and(|it| it == "pcap") {
                *word = capture.display().to_string();
            }
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let output = super::probe_agent(&arguments);
        assert_eq!(output.status.code(), Some(0), "{place}: {line}\n{output:?}");
    }
    assert!(count > 3, "{count} examples ran");
}
