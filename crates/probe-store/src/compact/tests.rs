//! Compaction: what it leaves, and when it leaves a day alone. [`kill`]: what a killed agent leaves.
//! [`background`]: the thread. [`changes`]: days that change meanwhile. [`full`]: disks. [`rights`]: who may read.

mod background;
mod changes;
mod full;
mod kill;
mod rights;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use ::parquet::{
    errors::ParquetError,
    file::reader::{FileReader, SerializedFileReader},
    record::RowAccessor,
};
use jiff::civil::{Date, date};
use proptest::prelude::*;

use super::{
    CompactError, Compactor, Outcome,
    merge::{self, MergeError, merge},
    old::system_error,
    plan::ledgers,
};
use crate::{
    WriteoutError, WriteoutHandler, file_sink::FileSink, fixture, options::Retention,
    parquet::Parquet,
};
use probe_flow::{interval::Interval, moment::Moment};

const DAY: Date = date(2026, 3, 1);
const IFACE: &str = "iface=eth0";
const DAY_DIR: &str = "iface=eth0/date=2026-03-01";

/// A store in a directory of its own, since the day in the making is beside it.
struct Store {
    directory: tempfile::TempDir,
}

impl Store {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("flows")).unwrap();
        Self { directory }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("flows")
    }

    fn day(&self) -> PathBuf {
        self.root().join(DAY_DIR)
    }

    fn compactor(&self) -> Compactor {
        Compactor::new(self.root(), 0)
    }

    fn compact(&self) -> Result<Outcome, CompactError> {
        self.compactor().compact(IFACE, DAY)
    }

    /// Nothing is left beside the store.
    fn assert_clean(&self) {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["flows"]);
    }
}

fn clock() -> Moment {
    Moment {
        wall: "2026-03-02T06:00:00Z".parse().unwrap(),
        since_boot: Duration::from_hours(1),
    }
}

fn write(root: &Path, interval: &Interval) {
    let open = FileSink::open(Parquet::new(), root.to_owned(), Retention::default(), clock);
    open.unwrap().write(interval).unwrap();
}

fn write_day(root: &Path, intervals: u32, flows: u32) {
    for number in 0..intervals {
        let (hour, minute) = (number / 12 % 24, number % 12 * 5);
        let start = format!("2026-03-01T{hour:02}:{minute:02}:00Z");
        write(root, &fixture::interval("eth0", &start, flows));
    }
}

/// Every Parquet file that `**/*.parquet` finds, hidden directories included, as DuckDB and Polars do.
fn glob(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else {
        return found;
    };
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            found.extend(glob(&path));
        } else if path.extension().is_some_and(|it| it == "parquet") {
            found.push(path);
        }
    }
    found
}

/// Rows and ledgers, each with how often it is there; `None` if a file is gone meanwhile.
fn content(root: &Path) -> Option<[BTreeMap<String, u64>; 2]> {
    let mut content = [BTreeMap::new(), BTreeMap::new()];
    for path in glob(root) {
        let reader = SerializedFileReader::new(File::open(path).ok()?).unwrap();
        for row in reader.get_row_iter(None).unwrap() {
            *content[0].entry(row.unwrap().to_string()).or_default() += 1;
        }
        for ledger in ledgers(reader.metadata().file_metadata()).unwrap() {
            *content[1].entry(ledger).or_default() += 1;
        }
    }
    Some(content)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn rows_and_ledgers_are_the_same_as_before(
        days in prop::collection::vec(prop::collection::vec(fixture::flows(0..40), 1..5), 1..3),
    ) {
        let store = Store::new();
        let mut minute = 0;
        // The second time a compacted file is merged with files that came later.
        for intervals in days {
            for flows in intervals {
                let start = format!("2026-03-01T{:02}:{:02}:00.000001Z", minute / 60, minute % 60);
                minute += 5;
                write(&store.root(), &Interval { flows, ..fixture::interval("eth0", &start, 0) });
            }
            let before = content(&store.root()).unwrap();
            let files = glob(&store.root()).len();
            let outcome = store.compact().unwrap();
            prop_assert_eq!(matches!(outcome, Outcome::Compacted(_)), files > 1, "{:?}", outcome);
            prop_assert_eq!(glob(&store.root()).len(), 1);
            prop_assert_eq!(content(&store.root()).unwrap(), before);
            prop_assert_eq!(store.compact().unwrap(), Outcome::Nothing);
            store.assert_clean();
        }
    }
}

#[test]
fn the_name_tells_when_the_day_ends_and_is_none_of_the_old_ones() {
    let store = Store::new();
    write_day(&store.root(), 3, 5);
    // As long as all others together, as after the clock was set.
    let long = Interval {
        end: "2026-03-01T00:15:00Z".parse().unwrap(),
        ..fixture::interval("eth0", "2026-03-01T00:00:00Z", 5)
    };
    write(&store.root(), &long);
    let Outcome::Compacted(compacted) = store.compact().unwrap() else {
        panic!("not compacted");
    };
    assert_eq!(
        (compacted.files, compacted.rows, compacted.intervals),
        (4, 20, 4)
    );
    let name = "20260301T000000.000Z-20260301T001500.000Z-1.parquet";
    let path = store.day().join(name);
    assert_eq!(glob(&store.root()), std::slice::from_ref(&path));
    assert_eq!(fs::metadata(path).unwrap().len(), compacted.new_bytes);
}

