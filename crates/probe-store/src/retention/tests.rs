mod clock;
mod reading;
mod space;

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use probe_flow::moment::Moment;

use super::{
    Bounds, Pruned, Pruner, Tree,
    model::{FILE, Host},
};
use crate::options::{MinFree, Retention};

/// Ten minutes of `eth0` before and after midnight and a file of `eth1`, of one block each.
const FILES: [&str; 4] = [
    "iface=eth0/date=2026-02-28/20260228T235000.000Z-20260228T235500.000Z.parquet",
    "iface=eth1/date=2026-02-28/20260228T235100.000Z-20260228T235600.000Z.parquet",
    "iface=eth0/date=2026-02-28/20260228T235500.000Z-20260301T000000.000Z.parquet",
    "iface=eth0/date=2026-03-01/20260301T000000.000Z-20260301T000500.000Z.parquet",
];
const DAY: Duration = Duration::from_hours(24);
const NOW: &str = "2026-03-01T00:05:00Z";

fn tree(root: &Path, files: &[&str]) {
    for file in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, [1; 100]).unwrap();
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

/// The same without the note of the trusted time.
fn flows(root: &Path) -> Vec<String> {
    let mut paths = listing(root);
    paths.retain(|path| path != ".retention-parquet.json");
    paths
}

fn sorted(files: &[&str]) -> Vec<String> {
    let mut files: Vec<_> = files.iter().map(|&file| file.to_owned()).collect();
    files.sort();
    files
}

/// What a file of [`tree`] takes on disk.
fn block(root: &Path) -> u64 {
    let probe = root.join("probe");
    fs::write(&probe, [1; 100]).unwrap();
    let bytes = fs::metadata(&probe).unwrap().blocks() * 512;
    fs::remove_file(probe).unwrap();
    bytes
}

fn now() -> Moment {
    Moment {
        wall: NOW.parse().unwrap(),
        since_boot: Duration::from_hours(1),
    }
}

fn pruner(root: &Path, retention: Retention) -> Pruner<Tree> {
    let tree = Tree::new(root.to_owned(), "parquet");
    Pruner::new(tree, "parquet", retention, "boot".to_owned())
}

fn prune(root: &Path, retention: Retention) -> Pruned {
    prune_with(&mut pruner(root, retention))
}

fn prune_with(pruner: &mut Pruner<Tree>) -> Pruned {
    let (pruned, result) = pruner.prune(now());
    result.unwrap();
    pruned
}

fn by_age(minutes: u64) -> Retention {
    Retention {
        max_age: Some(Duration::from_mins(minutes)),
        ..Retention::default()
    }
}

fn by_size(bytes: u64) -> Retention {
    Retention {
        max_size_bytes: Some(bytes),
        ..Retention::default()
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
        assert_eq!(flows(root.path()), sorted(kept), "{minutes} min");
        assert_eq!(pruned.files, (FILES.len() - kept.len()) as u64);
    }
}

#[test]
fn size_takes_the_oldest_first_across_interfaces() {
    let block = block(tempfile::tempdir().unwrap().path());
    for (bytes, kept) in [
        (4 * block, &FILES[..]),
        (4 * block - 1, &FILES[1..]),
        (2 * block, &FILES[2..]),
        (2 * block - 1, &FILES[3..]),
    ] {
        let root = tempfile::tempdir().unwrap();
        tree(root.path(), &FILES);
        let pruned = prune(root.path(), by_size(bytes));
        assert_eq!(flows(root.path()), sorted(kept), "{bytes} bytes");
        assert_eq!(pruned.bytes, block * (FILES.len() - kept.len()) as u64);
    }
}

#[test]
fn what_somebody_deletes_is_not_deleted_twice() {
    let root = tempfile::tempdir().unwrap();
    let block = block(root.path());
    tree(root.path(), &FILES[1..]);
    let mut pruner = pruner(root.path(), by_size(3 * block));
    assert_eq!(prune_with(&mut pruner), Pruned::default());
    // One file more than allowed, by what is kept in mind; on disk there are fewer than before.
    let written = "2026-03-01T00:10:00Z".parse().unwrap();
    let bounds = Bounds {
        start: written,
        end: written,
        end_since_boot: None,
    };
    pruner.on_written(bounds, block, now());
    fs::remove_file(root.path().join(FILES[1])).unwrap();
    assert_eq!(prune_with(&mut pruner).files, 0);
    let left = [FILES[2], FILES[3], "iface=eth1/date=2026-02-28"];
    assert_eq!(flows(root.path()), sorted(&left));
}

