//! Disks that are full, or become full.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use probe_testkit::skip;

use super::{DAY, DAY_DIR, HOOK, IFACE, clock};
use crate::{
    WriteoutHandler,
    compact::{CompactError, Compactor, Outcome},
    file_sink::FileSink,
    fixture,
    options::Retention,
    parquet::Parquet,
};

#[test]
fn a_closed_day_on_a_full_disk_stays_as_it_is() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    // In a mount namespace of its own: its mounts end with it.
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "compact::tests::full::child_that_fills_disks"])
        .args(["--ignored", "--nocapture"])
        .env("PROBE_TEST_ROOT", root.path())
        .status();
    assert!(status.unwrap().success());
}

#[test]
#[ignore = "a child that another test starts"]
fn child_that_fills_disks() {
    let Some(root) = std::env::var_os("PROBE_TEST_ROOT").map(PathBuf::from) else {
        return;
    };
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
    let open = FileSink::open(Parquet::new(), root.clone(), Retention::default(), clock);
    let mut sink = open.unwrap();
    let written = (0..1000).take_while(|number| {
        let start = format!("2026-03-01T{:02}:{:02}:00Z", number / 60, number % 60);
        sink.write(&fixture::interval("eth0", &start, 100)).is_ok()
    });
    let written = written.count();
    assert!((5..1000).contains(&written), "{written} files");
    let before = files(&root);
    let compactor = Compactor::new(root.clone(), 0);
    match compactor.compact(IFACE, DAY).unwrap_err() {
        CompactError::NoRoom { .. } => {}
        CompactError::Store(error) => assert!(error.is_no_space(), "{error}"),
        error => panic!("{error}"),
    }
    assert_eq!(files(&root), before);
    // There is room again: most of the day is moved to another disk.
    for path in before.keys().take(written / 2 + 2) {
        fs::remove_file(path).unwrap();
    }
    let before = files(&root);
    // Until somebody else takes it, but for so much.
    for left in [0, 4096, 8192] {
        let filler = disk.join("filler");
        let fill = move || fill(&filler, left);
        HOOK.set(Some(("begun", Box::new(fill))));
        let result = compactor.compact(IFACE, DAY);
        fs::remove_file(disk.join("filler")).unwrap();
        match result {
            Err(CompactError::Store(error)) => {
                assert!(error.is_no_space(), "{error}");
                let error = error.to_string();
                assert!(error.contains(".flows.compacting/day/2026"), "{error}");
                assert_eq!(files(&root), before);
                assert_eq!(fs::read_dir(disk).unwrap().count(), 1);
            }
            result => panic!("{result:?}"),
        }
    }
    let Outcome::Compacted(compacted) = compactor.compact(IFACE, DAY).unwrap() else {
        panic!("not compacted");
    };
    assert_eq!(compacted.intervals, before.len());
    assert_eq!(files(&root).len(), 1);
    assert_eq!(fs::read_dir(disk).unwrap().count(), 1);
}

/// Fills the disk of a file but for so many bytes.
fn fill(path: &Path, left: usize) {
    let mut file = File::create(path).unwrap();
    let mut length = 0;
    while file.write_all(&[1; 4096]).is_ok() {
        length += 4096;
    }
    file.set_len(length - left as u64).unwrap();
}

/// The files of the day with what is in them.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(root.join(DAY_DIR)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}
