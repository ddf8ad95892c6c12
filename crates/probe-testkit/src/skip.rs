//! What a test does when this machine cannot run it.
//!
//! It says so in one line, on standard error and in the file named by `PROBE_SKIP_LOG` (where
//! `cargo xtask test` reads it), and passes. CI sets `PROBE_REQUIRE_KERNEL=1` and, where the
//! corpus is present, `PROBE_REQUIRE_CORPUS=1`: then it fails instead.
//!
//! ```no_run
//! use probe_testkit::skip;
//!
//! // With #[test], as all who may skip.
//! fn ping_is_two_flows() {
//!     if !skip::kernel_or_skip(&["ip", "ping"]) {
//!         return;
//!     }
//!     // …
//! }
//! ```

use std::{
    env,
    fs::OpenOptions,
    io::Write,
    panic::Location,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::thread::{CapabilitySet, capabilities};

use crate::command::find_program;

/// What namespaces, links and programs need.
const CAPABILITIES: [(&str, CapabilitySet); 4] = [
    ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN),
    ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN),
    ("CAP_BPF", CapabilitySet::BPF),
    ("CAP_PERFMON", CapabilitySet::PERFMON),
];

/// Whether this test can load programs and run these tools; says why if not.
#[must_use]
#[track_caller]
pub fn kernel_or_skip(tools: &[&str]) -> bool {
    let missing = missing_capability().or_else(|| missing_tool(tools));
    // Not a closure: the caller's place would be lost.
    if let Some(reason) = missing {
        skip("PROBE_REQUIRE_KERNEL", &reason);
        return false;
    }
    true
}

/// Whether these tools are here, which need no privilege; says so if not.
#[must_use]
#[track_caller]
pub fn tools_or_skip(tools: &[&str]) -> bool {
    let missing = missing_tool(tools);
    // Not a closure: the caller's place would be lost.
    if let Some(reason) = &missing {
        skip("PROBE_REQUIRE_KERNEL", reason);
    }
    missing.is_none()
}

/// The folder with the packet corpus: `PROBE_CORPUS`, or `../shared/corpus` from the workspace
/// root; says so if it is absent.
#[must_use]
#[track_caller]
pub fn corpus_or_skip() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let corpus = env::var_os("PROBE_CORPUS").map_or(beside, PathBuf::from);
    if corpus.is_dir() {
        return Some(corpus);
    }
    skip(
        "PROBE_REQUIRE_CORPUS",
        &format!("no packet corpus at {}", corpus.display()),
    );
    None
}

/// Whether Python has these modules; says which it lacks if not.
#[must_use]
#[track_caller]
pub fn python_or_skip(modules: &[&str]) -> bool {
    let import = format!("import {}", modules.join(", "));
    let python = Command::new("python3").args(["-c", &import]).output();
    let is_there = python.is_ok_and(|output| output.status.success());
    if !is_there {
        let reason = format!("needs python3 with {}", modules.join(" and "));
        skip("PROBE_REQUIRE_KERNEL", &reason);
    }
    is_there
}

/// The file that this variable names; says so, with the remedy, if it names none.
#[must_use]
#[track_caller]
pub fn file_or_skip(variable: &str, remedy: &str) -> Option<PathBuf> {
    let file = env::var_os(variable).map(PathBuf::from);
    if file.is_none() {
        skip(
            "PROBE_REQUIRE_KERNEL",
            &format!("{variable} names no file: {remedy}"),
        );
    }
    file
}

/// Reports a test of something that this kernel was built without. That is no failure anywhere:
/// the test has found out all that it can.
#[track_caller]
pub fn not_in_this_kernel(what: &str) {
    skip("", &format!("this kernel has no {what}"));
}

fn missing_capability() -> Option<String> {
    let held = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let (name, _) = CAPABILITIES
        .into_iter()
        .find(|(_, capability)| !held.contains(*capability))?;
    Some(format!("needs {name}: run as root"))
}

fn missing_tool(tools: &[&str]) -> Option<String> {
    let missing = tools.iter().find(|tool| find_program(tool).is_none())?;
    Some(format!("needs `{missing}` on PATH"))
}

/// Reports a skipped test; a panic where the variable `required` says that nothing may be skipped.
#[track_caller]
fn skip(required: &str, reason: &str) {
    assert!(
        required.is_empty() || env::var_os(required).is_none_or(|value| value != "1"),
        "{required}=1, but: {reason}"
    );
    let place = Location::caller();
    let line = format!("{}:{}: {reason}\n", place.file(), place.line());
    eprint!("skipped: {line}");
    if let Some(log) = env::var_os("PROBE_SKIP_LOG") {
        // One write of one line: tests of many processes share the file.
        let log = OpenOptions::new().create(true).append(true).open(log);
        log.and_then(|mut log| log.write_all(line.as_bytes()))
            .expect("PROBE_SKIP_LOG is writable");
    }
}
