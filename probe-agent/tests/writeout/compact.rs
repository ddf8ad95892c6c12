//! Compaction on a disk that is full.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use jiff::civil::date;
use probe_store::{
    WriteoutHandler,
    compact::{CompactError, Compactor, Outcome},
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