#[test]
fn room_is_made_before_a_write_and_again_on_a_full_disk() {
    // Four intervals a day for three days, and the one that is just old enough to stay.
    let mut host = Host::new(by_age(3 * 24 * 60), 13 * FILE);
    for _ in 0..40 {
        assert!(host.write(), "what has expired makes room");
        assert!(host.disk.0.borrow().kept.len() <= 13);
    }
    assert_eq!(host.disk.0.borrow().free(), 0);
    // Less than a minute after the last pass, when one more has expired.
    assert!(host.write_after(30));
    // None of these has, and the rule allows nothing.
    assert!(!host.write_after(3600));
    assert_eq!(host.disk.0.borrow().kept.len(), 13);
}

#[test]
fn free_space_is_kept_by_deleting_the_oldest() {
    for (min_free, kept) in [
        (MinFree::Bytes(0), 10),
        (MinFree::Bytes(10 * FILE), 10),
        (MinFree::Bytes(12 * FILE), 8),
        (MinFree::Percent(65), 7),
        (MinFree::Percent(100), 0),
    ] {
        let retention = Retention {
            min_free: Some(min_free),
            ..Retention::default()
        };
        let mut host = Host::new(Retention::default(), 20 * FILE);
        for _ in 0..10 {
            host.write();
        }
        let mut pruner = Pruner::new(host.disk.clone(), "parquet", retention, "boot".to_owned());
        pruner.prune(host.now()).1.unwrap();
        assert_eq!(host.disk.0.borrow().kept.len(), kept, "{min_free:?}");
        let newest = host
            .disk
            .0
            .borrow()
            .kept
            .values()
            .map(|it| it.written)
            .max();
        assert!(kept == 0 || newest == Some(host.time), "the newest stay");
    }
}

#[test]
fn what_a_write_leaves_free_is_told_at_once() {
    let mut host = Host::new(by_age(24 * 60), 4 * FILE);
    for _ in 0..4 {
        assert!(host.write_after(1));
        let report = host.pruner.report().unwrap();
        let contents = host.disk.0.borrow();
        let told = (report.bytes, report.free_bytes);
        assert_eq!(told, (contents.stored(), Some(contents.free())));
    }
    assert!(!host.write_after(1));
    // Others make room.
    host.disk.0.borrow_mut().total += 2 * FILE;
    assert!(host.write_after(1));
    assert_eq!(host.pruner.report().unwrap().free_bytes, Some(FILE));
}

#[test]
fn a_day_that_is_compacted_meanwhile_costs_no_younger_one() {
    for (max, deleted) in [(9, 0), (8, 1), (4, 5)] {
        let mut host = Host::new(Retention::default(), 100 * FILE);
        for _ in 0..12 {
            host.write();
        }
        // The first of three days, whose four files become one.
        let day = host.disk.0.borrow().kept.keys().next().unwrap().0;
        host.disk.0.borrow_mut().compacts = Some(day);
        let disk = host.disk.clone();
        let mut pruner = Pruner::new(disk, "parquet", by_size(max * FILE), "boot".to_owned());
        let (pruned, result) = pruner.prune(host.now());
        result.unwrap();
        assert_eq!((pruned.files, pruned.bytes), (deleted, deleted * FILE));
        assert_eq!(host.disk.0.borrow().stored(), (9 - deleted) * FILE);
    }
}

#[test]
fn nothing_is_listed_as_long_as_nothing_has_to_go() {
    let mut host = Host::new(by_age(10 * 24 * 60), 1000 * FILE);
    for _ in 0..40 {
        host.write();
    }
    let read = |host: &Host| {
        let contents = host.disk.0.borrow();
        (contents.counts, contents.listings)
    };
    // The count of the start. What then expires is found in its day, and the size follows from it.
    assert_eq!(read(&host), (1, 0));
    for expired in 1..40 {
        host.write();
        let (counts, listings) = read(&host);
        assert_eq!(counts, 1);
        assert!(listings <= 2 * expired, "{listings} for {expired}");
        let stored = host.disk.0.borrow().stored();
        assert_eq!(host.pruner.report().unwrap().bytes, stored);
    }
}
