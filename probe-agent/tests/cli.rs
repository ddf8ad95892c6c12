//! The binary as a user meets it: output, exit codes, signals.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

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

#[test]
fn check_accepts_the_annotated_file() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/probe.yaml");
    let output = probe_agent(&["check", "-c", file.to_str().expect("a path")]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        text(&output.stdout).ends_with("config/probe.yaml: good\n"),
        "{output:?}"
    );
    assert!(output.stderr.is_empty(), "{output:?}");
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
    for arguments in [&["chek"][..], &["check"], &[]] {
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