#[test]
fn rows_are_sorted_and_ledgers_are_one_array() {
    let store = Store::new();
    write_day(&store.root(), 3, 50);
    store.compact().unwrap();
    let file = File::open(&glob(&store.root())[0]).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let rows = reader.get_row_iter(None).unwrap().map(Result::unwrap);
    let keys: Vec<_> = rows
        .map(|row| {
            let start = row.get_timestamp_micros(0).unwrap();
            (row.get_string(4).unwrap().clone(), start)
        })
        .collect();
    assert_eq!(keys.len(), 150);
    assert!(keys.is_sorted(), "by address, then by time");
    let metadata = reader.metadata();
    let pairs = metadata.file_metadata().key_value_metadata().unwrap();
    let value = |key: &str| {
        let pair = pairs.iter().find(|pair| pair.key == key).unwrap();
        pair.value.clone().unwrap()
    };
    let ledgers: Vec<serde_json::Value> = serde_json::from_str(&value("probe.ledgers")).unwrap();
    let starts: Vec<_> = ledgers
        .iter()
        .map(|ledger| ledger["start"].as_str())
        .collect();
    assert_eq!(
        starts,
        ["00:00", "00:05", "00:10"]
            .map(|time| format!("2026-03-01T{time}:00Z"))
            .each_ref()
            .map(|it| Some(it.as_str()))
    );
    let sum: serde_json::Value = serde_json::from_str(&value("probe.ledgers_sum")).unwrap();
    assert_eq!((&sum["intervals"], &sum["rows"]), (&3.into(), &150.into()));
    assert_eq!(value("probe.interval_start"), "2026-03-01T00:00:00Z");
    assert_eq!(value("probe.interval_end"), "2026-03-01T00:15:00Z");
    assert_eq!(value("probe.iface"), "eth0");
    let address = metadata.row_group(0).column(4);
    assert!(address.bloom_filter_offset().is_some() && address.column_index_offset().is_some());
}

#[test]
fn a_damaged_file_leaves_the_day_as_it_is() {
    let store = Store::new();
    write_day(&store.root(), 4, 20);
    let files = glob(&store.root());
    let whole = fs::read(&files[2]).unwrap();
    for damaged in [
        whole[..whole.len() / 2].to_vec(),
        Vec::new(),
        [
            &whole[..4],
            &vec![0xa5; whole.len() / 2 - 4],
            &whole[whole.len() / 2..],
        ]
        .concat(),
    ] {
        fs::write(&files[2], damaged).unwrap();
        let error = store.compact().unwrap_err();
        assert!(
            matches!(error, CompactError::Unreadable { .. }),
            "{error:?}"
        );
        let message = error.to_string();
        let name = files[2].file_name().unwrap().to_str().unwrap();
        assert!(message.contains(name), "{message}");
        assert_eq!(glob(&store.root()), files);
        store.assert_clean();
    }
    fs::write(&files[2], whole).unwrap();
    assert!(matches!(store.compact().unwrap(), Outcome::Compacted(_)));
}

#[test]
fn a_damaged_octet_is_no_trouble_with_the_disk() {
    let store = Store::new();
    write_day(&store.root(), 1, 20);
    let path = glob(&store.root()).remove(0);
    let whole = fs::read(&path).unwrap();
    let scratch = store.directory.path().join("new");
    let mut damaged = 0;
    for place in (4..whole.len()).step_by(3) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0xff;
        fs::write(&path, bytes).unwrap();
        let merged = std::panic::catch_unwind(|| {
            merge(
                &Paths(vec![path.clone()]),
                &mut File::create(&scratch).unwrap(),
            )
        });
        // Not each octet can be checked, and the decoder may panic.
        let Ok(Err(error)) = merged else { continue };
        let MergeError::Source(error) = error else {
            panic!("octet {place}: {error:?}");
        };
        system_error(error).unwrap_err();
        damaged += 1;
    }
    assert!(damaged > 100, "{damaged}");
}

#[test]
fn a_day_with_other_things_in_it_stays() {
    let store = Store::new();
    write_day(&store.root(), 2, 5);
    let files = glob(&store.root());
    for name in [
        "notes.txt",
        "20260301T000000.000Z-20260301T000500.000Z.jsonl",
    ] {
        let path = store.day().join(name);
        fs::write(&path, "").unwrap();
        let error = store.compact().unwrap_err();
        assert!(matches!(error, CompactError::Foreign { .. }), "{error}");
        fs::remove_file(path).unwrap();
    }
    fs::create_dir(store.day().join("more")).unwrap();
    assert!(store.compact().is_err());
    fs::remove_dir(store.day().join("more")).unwrap();
    let pending = format!(".{}.1.tmp", files[0].file_name().unwrap().to_str().unwrap());
    let pending = store.day().join(pending);
    let writer = File::create(&pending).unwrap();
    writer.lock().unwrap();
    assert_eq!(store.compact().unwrap(), Outcome::Busy);
    assert!(pending.exists());
    assert_eq!(glob(&store.root()), files);
    // Its writer was killed.
    drop(writer);
    assert!(matches!(store.compact().unwrap(), Outcome::Compacted(_)));
    assert!(!pending.exists());
    store.assert_clean();
}

