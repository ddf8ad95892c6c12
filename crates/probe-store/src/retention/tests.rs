use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;

use super::{Pruned, Pruner};
use crate::options::Retention;

/// Ten minutes of `eth0` before and after midnight and a file of `eth1`, 100 bytes each.
const FILES: [&str; 4] = [
    "iface=eth0/date=2026-02-28/20260228T235000.000Z-20260228T235500.000Z.parquet",
    "iface=eth1/date=2026-02-28/20260228T235100.000Z-20260228T235600.000Z.parquet",
    "iface=eth0/date=2026-02-28/20260228T235500.000Z-20260301T000000.000Z.parquet",
    "iface=eth0/date=2026-03-01/20260301T000000.000Z-20260301T000500.000Z.parquet",
];
const NOW: &str = "2026-03-01T00:05:00Z";

fn tree(root: &Path, files: &[&str]) {
    for file in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, [0; 100]).unwrap();
    }
}

/// All paths below `dir`, empty directories included.
fn listing(dir: &Path) -> Vec<String> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        let entries: Vec<_> = fs::read_dir(dir).unwrap().map(Result::unwrap).collect();
        if entries.is_empty() {
            found.push(dir.to_owned());
        }
        for entry in entries {
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), found);
            } else {
                found.push(entry.path());
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, &mut found);
    let relative = |path: &PathBuf| path.strip_prefix(dir).unwrap().display().to_string();
    let mut paths: Vec<_> = found.iter().map(relative).collect();
    paths.sort();
    paths
}

fn sorted(files: &[&str]) -> Vec<String> {
    let mut files: Vec<_> = files.iter().map(|&file| file.to_owned()).collect();
    files.sort();
    files
}

fn prune(root: &Path, retention: Retention) -> Pruned {
    let now: Timestamp = NOW.parse().unwrap();
    let mut pruner = Pruner::new(root.to_owned(), "parquet", retention);
    prune_with(&mut pruner, now)
}

fn prune_with(pruner: &mut Pruner, now: Timestamp) -> Pruned {
    let (pruned, result) = pruner.prune(now);
    result.unwrap();
    pruned
}

fn by_age(minutes: u64) -> Retention {
    Retention {
        max_age: Some(Duration::from_mins(minutes)),
        max_size_bytes: None,
    }
}

fn by_size(bytes: u64) -> Retention {
    Retention {
        max_age: None,
        max_size_bytes: Some(bytes),
    }
}

#[test]
fn age_counts_from_the_end_of_an_interval() {
    for (minutes, kept) in [
        (15, &FILES[..]),
        (8, &FILES[2..]),
        (5, &FILES[2..]),
        (4, &FILES[3..]),
    ] {
        let root = tempfile::tempdir().unwrap();
        tree(root.path(), &FILES);
        let pruned = prune(root.path(), by_age(minutes));
        assert_eq!(listing(root.path()), sorted(kept), "{minutes} min");
        assert_eq!(pruned.files, (FILES.len() - kept.len()) as u64);
    }
}

#[test]
fn size_takes_the_oldest_first_across_interfaces() {
    for (bytes, kept) in [
        (400, &FILES[..]),
        (399, &FILES[1..]),
        (200, &FILES[2..]),
        (199, &FILES[3..]),
    ] {
        let root = tempfile::tempdir().unwrap();
        tree(root.path(), &FILES);
        let pruned = prune(root.path(), by_size(bytes));
        assert_eq!(listing(root.path()), sorted(kept), "{bytes} bytes");
        assert_eq!(pruned.bytes, 100 * (FILES.len() - kept.len()) as u64);
    }
}

#[test]
fn the_size_is_kept_in_mind_between_counts() {
    let root = tempfile::tempdir().unwrap();
    tree(root.path(), &FILES[..3]);
    let now: Timestamp = NOW.parse().unwrap();
    let mut pruner = Pruner::new(root.path().to_owned(), "parquet", by_size(300));
    assert_eq!(prune_with(&mut pruner, now), Pruned::default());
    tree(root.path(), &FILES[3..]);
    pruner.on_written(100);
    assert_eq!(prune_with(&mut pruner, now).files, 1);
    assert_eq!(prune_with(&mut pruner, now).files, 0);
    assert_eq!(listing(root.path()), sorted(&FILES[1..]));
}

#[test]
fn foreign_files_and_what_links_lead_to_are_left_alone() {
    let foreign = [
        "README",
        "iface=eth0/notes.parquet",
        "iface=eth0/date=2020-01-01/copy of flows.parquet",
        "iface=eth0/date=2020-01-01/20200101T000000.000Z-20200101T000500.000Z.jsonl",
        "iface=eth0/2020/20200101T000000.000Z-20200101T000500.000Z.parquet",
        "backup/date=2020-01-01/20200101T000000.000Z-20200101T000500.000Z.parquet",
    ];
    let root = tempfile::tempdir().unwrap();
    tree(root.path(), &foreign);
    let outside = tempfile::tempdir().unwrap();
    tree(outside.path(), &FILES);
    let link = |from: PathBuf, to: &str| {
        std::os::unix::fs::symlink(from, root.path().join(to)).unwrap();
    };
    link(outside.path().join("iface=eth0"), "iface=link");
    link(
        outside.path().join("iface=eth0/date=2026-02-28"),
        "iface=eth0/date=2026-02-28",
    );
    link(
        outside.path().join(FILES[0]),
        "iface=eth0/date=2020-01-01/20200101T000000.000Z-20200101T000500.000Z.parquet",
    );
    let before = listing(root.path());
    for retention in [by_age(0), by_size(0)] {
        assert_eq!(prune(root.path(), retention), Pruned::default());
        assert_eq!(listing(root.path()), before);
        assert_eq!(listing(outside.path()), sorted(&FILES));
    }
}
