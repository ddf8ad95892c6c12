//! The binary as a user meets it: output, exit codes, signals.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use probe_agent::cli::reference;

#[path = "cli/check.rs"]
mod check;
#[path = "cli/examples.rs"]
mod examples;
#[path = "cli/terminal.rs"]
mod terminal;

fn probe_agent(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_probe-agent"))
        .args(arguments)
        .env_remove("RUST_LOG")
        .output()
        .expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is text")
}

/// A word that is wrong is the caller's mistake, whichever part of the command finds it.
#[test]
fn a_wrong_filter_exits_with_2_wherever_it_stands() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/demo.pcap");
    let file = file.to_str().expect("a path");
    for words in [
        &["replay", "--filter", "port", file][..],
        &["replay", file, "port"],
        &["replay", file, "-f", "udp", "tcp"],
    ] {
        let output = probe_agent(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
    }
}

#[test]
fn check_tells_every_problem_and_exits_with_2() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("probe.yaml");
    fs::write(&file, "captur: {}\nlogging: { level: loud }\n").expect("written");
    let file = file.to_str().expect("a path");
    let output = probe_agent(&["check", "--config", file]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = text(&output.stderr);
    let expected = format!(
        "{file}:1:1: interfaces: no interface to capture; list some, or set \
         autodetection.enabled to true\n\
         {file}:1:1: captur: unknown key; did you mean `capture`?\n\
         {file}:2:19: logging.level: must be one of error, warn, info, debug, trace, found `loud`\n\
         3 problems in the configuration\n"
    );
    assert_eq!(told, expected);
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn check_says_that_a_file_is_missing() {
    let output = probe_agent(&["check", "-c", "/nonexistent/probe.yaml"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = text(&output.stderr);
    assert!(
        told.starts_with("cannot read the configuration /nonexistent/probe.yaml: "),
        "{told}"
    );
}

#[test]
fn a_wrong_command_line_exits_with_2_and_says_how_it_is_used() {
    for arguments in [&["chek"][..], &["check", "eth0"], &[]] {
        let output = probe_agent(arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(
            text(&output.stderr).contains("Usage: probe-agent"),
            "{output:?}"
        );
    }
}

#[test]
fn version_and_help_go_to_standard_output() {
    let version = text(&probe_agent(&["version"]).stdout);
    assert!(version.starts_with("probe-agent  0."), "{version}");
    let help = text(&probe_agent(&["--help"]).stdout);
    assert!(help.contains("Exit codes:"), "{help}");
}

#[test]
fn a_full_standard_output_is_named() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe-agent"));
    command.arg("version").stdout(full.expect("it is there"));
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(
        text(&output.stderr),
        "error: cannot write to standard output: No space left on device (os error 28)\n"
    );
}

#[test]
fn the_manual_lists_every_command() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/COMMANDS.md");
    let text = fs::read_to_string(&path).expect("docs/COMMANDS.md");
    let (head, found) = text
        .split_once("<!-- commands -->\n")
        .expect("start of the generated part");
    let wanted = reference::markdown();
    if std::env::var_os("PROBE_UPDATE_DOCS").is_some() {
        let updated = format!("{head}<!-- commands -->\n{wanted}");
        fs::write(&path, updated).expect("docs/COMMANDS.md can be written");
        return;
    }
    assert_eq!(
        found, wanted,
        "docs/COMMANDS.md differs from the code; run this test with PROBE_UPDATE_DOCS=1"
    );
}

#[test]
fn there_is_a_page_for_each_command() {
    let dir = tempfile::tempdir().expect("a directory");
    let pages = dir.path().join("share/man1");
    let output = probe_agent(&["man", pages.to_str().expect("a path")]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let names = fs::read_dir(&pages).expect("the folder was made");
    let mut names: Vec<_> = names
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    let told = text(&output.stdout);
    let count = format!("{} pages in {}\n", names.len(), pages.display());
    assert_eq!(told, count);
    for page in ["probe-agent.1", "probe-agent-replay.1", "probe-agent-run.1"] {
        assert!(names.iter().any(|name| name == page), "{names:?}");
    }
    let page = fs::read_to_string(pages.join("probe-agent-replay.1")).expect("a page");
    assert!(page.starts_with(".ie"), "it is roff: {page}");
    assert!(
        page.contains("EXIT STATUS") || page.contains("Exit status"),
        "{page}"
    );
}

#[test]
fn completions_are_scripts_that_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = probe_agent(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let script = text(&output.stdout);
        for word in ["replay", "selftest", "filter"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    // What bash itself says to its script.
    let output = Command::new("bash")
        .args(["-n", "-c"])
        .arg(text(&probe_agent(&["completions", "bash"]).stdout))
        .output()
        .expect("bash runs");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
}

/// `probe-agent … | head` must not end in a panic.
#[test]
fn a_reader_that_has_gone_is_no_error() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_probe-agent"))
        .arg("version")
        .stdout(writer)
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

/// Some commands read a file, others ask an agent: who confuses them is told the option that is meant.
#[test]
fn a_configuration_is_no_address_of_an_agent() {
    for command in ["status", "flows", "top", "reload"] {
        for words in [&[command, "-c", "probe.yaml"][..], &[command, "--config"]] {
            let output = probe_agent(words);
            let told = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{told}");
            assert!(told.contains("give its api.addr as --addr ADDR"), "{told}");
        }
        let help = probe_agent(&[command, "--help"]);
        assert!(!text(&help.stdout).contains("--config"), "{help:?}");
    }
}

/// Like `flows`: those with the most bytes first, and what the limit leaves out is counted.
#[test]
fn replay_shows_flows_as_flows_does() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/demo.pcap");
    let replay = |more: &[&str]| {
        let words = [&["replay", file.to_str().expect("a path")], more].concat();
        let output = probe_agent(&words);
        (text(&output.stdout), text(&output.stderr))
    };
    let (by_default, told) = replay(&[]);
    assert_eq!(by_default, replay(&["--sort", "bytes"]).0);
    assert_ne!(by_default, replay(&["--sort", "packets"]).0);
    assert!(by_default.contains("\n8 of 8 flows\n") && told.is_empty());
    let (first, _) = replay(&["-n", "2", "tcp or udp"]);
    let expected = "\n2 of 4 flows that pass, of 8\n";
    assert!(first.contains(expected), "{first}");
    for format in ["--json", "--csv"] {
        let (_, told) = replay(&["-n", "2", format]);
        assert!(told.contains("2 of 8 flows, as --limit says\n"), "{told}");
        assert!(!replay(&[format]).1.contains(" of 8 flows"));
    }
}
