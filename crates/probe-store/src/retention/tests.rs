use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use probe_flow::moment::Moment;

use super::{
    Bounds, Pruned, Pruner, Tree,
    model::{FILE, Host, INTERVAL},
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
fn a_clock_that_jumps_ahead_deletes_nothing_until_it_is_confirmed() {
    let mut host = Host::new(by_age(90 * 24 * 60), 1000 * FILE);
    for _ in 0..124 {
        host.write();
    }
    host.error = 365 * 24 * 3600;
    host.write();
    assert_eq!(host.disk.0.borrow().kept.len(), 125);
    let held = host.pruner.report().and_then(|report| report.held).unwrap();
    assert_eq!(held.ahead.as_hours(), 365 * 24);
    assert_eq!(held.held_bytes, 124 * FILE);
    // Neither after a restart of the agent, nor after one of the host.
    host.restart();
    host.write();
    host.reboot(60, host.error);
    host.write();
    assert_eq!(host.disk.0.borrow().kept.len(), 127);
    let now = host.now();
    host.pruner.confirm_clock(now);
    assert_eq!(host.disk.0.borrow().kept.len(), 3);
    assert_eq!(host.pruner.report().unwrap().held, None);
}

#[test]
fn a_jump_is_told_with_the_next_write_and_one_that_is_believed_never() {
    let mut host = Host::new(by_age(90 * 24 * 60), 1000 * FILE);
    let is_held = |host: &Host| host.pruner.report().is_some_and(|it| it.held.is_some());
    host.write();
    for (error, expected) in [(3600, false), (365 * 24 * 3600, true), (3600, false)] {
        host.error = error;
        for second in 0..3 {
            assert!(host.write_after(1));
            assert_eq!(is_held(&host), expected, "{error} s, {second}");
        }
    }
    // Nor where nothing is written.
    host.error = -365 * 24 * 3600;
    host.pruner.look_after(host.now());
    assert!(is_held(&host));
}

#[test]
fn a_store_without_a_trusted_time_goes_by_its_newest_interval() {
    let root = tempfile::tempdir().unwrap();
    tree(root.path(), &FILES);
    let mut pruner = pruner(root.path(), by_age(24 * 60));
    let year_later = Moment {
        wall: "2027-03-01T00:05:00Z".parse().unwrap(),
        since_boot: Duration::from_hours(1),
    };
    let (pruned, result) = pruner.prune(year_later);
    result.unwrap();
    assert_eq!(pruned, Pruned::default());
    let held = pruner.report().and_then(|report| report.held).unwrap();
    assert_eq!(held.reference.to_string(), NOW);
    pruner.confirm_clock(year_later);
    assert_eq!(listing(root.path()), [".retention-parquet.json"]);
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
        assert_eq!(flows(root.path()), before);
        assert_eq!(listing(outside.path()), sorted(&FILES));
    }
}

#[test]
fn a_store_that_cannot_be_read_is_not_taken_for_an_empty_one() {
    let mut host = Host::new(by_age(90 * 24 * 60), 1000 * FILE);
    for _ in 0..40 {
        host.write();
    }
    // The note is lost, the clock is wrong, and the store cannot be read at the start.
    let mut contents = host.disk.0.borrow_mut();
    contents.trust = None;
    contents.is_unreadable = true;
    drop(contents);
    host.restart();
    host.error = 1000 * 24 * 3600;
    let (pruned, result) = host.pruner.prune(host.now());
    assert!(result.is_err());
    assert_eq!(pruned, Pruned::default());
    let told = host.pruner.report().and_then(|report| report.error.clone());
    assert!(told.is_some_and(|error| error.contains("cannot list /flows")));
    assert_eq!(host.disk.0.borrow().trust, None);

    host.disk.0.borrow_mut().is_unreadable = false;
    let (pruned, result) = host.pruner.prune(host.now());
    result.unwrap();
    assert_eq!(pruned, Pruned::default());
    let report = host.pruner.report().unwrap();
    assert_eq!(report.error, None);
    assert_eq!(
        report.held.map(|held| held.ahead.as_hours()),
        Some(1000 * 24)
    );
}

