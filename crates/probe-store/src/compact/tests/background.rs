//! The thread: which days it compacts, and what it tells.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use jiff::civil::date;
use rustix::{
    io::Errno,
    thread::{CapabilitySet, CapabilitySets, set_capabilities},
};
use serde_json::json;

use super::{FAILURE, HOOK, IFACE, Store, clock, glob, write, write_day};
use crate::{
    WriteoutHandler,
    compact::{
        CompactError,
        background::Background,
        error::no_exchange,
        worker::{Pass, Worker},
    },
    file_sink::FileSink,
    fixture,
    options::{MinFree, Retention},
    parquet::Parquet,
    partition::Directory,
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
    assert_eq!(worker.pass(), Pass::Whole(None));
    assert_eq!(glob(&store.root()).len(), 5);
    let background = start(Duration::ZERO);
    wait_until("the other day", || background.report().days == 1);
    assert_eq!(background.report().error, None);
    assert_eq!(glob(&store.root()).len(), 4);
}

#[test]
fn a_store_without_a_place_beside_it_and_one_that_is_gone_are_no_trouble() {
    let pass = |root: &str| worker(Path::new(root), Duration::ZERO).pass();
    for root in ["/", "/proc", "/nonexistent/flows"] {
        assert_eq!(pass(root), Pass::CutShort(None), "{root}");
    }
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

/// A store with three closed days of two files, the oldest first.
fn three_days() -> (Store, [PathBuf; 3]) {
    let store = Store::new();
    let days = ["2026-02-20", "2026-02-22", "2026-02-25"].map(|day| {
        for time in ["00:00", "00:05"] {
            let start = format!("{day}T{time}:00Z");
            write(&store.root(), &fixture::interval("eth0", &start, 1));
        }
        store.root().join(format!("iface=eth0/date={day}"))
    });
    (store, days)
}

#[test]
fn a_day_that_panics_keeps_no_other() {
    let (store, days) = three_days();
    let mut worker = worker(&store.root(), Duration::ZERO);
    HOOK.set(Some(("written", Box::new(|| panic!("as a test wants")))));
    for _ in 0..2 {
        let pass = worker.pass();
        let Pass::Whole(Some(error)) = pass else {
            panic!("{pass:?}");
        };
        assert!(error.contains("date=2026-02-20 panicked"), "{error}");
        assert_eq!(days.each_ref().map(|day| glob(day).len()), [2, 1, 1]);
        store.assert_clean();
    }
}

#[test]
fn trouble_with_the_disk_ends_the_pass_and_keeps_no_day_for_ever() {
    let (store, days) = three_days();
    let mut worker = worker(&store.root(), Duration::ZERO);
    let fails = || {
        let fail = || FAILURE.set(Some("syncing"));
        HOOK.set(Some(("begun", Box::new(fail))));
    };
    fails();
    assert_eq!(worker.pass(), Pass::CutShort(None));
    assert_eq!(days.each_ref().map(|day| glob(day).len()), [1, 2, 2]);
    // The other days come before the one that is put off.
    let file = &glob(&days[2])[1];
    fs::copy(file, days[0].join(file.file_name().unwrap())).unwrap();
    fails();
    assert_eq!(worker.pass(), Pass::CutShort(None));
    assert_eq!(days.each_ref().map(|day| glob(day).len()), [2, 1, 2]);
    assert_eq!(worker.pass(), Pass::Whole(None));
    assert_eq!(days.each_ref().map(|day| glob(day).len()), [1, 1, 1]);
    store.assert_clean();
}

/// Does it on a thread that has no privileges, even where the tests run as root.
pub(super) fn unprivileged<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    let act = || {
        set_capabilities(None, none).unwrap();
        act()
    };
    std::thread::scope(|scope| scope.spawn(act).join().unwrap())
}

#[test]
fn days_wait_for_a_directory_above_that_can_be_written_to() {
    let (store, days) = three_days();
    let set_mode = |mode| {
        fs::set_permissions(store.directory.path(), Permissions::from_mode(mode)).unwrap();
    };
    set_mode(0o500);
    let mut worker = worker(&store.root(), Duration::ZERO);
    assert_eq!(unprivileged(|| worker.pass()), Pass::CutShort(None));
    let compact = || store.compactor().compact(IFACE, date(2026, 2, 20));
    let error = unprivileged(compact).unwrap_err().to_string();
    assert!(
        error.contains("must be able to write in the directory above it"),
        "{error}"
    );
    set_mode(0o700);
    assert_eq!(days.each_ref().map(|day| glob(day).len()), [2, 2, 2]);
    // Somebody has helped: no restart is needed.
    assert_eq!(worker.pass(), Pass::Whole(None));
    assert_eq!(days.map(|day| glob(&day).len()), [1, 1, 1]);
    store.assert_clean();
}

#[test]
fn days_without_room_are_told_and_others_that_were_damaged_are_not_any_more() {
    let (store, days) = three_days();
    let damaged = &glob(&days[0])[1];
    let whole = fs::read(damaged).unwrap();
    fs::write(damaged, &whole[..100]).unwrap();
    let error_of = |pass| match pass {
        Pass::Whole(Some(error)) => error,
        pass => panic!("{pass:?}"),
    };
    let least = MinFree::Percent(100);
    let trust = trust([]);
    let mut full = Worker::new(
        "parquet",
        store.root(),
        Some(least),
        clock,
        Duration::ZERO,
        Some(&trust),
    );
    let error = error_of(full.pass());
    assert!(
        error.contains("date=2026-02-20: ") && error.contains("Free space"),
        "{error}"
    );

    let mut worker = worker(&store.root(), Duration::from_hours(1));
    for day in &days {
        let hours_ago = SystemTime::now() - Duration::from_hours(2);
        File::open(day).unwrap().set_modified(hours_ago).unwrap();
    }
    let error = error_of(worker.pass());
    assert!(error.contains("Move the file out of the store"), "{error}");
    assert!(!worker.is_mended());
    assert_eq!(days.each_ref().map(|day| glob(day).len()), [2, 1, 1]);
    fs::remove_file(damaged).unwrap();
    assert!(worker.is_mended(), "the day has changed");
    assert_eq!(worker.pass(), Pass::Whole(None));
    assert!(!worker.is_mended());
}

#[test]
fn only_a_file_system_without_the_exchange_ends_compaction() {
    let store = Store::new();
    let root = Directory::open_root(&store.root()).unwrap();
    for (errno, ends) in [
        (Errno::INVAL, true),
        (Errno::XDEV, true),
        (Errno::IO, false),
        (Errno::ROFS, false),
        (Errno::NOENT, false),
    ] {
        let error = no_exchange(&root, errno);
        let is_last = matches!(error, CompactError::NoExchange { .. });
        assert_eq!(is_last, ends, "{error}");
        assert!(error.is_of_disk());
    }
}

#[test]
fn a_sink_that_does_not_compact_deletes_what_was_left_in_the_making() {
    let store = Store::new();
    write_day(&store.root(), 2, 5);
    let work = store.directory.path().join(".flows.compacting/day");
    fs::create_dir_all(&work).unwrap();
    let file = glob(&store.root()).remove(0);
    fs::copy(&file, work.join(file.file_name().unwrap())).unwrap();
    let open = FileSink::open(Parquet::new(), store.root(), Retention::default(), clock);
    let _sink = open.unwrap().compacting(false);
    store.assert_clean();
    assert_eq!(glob(&store.root()).len(), 2);
}
