//! Sinks against real file systems and real readers.

#![expect(
    clippy::unwrap_used,
    reason = "functions that tests share are tests, too"
)]

#[path = "writeout/compact.rs"]
mod compact;
#[path = "writeout/interval.rs"]
mod interval;
#[path = "writeout/measure.rs"]
mod measure;
#[path = "writeout/readers.rs"]
mod readers;

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use probe_capture::clock::now;
use probe_flow::interval::Interval;
use probe_store::{
    QueuePolicy, Writeout, WriteoutError, WriteoutHandler,
    file_sink::{EncodeError, FileFormat, FileSink},
    json_lines::JsonLines,
    open_sinks,
    options::{Retention, SinkConfig, SinkFormat},
    parquet::Parquet,
};

use self::interval::{Ends, interval};

const START: &str = "2026-03-01T00:00:00Z";
const DAY: &str = "iface=eth0/date=2026-03-01";
const NAME: &str = "20260301T000000.000Z-20260301T000500.000Z";

/// In a mount namespace of its own a process's mounts end with it, whatever happens.
const PRIVATE_MOUNTS: [&str; 4] = ["unshare", "--mount", "--propagation", "private"];

/// Says why a test cannot run here; a failure where nothing may be skipped.
fn skip(reason: &str) {
    assert!(
        std::env::var_os("PROBE_REQUIRE_KERNEL").is_none(),
        "must not be skipped: {reason}"
    );
    eprintln!("skipped: {reason}");
}

/// Runs a `child_*` test of this binary in a process of its own, behind the command `wrapper`.
fn child(wrapper: &[&str], test: &str, root: &Path) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut words = wrapper.to_vec();
    words.push(this.to_str().unwrap());
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .args(["--exact", test, "--nocapture"])
        .env("PROBE_TEST_ROOT", root);
    command
}

/// Where a child works. Without it the test was not started by another one, and has nothing to do.
fn child_root() -> Option<PathBuf> {
    std::env::var_os("PROBE_TEST_ROOT").map(PathBuf::from)
}

fn open<F: FileFormat>(format: F, root: &Path) -> FileSink<F> {
    FileSink::open(format, root.to_owned(), Retention::default(), now).unwrap()
}

/// Names of the files of the interval's day.
fn files(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join(DAY)).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Writes something, then does what the test wants.
struct Interrupted<T>(T);

impl<T: Fn() + Send> FileFormat for Interrupted<T> {
    const FORMAT: SinkFormat = SinkFormat::Parquet;
    const EXTENSION: &'static str = "parquet";

    fn encode(&self, _: &Interval, file: &mut File) -> Result<(), EncodeError> {
        file.write_all(b"PAR1 half a file")?;
        (self.0)();
        Ok(())
    }
}

#[test]
fn a_killed_writer_leaves_nothing_that_readers_see_and_nothing_for_long() {
    let root = tempfile::tempdir().unwrap();
    let status = child(
        &[],
        "child_that_is_killed_in_the_middle_of_a_file",
        root.path(),
    )
    .status()
    .unwrap();
    assert!(!status.success());
    let left = files(root.path());
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(
        left[0].starts_with(&format!(".{NAME}.parquet.")),
        "{left:?}"
    );

    let mut sink = open(Parquet::new(), root.path());
    assert!(files(root.path()).is_empty());
    sink.write(&interval("eth0", START, 10, Ends::Few)).unwrap();
    assert_eq!(files(root.path()), [format!("{NAME}.parquet")]);
}

#[test]
fn child_that_is_killed_in_the_middle_of_a_file() {
    let kill_myself = || {
        let me = rustix::process::getpid();
        rustix::process::kill_process(me, rustix::process::Signal::KILL).unwrap();
    };
    let Some(root) = child_root() else { return };
    let mut sink = open(Interrupted(kill_myself), &root);
    let _never = sink.write(&interval("eth0", START, 10, Ends::Few));
}