#[test]
fn the_oldest_interval_is_that_by_the_trusted_time() {
    let mut host = Host::new(by_age(90 * 24 * 60), 1000 * FILE);
    host.write();
    let begun = host.now().wall;
    for error in [-20_000, 5_000, 0] {
        host.error = error * 24 * 3600;
        host.write();
    }
    host.restart();
    host.write();
    let report = host.pruner.report().unwrap();
    assert_eq!(report.oldest, Some(begun));
    assert_eq!(report.age_deletes_at, begun.checked_add(90 * DAY).ok());
    // When it is gone, the oldest is that of the clock that was behind.
    host.disk.0.borrow_mut().remove_written(INTERVAL);
    host.restart();
    host.write();
    let oldest = host.pruner.report().unwrap().oldest;
    let interval = Duration::from_secs(INTERVAL.unsigned_abs());
    assert_eq!(oldest, begun.checked_add(interval).ok());
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
fn directories_of_a_wrong_day_go_with_their_last_files() {
    let root = tempfile::tempdir().unwrap();
    let wrong = [
        "iface=eth0/date=1970-01-02/19700102T000000.000Z-19700102T000500.000Z.parquet",
        "iface=eth1/date=1970-01-02/19700102T000000.000Z-19700102T000500.000Z.parquet",
    ];
    tree(root.path(), &FILES);
    let mut pruner = pruner(root.path(), by_age(24 * 60));
    prune_with(&mut pruner);
    let at = Moment {
        wall: "1970-01-02T00:05:00Z".parse().unwrap(),
        since_boot: Duration::from_hours(1),
    };
    tree(root.path(), &wrong);
    pruner.on_written(
        Bounds {
            start: at.wall,
            end: at.wall,
            end_since_boot: Some(at.since_boot),
        },
        0,
        at,
    );
    prune_with(&mut pruner);
    assert_eq!(flows(root.path()).len(), FILES.len() + wrong.len());
    let later = Moment {
        wall: now().wall.checked_add(2 * DAY).unwrap(),
        since_boot: now().since_boot + 2 * DAY,
    };
    pruner.prune(later).1.unwrap();
    assert_eq!(listing(root.path()), [".retention-parquet.json"]);
}

#[test]
fn a_directory_that_cannot_be_read_is_told_and_the_others_are_pruned() {
    let root = tempfile::tempdir().unwrap();
    tree(root.path(), &FILES);
    let closed = root.path().join("iface=eth1/date=2026-02-28");
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for dir in ["", "iface=eth0", "iface=eth0/date=2026-02-28", "iface=eth1"] {
        set_mode(&root.path().join(dir), 0o777);
    }
    for mode in [0o000, 0o444] {
        set_mode(&closed, mode);
        let pruned = as_nobody(|| {
            let mut pruner = pruner(root.path(), by_age(4));
            let (pruned, result) = pruner.prune(now());
            let told = pruner.report().and_then(|report| report.error.clone());
            assert_eq!(
                told.as_deref(),
                result.err().map(|it| it.to_string()).as_deref()
            );
            let told = told.unwrap();
            assert!(told.contains("iface=eth1/date=2026-02-28"), "{told}");
            pruned
        });
        assert_eq!(pruned.files, if mode == 0 { 2 } else { 0 });
    }
    set_mode(&closed, 0o755);
    assert_eq!(flows(root.path()), sorted(&[FILES[1], FILES[3]]));
}

/// Runs as somebody to whom permissions apply.
fn as_nobody<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if rustix::process::geteuid().is_root() {
                let nobody = rustix::process::Uid::from_raw(65534);
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            }
            run()
        });
        thread.join().unwrap()
    })
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
