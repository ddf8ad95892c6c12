//! Trees that hold what is not ours, or cannot be read.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{
    super::{
        Pruned,
        model::{FILE, Host},
    },
    FILES, by_age, by_size, flows, listing, now, prune, pruner, sorted, tree,
};

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
