//! A running sink compacts closed days.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use probe_capture::clock::now;
use probe_store::{
    QueuePolicy, Writeout, WriteoutHandler, open_sinks,
    options::{Retention, SinkConfig, SinkFormat},
    parquet::Parquet,
};

use super::{DAY, Ends, files, interval, open};

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
    leave_alone(&root.join(DAY));

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
    wait_until("one file", || files(&root).len() == 1);
    assert_eq!(niceness("compact"), [19]);
    let (_, reader) = writeout.readers().remove(0);
    let report = || reader.state().store.unwrap_or_default();
    // Its next upkeep, within ten seconds.
    wait_until("a compacted day", || report().compaction.days == 1);
    assert_eq!(report().compaction.error, None);
    let deadline = Instant::now() + Duration::from_mins(1);
    assert!(writeout.finish(deadline)[0].is_complete());
}

/// Compacts these days of a store, and no others, as a running sink does.
pub(crate) fn compact(root: &Path, days: &[PathBuf]) {
    for day in days {
        leave_alone(day);
    }
    let mut sink = open(Parquet::new(), root).compacting(true);
    sink.maintain();
    let is_one = |day: &PathBuf| day.read_dir().unwrap().count() == 1;
    wait_until("a file of each day", || days.iter().all(is_one));
}

/// As if nobody had changed the day for some hours.
fn leave_alone(day: &Path) {
    let earlier = SystemTime::now() - Duration::from_hours(3);
    File::open(day).unwrap().set_modified(earlier).unwrap();
}

fn wait_until(what: &str, is_met: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_met() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Nice values of this process's threads of that name.
fn niceness(name: &str) -> Vec<i32> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let threads = threads.map(|thread| thread.unwrap().path());
    // A thread may end meanwhile.
    let nice = |path: PathBuf| {
        let stat = std::fs::read_to_string(path.join("stat")).ok()?;
        let (own_name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
        // proc_pid_stat(5): the 19th field, and the 3rd is the first behind the name.
        let nice = rest.split_ascii_whitespace().nth(16)?.parse().ok()?;
        (own_name == name).then_some(nice)
    };
    threads.filter_map(nice).collect()
}
