//! An agent that is killed while it compacts, with a reader that polls.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use ::parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::RowAccessor,
};

use super::{DAY, IFACE, Store, content, glob, write_day};
use crate::compact::{Compactor, Outcome, plan::ledgers};

/// Packets in rows and ledgers.
fn sums(root: &Path) -> Option<[u64; 2]> {
    let mut sums = [0; 2];
    for path in glob(root) {
        let reader = SerializedFileReader::new(File::open(path).ok()?).unwrap();
        for row in reader.get_row_iter(None).unwrap() {
            let row = row.unwrap();
            sums[0] += row.get_ulong(8).unwrap() + row.get_ulong(9).unwrap();
        }
        for ledger in ledgers(reader.metadata().file_metadata()).unwrap() {
            let ledger: serde_json::Value = serde_json::from_str(&ledger).unwrap();
            sums[1] += ledger["flows"].as_u64().unwrap();
        }
    }
    Some(sums)
}

/// Compacts the day of the store in `PROBE_TEST_ROOT`, and waits to be killed.
#[test]
#[ignore = "a child that other tests start"]
fn child_that_compacts() {
    let Some(root) = std::env::var_os("PROBE_TEST_ROOT") else {
        return;
    };
    let compactor = Compactor::new(root.into(), 0);
    println!("\nready");
    compactor.compact(IFACE, DAY).unwrap();
    println!("\ndone");
    std::thread::sleep(Duration::from_mins(1));
}

/// Where a child is killed.
enum Kill {
    At(&'static str),
    After(Duration),
}

/// Starts the child, which is killed; returns whether it had compacted.
fn compact_and_kill(root: &Path, kill: &Kill) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "compact::tests::kill::child_that_compacts"])
        .args(["--ignored", "--nocapture"])
        .env("PROBE_TEST_ROOT", root)
        .stdout(Stdio::piped());
    if let Kill::At(step) = kill {
        command.env("PROBE_TEST_KILL_AT", step);
    }
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    assert!(lines.any(|line| line == "ready"));
    if let Kill::After(time) = kill {
        std::thread::sleep(*time);
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(9));
    lines.any(|line| line == "done")
}

/// What the reader of a store under compaction has seen.
fn watch(root: &Path, expected: [u64; 2], is_over: &AtomicBool) -> u64 {
    let mut readings = 0;
    while readings == 0 || !is_over.load(Relaxed) {
        // A glob of the old files whose files are gone is an error, and is made again.
        if let Some(sums) = sums(root) {
            assert_eq!(sums, expected, "packets in rows and in ledgers");
            readings += 1;
        }
    }
    readings
}

/// A day is compacted and the agent killed meanwhile, while a reader polls. Returns whether the day
/// was compacted before.
fn kill_and_recover(kill: &Kill) -> bool {
    let store = Store::new();
    write_day(&store.root(), 12, 30);
    let before = content(&store.root()).unwrap();
    let expected = sums(&store.root()).unwrap();
    assert_eq!(expected, [360, 360]);
    let is_over = AtomicBool::new(false);
    let is_compacted = std::thread::scope(|scope| {
        let reader = scope.spawn(|| watch(&store.root(), expected, &is_over));
        let is_compacted = compact_and_kill(&store.root(), kill);
        is_over.store(true, Relaxed);
        assert!(reader.join().unwrap() > 0);
        is_compacted
    });
    assert_eq!(content(&store.root()).unwrap(), before);
    // The next start.
    store.compactor().clean().unwrap();
    store.assert_clean();
    assert_eq!(content(&store.root()).unwrap(), before);
    assert_ne!(store.compact().unwrap(), Outcome::Busy);
    assert_eq!(glob(&store.root()).len(), 1);
    assert_eq!(content(&store.root()).unwrap(), before);
    is_compacted
}

#[test]
fn a_kill_at_any_step_loses_doubles_and_hides_nothing() {
    for step in [
        "begun",
        "written",
        "durable",
        "exchanged",
        "sure",
        "deleting",
        "deleted",
    ] {
        assert!(!kill_and_recover(&Kill::At(step)), "{step}");
    }
}

#[test]
fn a_kill_at_any_moment_loses_doubles_and_hides_nothing() {
    let rounds = std::env::var("PROBE_COMPACT_KILLS").map_or(16, |it| it.parse().unwrap());
    let store = Store::new();
    write_day(&store.root(), 12, 30);
    let begin = Instant::now();
    store.compact().unwrap();
    let usual = begin.elapsed();
    let compacted = (0..rounds).filter(|round| {
        // Spread over twice the time that it took here: the reader is in the way.
        kill_and_recover(&Kill::After(usual * 2 * (round * 619 % 997) / 997))
    });
    let compacted = compacted.count();
    println!("{compacted} of {rounds} were compacted before the kill, in {usual:?}");
}
