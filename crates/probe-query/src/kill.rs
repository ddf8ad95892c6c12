//! An agent that is killed while it compacts, asked all the time: each answer is the same.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use jiff::civil::{Date, date};
use probe_store::compact::{Compactor, Outcome};
use serde_json::Value;

use crate::fixture::{ask_json, store_flows};

/// Name of the directory of the interface.
const IFACE: &str = "iface=eth0";
const DAY: Date = date(2026, 3, 1);
const INTERVALS: u64 = 12;
const FLOWS: u8 = 30;

/// Writes the files of a day.
fn write_day(root: &Path) {
    for hour in 0..INTERVALS {
        let start = format!("2026-03-01T{hour:02}:00:00Z");
        let end = format!("2026-03-01T{:02}:00:00Z", hour + 1);
        store_flows(root, &start, &end, FLOWS);
    }
}

/// Rows, packets and intervals of the day.
fn sums(root: &Path) -> [u64; 3] {
    let day = ["--since", "2026-03-01", "--until", "2026-03-02"];
    let answer = ask_json(
        root,
        &[&day[..], &["--by", "src", "--sum", "-n", "0"]].concat(),
    );
    let answer = answer.unwrap();
    let report = &answer["completeness"];
    assert_eq!(report["skipped"], Value::Array(vec![]), "{report}");
    let of = |value: &Value| value.as_u64().unwrap();
    [
        of(&answer["totals"]["rows"]),
        of(&answer["totals"]["packets"]),
        of(&report["interfaces"][0]["intervals"]),
    ]
}

const EXPECTED: [u64; 3] = [FLOWS as u64, FLOWS as u64 * INTERVALS, INTERVALS];

/// Compacts the day of the store in `PROBE_TEST_ROOT`, and waits to be killed.
#[test]
#[ignore = "a child that another test starts"]
fn child_that_compacts() {
    let Some(root) = std::env::var_os("PROBE_TEST_ROOT") else {
        return;
    };
    println!("\nready");
    Compactor::new(root.into(), 0).compact(IFACE, DAY).unwrap();
    println!("\ndone");
    std::thread::sleep(Duration::from_mins(1));
}

/// The child, which is about to compact, and what it says from then on.
fn started(root: &Path) -> (Child, impl Iterator<Item = String>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "kill::child_that_compacts"])
        .args(["--ignored", "--nocapture"])
        .env("PROBE_TEST_ROOT", root)
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    assert!(lines.any(|line| line == "ready"));
    (child, lines)
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Starts the child, and kills it after this time. Returns whether it had compacted.
fn compact_and_kill(root: &Path, after: Duration) -> bool {
    let (mut child, mut lines) = started(root);
    std::thread::sleep(after);
    kill(&mut child);
    lines.any(|line| line == "done")
}

/// How long the child takes.
fn usual_time(root: &Path) -> Duration {
    let (mut child, mut lines) = started(root);
    let begin = Instant::now();
    assert!(lines.any(|line| line == "done"));
    let usual = begin.elapsed();
    kill(&mut child);
    usual
}

/// Works, and asks the store all the time.
fn asked_meanwhile<T>(root: &Path, work: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut answers = 0;
            while answers == 0 || !is_over.load(Relaxed) {
                assert_eq!(sums(root), EXPECTED);
                answers += 1;
            }
        });
        let outcome = work();
        is_over.store(true, Relaxed);
        reader.join().unwrap();
        outcome
    })
}

fn kill_and_ask(after: Duration) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("flows");
    write_day(&root);
    let is_compacted = asked_meanwhile(&root, || compact_and_kill(&root, after));
    assert_eq!(sums(&root), EXPECTED, "killed after {after:?}");
    // The next start, and what it then does.
    let compactor = Compactor::new(root.clone(), 0);
    compactor.clean().unwrap();
    assert_eq!(sums(&root), EXPECTED, "cleaned");
    assert_ne!(compactor.compact(IFACE, DAY).unwrap(), Outcome::Busy);
    assert_eq!(sums(&root), EXPECTED, "compacted");
    is_compacted
}

#[test]
fn a_kill_at_any_moment_of_a_compaction_changes_no_answer() {
    let rounds = std::env::var("PROBE_COMPACT_KILLS").map_or(8, |it| it.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("flows");
    write_day(&root);
    let usual = asked_meanwhile(&root, || usual_time(&root));
    // Some come too late.
    let moments = (0..rounds).map(|round| usual * 3 / 2 * (round * 619 % 997) / 997);
    let compacted = moments.filter(|after| kill_and_ask(*after)).count();
    println!("{compacted} of {rounds} were compacted before the kill, in {usual:?}");
}
