//! Compaction on a disk that is full.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use jiff::civil::date;
use probe_capture::clock::now;
use probe_store::{
    QueuePolicy, Writeout, WriteoutHandler,
    compact::{CompactError, Compactor, Outcome},
    open_sinks,
    options::{Retention, SinkConfig, SinkFormat},
    parquet::Parquet,
};

use super::{DAY, Ends, PRIVATE_MOUNTS, child, child_root, interval, open, skip};

#[test]
fn a_closed_day_on_a_full_disk_stays_as_it_is() {
    if !rustix::process::geteuid().is_root() {
        return skip("mounting a small tmpfs takes root");
    }
    let root = tempfile::tempdir().unwrap();
    let test = "compact::child_that_compacts_on_full_disks";
    let mut command = child(&PRIVATE_MOUNTS, test, root.path());
    assert!(command.status().unwrap().success());
}

#[test]
fn a_running_sink_compacts_closed_days_and_counts_what_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("flows");
    let mut sink = open(Parquet::new(), &root);
    for minute in [0, 5, 10] {
        let start = format!("2026-03-01T00:{minute:02}:00Z");
        sink.write(&interval("eth0", &start, 1000, Ends::Few))
            .unwrap();
    }
    drop(sink);
    // The day has been left alone for some hours.
    let day = fs::File::open(root.join(DAY)).unwrap();
    let earlier = SystemTime::now() - Duration::from_hours(3);
    day.set_modified(earlier).unwrap();

    let config = SinkConfig {
        format: SinkFormat::Parquet,
        path: root.clone(),
        retention: Retention::default(),
        compact: true,
    };
    let Ok(sinks) = open_sinks(&[config], now) else {
        panic!("the store can be opened");
    };
    let writeout = Writeout::start(sinks, QueuePolicy::default()).unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    let wait_until = |what: &str, is_met: &dyn Fn() -> bool| {
        while !is_met() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    wait_until("one file", &|| files(&root).len() == 1);
    assert_eq!(niceness("compact-parquet"), [19]);
    let (_, reader) = writeout.readers().remove(0);
    let report = || reader.state().store.unwrap_or_default();
    // Its next upkeep, within ten seconds.
    wait_until("a compacted day", &|| report().compaction.days == 1);
    assert_eq!(report().compaction.error, None);
    assert!(writeout.finish(deadline)[0].is_complete());
}

/// Nice values of this process's threads of that name.
fn niceness(name: &str) -> Vec<i32> {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let threads = threads.map(|thread| thread.unwrap().path());
    // A thread may end meanwhile.
    let nice = |path: PathBuf| {
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        let (own_name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
        // proc_pid_stat(5): the 19th field, and the 3rd is the first behind the name.
        let nice = rest.split_ascii_whitespace().nth(16)?.parse().ok()?;
        (own_name == name).then_some(nice)
    };
    threads.filter_map(nice).collect()
}

#[test]
fn child_that_compacts_on_full_disks() {
    let Some(root) = child_root() else { return };
    // Without blocks, and without inodes: not even a directory can be made.
    for options in ["size=512k", "size=16m,nr_inodes=40"] {
        let disk = root.join(options);
        fs::create_dir(&disk).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&disk)
            .status();
        assert!(mount.unwrap().success());
        fill_and_compact(&disk);
    }
}

fn fill_and_compact(disk: &Path) {
    let root = disk.join("flows");
    let mut sink = open(Parquet::new(), &root);
    let written = (0..1000).take_while(|number| {
        let start = format!("2026-03-01T{:02}:{:02}:00Z", number / 60, number % 60);
        sink.write(&interval("eth0", &start, 100, Ends::Few))
            .is_ok()
    });
    let written = written.count();
    assert!((5..1000).contains(&written), "{written} files");
    let before = files(&root);
    let compactor = Compactor::new(root.clone(), 0);
    let compact = || compactor.compact("iface=eth0", date(2026, 3, 1));
    match compact().unwrap_err() {
        CompactError::NoRoom { .. } => {}
        CompactError::Store(error) => assert!(error.is_no_space(), "{error}"),
        error => panic!("{error}"),
    }
    assert_eq!(files(&root), before);
    // There is room again: half of the day is moved to another disk.
    for path in before.keys().take(written / 2 + 2) {
        fs::remove_file(path).unwrap();
    }
    let Outcome::Compacted(compacted) = compact().unwrap() else {
        panic!("not compacted");
    };
    assert_eq!(compacted.intervals, written - written / 2 - 2);
    assert_eq!(files(&root).len(), 1);
    assert_eq!(fs::read_dir(disk).unwrap().count(), 1);
}

/// The files of the day with what is in them.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(root.join(DAY)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}