#[test]
fn a_day_that_is_written_to_is_put_off() {
    let store = Store::new();
    write_day(&store.root(), 2, 5);
    let interval = fixture::interval("eth0", "2026-03-01T23:55:00Z", 1);
    let root = crate::partition::Directory::open_root(&store.root()).unwrap();
    let writer = root.create_partition(&interval).unwrap();
    assert_eq!(store.compact().unwrap(), Outcome::Busy);
    drop(writer);
    assert!(matches!(store.compact().unwrap(), Outcome::Compacted(_)));
    store.assert_clean();
}

struct Paths(Vec<PathBuf>);
impl merge::Sources for Paths {
    fn number(&self) -> usize {
        self.0.len()
    }

    fn open(&self, index: usize) -> Result<SerializedFileReader<File>, ParquetError> {
        SerializedFileReader::new(File::open(&self.0[index])?)
    }
}

#[test]
fn a_full_disk_is_an_error_that_says_so() {
    let store = Store::new();
    write_day(&store.root(), 2, 5);
    let files = glob(&store.root());
    let error = Compactor::new(store.root(), u64::MAX).compact(IFACE, DAY);
    assert!(matches!(error, Err(CompactError::NoRoom { .. })));
    assert_eq!(glob(&store.root()), files);

    let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = merge(&Paths(files), &mut full).unwrap_err();
    let MergeError::New(error) = error else {
        panic!("{error:?}");
    };
    let source = system_error(error).unwrap();
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
    store.assert_clean();
}

type Hook = (&'static str, Box<dyn Fn()>);

thread_local! {
    /// What a test does in the middle of a compaction on its thread.
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    /// The step that fails on its thread.
    static FAILURE: RefCell<Option<&'static str>> = const { RefCell::new(None) };
}

/// Fails where a test wants it.
pub(super) fn fail_at(step: &str) -> Result<(), WriteoutError> {
    let fails = FAILURE.with_borrow_mut(|it| it.take_if(|wanted| *wanted == step));
    if fails.is_none() {
        return Ok(());
    }
    let error = rustix::io::Errno::IO.into();
    Err(WriteoutError::file("make durable", Path::new(step), error))
}

/// Kills this process if it is a child that is to end at this step, or lets a test change the store.
pub(super) fn at(step: &str) {
    let hook = HOOK.with_borrow_mut(|hook| hook.take_if(|(wanted, _)| *wanted == step));
    if let Some((_, change)) = hook {
        change();
    }
    if std::env::var_os("PROBE_TEST_KILL_AT").is_some_and(|at| at == step) {
        let this = rustix::process::getpid();
        rustix::process::kill_process(this, rustix::process::Signal::KILL).unwrap();
    }
}

#[test]
fn retention_counts_and_deletes_a_compacted_day() {
    let store = Store::new();
    for time in ["00:00", "12:00", "23:50"] {
        let start = format!("2026-03-01T{time}:00Z");
        write(&store.root(), &fixture::interval("eth0", &start, 20));
    }
    store.compact().unwrap();
    let open = |max_age| {
        let retention = Retention {
            max_age,
            ..Retention::default()
        };
        let mut sink = FileSink::open(Parquet::new(), store.root(), retention, clock).unwrap();
        sink.maintain();
        sink.report().unwrap()
    };
    let report = open(None);
    // The file has all that was written since its start, not since its end.
    let since = 30 * 3600;
    assert_eq!(report.bytes_per_day, Some(report.bytes * 86_400 / since));
    let size = fs::metadata(&glob(&store.root())[0]).unwrap();
    assert_eq!(report.bytes, size.blocks() * 512);
    // The day counts as old when its last interval does.
    let last = "2026-03-01T23:55:00Z".parse().unwrap();
    assert_eq!(report.oldest, Some(last));
    open(Some(Duration::from_mins(6 * 60 + 5)));
    assert_eq!(glob(&store.root()).len(), 1);
    open(Some(Duration::from_mins(6 * 60 + 4)));
    assert!(!store.root().join(IFACE).exists());
}

#[test]
fn open_files_of_a_compacted_day_can_be_read_on() {
    let store = Store::new();
    write_day(&store.root(), 3, 20);
    let files = glob(&store.root());
    let open: Vec<_> = files.iter().map(|path| File::open(path).unwrap()).collect();
    store.compact().unwrap();
    let rows = open.into_iter().map(|file| {
        let reader = SerializedFileReader::new(file).unwrap();
        reader
            .get_row_iter(None)
            .unwrap()
            .map(Result::unwrap)
            .count()
    });
    assert_eq!(rows.sum::<usize>(), 60);
    // Who has listed the old files is told that they are gone.
    assert!(files.iter().all(|path| !path.exists()));
}