#[test]
fn a_living_writers_file_survives_the_start_of_another_agent() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_owned();
    let start_another = move || drop(open(Parquet::new(), &path));
    let mut sink = open(Interrupted(start_another), root.path());
    sink.write(&interval("eth0", START, 10, Ends::Few)).unwrap();
    assert_eq!(files(root.path()), [format!("{NAME}.parquet")]);
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let root = tempfile::tempdir().unwrap();
    let mut sink = open(JsonLines::new(), root.path());
    for flows in [1, 2, 3] {
        sink.write(&interval("eth0", START, flows, Ends::Few))
            .unwrap();
    }
    for (suffix, lines) in [("", 2), ("-1", 3), ("-2", 4)] {
        let path = root.path().join(DAY).join(format!("{NAME}{suffix}.jsonl"));
        let content = fs::read_to_string(path).unwrap();
        assert_eq!(content.lines().count(), lines, "{suffix}");
    }
    assert_eq!(files(root.path()).len(), 3);
}

#[test]
fn a_deleted_tree_is_made_again() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("flows");
    let mut sink = open(Parquet::new(), &root);
    fs::remove_dir(&root).unwrap();
    fs::write(&root, "").unwrap();
    let error = sink.write(&interval("eth0", START, 10, Ends::Few));
    let remedy = error.unwrap_err().remedy();
    assert_eq!(remedy, "move away what is in the place of the directory");
    fs::remove_file(&root).unwrap();
    sink.write(&interval("eth0", START, 10, Ends::Few)).unwrap();
    assert_eq!(files(&root).len(), 1);
}

#[test]
fn directories_that_cannot_be_written_are_all_named_before_the_start() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let below_a_file = file.join("flows");
    let sink = |path: &Path| SinkConfig {
        format: SinkFormat::Parquet,
        path: path.to_owned(),
        retention: Retention::default(),
        compact: true,
    };
    let configs = [
        sink(&below_a_file),
        sink(&root.path().join("fine")),
        sink(Path::new("/proc/flows")),
    ];
    let Err(errors) = open_sinks(&configs, now) else {
        panic!("two of three cannot be opened");
    };
    assert_eq!(errors.len(), 2);
    let message = errors[0].to_string();
    let path = below_a_file.display();
    assert_eq!(
        message,
        format!(
            "the parquet sink cannot store files below {path}: cannot create the directory {path}: \
             Not a directory (os error 20); move away what is in the place of the directory, or set \
             another `path`"
        )
    );
}

#[test]
fn a_full_disk_costs_the_interval_and_leaves_no_debris() {
    if !rustix::process::geteuid().is_root() {
        return skip("mounting a small tmpfs takes root");
    }
    let root = tempfile::tempdir().unwrap();
    let mut command = child(
        &PRIVATE_MOUNTS,
        "child_that_fills_a_small_disk",
        root.path(),
    );
    assert!(command.status().unwrap().success());
}

#[test]
fn child_that_fills_a_small_disk() {
    let Some(root) = child_root() else { return };
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(&root)
        .status();
    assert!(mount.unwrap().success());
    let mut parquet = open(Parquet::new(), &root);
    let mut json = open(JsonLines::new(), &root);
    let large = interval("eth0", START, 20_000, Ends::Many);
    for sink in [&mut parquet as &mut dyn WriteoutHandler, &mut json] {
        let error = sink.write(&large).unwrap_err();
        assert!(error.is_transient());
        let WriteoutError::Store {
            operation, source, ..
        } = &error
        else {
            panic!("{error}");
        };
        let kind = source.downcast_ref::<std::io::Error>().unwrap().kind();
        assert_eq!((*operation, kind), ("write", ErrorKind::StorageFull));
        assert!(files(&root).is_empty(), "{:?}", files(&root));
    }
    for sink in [&mut parquet as &mut dyn WriteoutHandler, &mut json] {
        sink.write(&interval("eth0", START, 10, Ends::Few)).unwrap();
    }
    assert_eq!(files(&root).len(), 2);
}

#[test]
fn a_disk_full_of_expired_intervals_takes_new_ones() {
    if !rustix::process::geteuid().is_root() {
        return skip("mounting a small tmpfs takes root");
    }
    let root = tempfile::tempdir().unwrap();
    let test = "child_that_fills_a_disk_with_expired_intervals";
    let mut command = child(&PRIVATE_MOUNTS, test, root.path());
    assert!(command.status().unwrap().success());
}

