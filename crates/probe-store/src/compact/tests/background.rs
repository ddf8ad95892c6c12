//! The thread: which days it compacts, and what it tells.

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use serde_json::json;

use super::{Store, clock, glob, write, write_day};
use crate::{
    WriteoutHandler,
    compact::background::{Background, Worker},
    file_sink::FileSink,
    fixture,
    options::Retention,
    parquet::Parquet,
    retention::Trust,
};

/// What retention remembers: intervals that ended from the first to the second of two times were
/// written by a clock that was a year behind.
fn trust<const N: usize>(moved: [[&str; 2]; N]) -> Trust {
    let millis = |time: &str| time.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let moved = moved.map(|[first, last]| {
        json!({
            "first_ms": millis(first),
            "last_ms": millis(last),
            "by_ms": 365 * 24 * 3_600_000_i64,
            "is_open": false,
        })
    });
    let trust = json!({
        "boot_id": "boot",
        "since_boot_ms": 0,
        "trusted": clock().wall,
        "budget_ms": 0,
        "moved": moved.as_slice(),
    });
    serde_json::from_value(trust).unwrap()
}

/// Compacts days that have not changed within `quiet`.
pub(super) fn worker(root: &Path, quiet: Duration) -> Worker {
    let trust = trust([]);
    Worker::new("parquet", root.to_owned(), None, clock, quiet, Some(&trust))
}

/// Waits for a condition, far longer than it takes.
fn wait_until(what: &str, is_met: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_met() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn closed_days_are_compacted_in_the_background() {
    let store = Store::new();
    write_day(&store.root(), 3, 20);
    // It still runs by the clock of the tests.
    for start in ["2026-03-02T00:00:00Z", "2026-03-02T00:05:00Z"] {
        write(&store.root(), &fixture::interval("eth0", start, 1));
    }
    for start in ["2026-02-27T00:00:00Z", "2026-02-27T00:05:00Z"] {
        write(&store.root(), &fixture::interval("eth1", start, 1));
    }
    let damaged = &glob(&store.root())[5];
    let whole = fs::read(damaged).unwrap();
    fs::write(damaged, &whole[..100]).unwrap();
    let trust = trust([]);
    let start =
        |quiet| Background::start("parquet", store.root(), None, clock, quiet, Some(&trust));

    let background = start(Duration::ZERO);
    wait_until("a compacted day and an error", || {
        let report = background.report();
        report.days == 1 && report.error.is_some()
    });
    assert!(background.take_change() && !background.take_change());
    let error = background.report().error.unwrap();
    assert!(error.contains("iface=eth1/date=2026-02-27"), "{error}");
    assert_eq!(glob(&store.day()).len(), 1);
    assert_eq!(glob(&store.root()).len(), 5);
    drop(background);

    fs::write(damaged, &whole).unwrap();
    // The days have just changed.
    let mut worker = worker(&store.root(), Duration::from_hours(1));
    assert_eq!(worker.pass(), Ok(true));
    assert_eq!(glob(&store.root()).len(), 5);
    let background = start(Duration::ZERO);
    wait_until("the other day", || background.report().days == 1);
    assert_eq!(background.report().error, None);
    assert_eq!(glob(&store.root()).len(), 4);
}

#[test]
fn a_store_without_a_place_beside_it_and_one_that_is_gone_are_no_trouble() {
    let pass = |root: &str| worker(Path::new(root), Duration::ZERO).pass();
    assert_eq!(pass("/"), Ok(false));
    assert_eq!(pass("/proc"), Ok(false), "a mount point");
    assert_eq!(pass("/nonexistent/flows"), Ok(true));
}

#[test]
fn days_with_intervals_of_a_wrong_clock_stay_as_they_are() {
    let store = Store::new();
    for day in ["2026-02-20", "2026-02-22", "2026-02-25"] {
        for time in ["00:00", "00:05"] {
            let start = format!("{day}T{time}:00Z");
            write(&store.root(), &fixture::interval("eth0", &start, 1));
        }
        let path = store.root().join(format!("iface=eth0/date={day}"));
        let hours_ago = SystemTime::now() - Duration::from_hours(2);
        File::open(path).unwrap().set_modified(hours_ago).unwrap();
    }
    let trust = trust([["2026-02-22T00:05:00Z", "2026-02-22T00:05:00Z"]]);
    let note = serde_json::to_vec(&trust).unwrap();
    fs::write(store.root().join(".retention-parquet.json"), note).unwrap();
    let open = FileSink::open(Parquet::new(), store.root(), Retention::default(), clock);
    let mut sink = open.unwrap().compacting(true);
    sink.maintain();
    // The days before and after it are.
    wait_until("two compacted days", || {
        sink.report().unwrap().compaction.days == 2
    });
    let moved = store.root().join("iface=eth0/date=2026-02-22");
    assert_eq!((glob(&moved).len(), glob(&store.root()).len()), (2, 4));
}