#[test]
fn child_that_fills_a_disk_with_expired_intervals() {
    let Some(root) = child_root() else { return };
    // Without blocks, and without inodes, where not even an empty file can be made.
    for options in ["size=256k", "size=16m,nr_inodes=40"] {
        let root = root.join(options);
        fs::create_dir(&root).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&root)
            .status();
        assert!(mount.unwrap().success());
        fill_with_expired_intervals_and_write(&root);
    }
}

fn fill_with_expired_intervals_and_write(root: &Path) {
    let mut unbounded = open(Parquet::new(), root);
    let filled = (0..1000).find_map(|minute| {
        let start: jiff::Timestamp = START.parse().unwrap();
        let start = start + jiff::SignedDuration::from_mins(minute);
        let interval = interval("eth0", &start.to_string(), 10, Ends::Few);
        unbounded
            .write(&interval)
            .err()
            .map(|error| (minute, error))
    });
    let (written, error) = filled.expect("the disk is small");
    assert!(written > 10 && error.is_no_space(), "{written}: {error}");
    let retention = Retention {
        max_age: Some(Duration::from_hours(1)),
        ..Retention::default()
    };
    let mut sink = FileSink::open(Parquet::new(), root.to_owned(), retention, now).unwrap();
    sink.write(&interval("eth1", START, 10, Ends::Few)).unwrap();
    assert!(!root.join("iface=eth0").exists());
}

#[test]
fn a_file_that_cannot_be_deleted_does_not_keep_the_others() {
    if !rustix::process::geteuid().is_root() {
        return skip("mounting a directory read-only takes root");
    }
    let root = tempfile::tempdir().unwrap();
    let test = "child_that_prunes_a_tree_with_a_read_only_day";
    let mut command = child(&PRIVATE_MOUNTS, test, root.path());
    assert!(command.status().unwrap().success());
}

#[test]
fn child_that_prunes_a_tree_with_a_read_only_day() {
    let Some(root) = child_root() else { return };
    let retention = Retention {
        max_age: Some(Duration::from_hours(1)),
        ..Retention::default()
    };
    for start in ["2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z"] {
        let old = interval("eth0", start, 1, Ends::Few);
        open(Parquet::new(), &root).write(&old).unwrap();
    }
    let days = root.join("iface=eth0");
    let read_only = days.join("date=2026-02-01");
    let mount = Command::new("mount")
        .args(["--bind", "-o", "ro"])
        .args([&read_only, &read_only])
        .status();
    assert!(mount.unwrap().success());

    let mut sink = FileSink::open(Parquet::new(), root.clone(), retention, now).unwrap();
    sink.write(&interval("eth0", START, 1, Ends::Few)).unwrap();
    let mut left: Vec<_> = fs::read_dir(days)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["date=2026-02-01", "date=2026-03-01"]);
}

#[test]
fn a_running_writeout_stores_every_interval_in_every_sink() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_owned();
    let retention = Retention::default();
    let configs = [
        SinkConfig {
            format: SinkFormat::Parquet,
            path: path.clone(),
            retention,
            compact: false,
        },
        SinkConfig {
            format: SinkFormat::Json,
            path,
            retention,
            compact: false,
        },
    ];
    let sinks = open_sinks(&configs, now).unwrap();
    let writeout = Writeout::start(sinks, QueuePolicy::default()).unwrap();
    for minute in 0..10 {
        let start = format!("2026-03-01T00:{minute:02}:00Z");
        writeout.submit(Arc::new(interval("eth0", &start, 100, Ends::Few)));
    }
    let deadline = Instant::now() + Duration::from_mins(1);
    for report in writeout.finish(deadline) {
        assert!(report.is_complete(), "{report}");
    }
    assert_eq!(files(root.path()).len(), 20);
    let stored: u64 = writeout.stats().iter().map(|stats| stats.bytes()).sum();
    let on_disk = files(root.path()).into_iter().map(|name| {
        let path = root.path().join(DAY).join(name);
        fs::metadata(path).unwrap().len()
    });
    assert_eq!(stored, on_disk.sum::<u64>());
}
