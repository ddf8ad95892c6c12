//! Days that change while they are compacted.

use std::{collections::BTreeMap, fs, time::Duration};

use super::{FAILURE, HOOK, Store, background, content, glob, write, write_day};
use crate::{
    compact::{Outcome, worker::Pass},
    fixture,
};

/// Compacts the day, which is changed at that step. Returns what there was before.
fn compact_and_change(
    store: &Store,
    step: &'static str,
    change: impl Fn() + 'static,
) -> [BTreeMap<String, u64>; 2] {
    let before = content(&store.root()).unwrap();
    HOOK.set(Some((step, Box::new(change))));
    assert_eq!(store.compact().unwrap(), Outcome::Busy, "{step}");
    assert!(HOOK.take().is_none());
    store.assert_clean();
    before
}

#[test]
fn a_day_that_changes_meanwhile_is_left_as_it_is_then() {
    let store = Store::new();
    write_day(&store.root(), 3, 5);
    let files = glob(&store.root());
    // An interval that was late.
    let root = store.root();
    let late = move || write(&root, &fixture::interval("eth0", "2026-03-01T23:55:00Z", 7));
    let [rows, ledgers] = compact_and_change(&store, "durable", late);
    let [new_rows, new_ledgers] = content(&store.root()).unwrap();
    assert_eq!(new_rows.len(), rows.len() + 7);
    assert_eq!(new_ledgers.len(), ledgers.len() + 1);

    // Retention deletes the oldest.
    let oldest = files[0].clone();
    compact_and_change(&store, "durable", move || fs::remove_file(&oldest).unwrap());
    assert_eq!(content(&store.root()).unwrap()[0].len(), rows.len() + 7 - 5);
    assert!(!files[0].exists());

    // A writer without locks has the old directory open.
    let work = store.directory.path().join(".flows.compacting/day");
    let foreign = files[1].clone();
    let name = "20260301T235000.000Z-20260301T235500.000Z.parquet";
    let copied = work.join(name);
    let source = work.join(foreign.file_name().unwrap());
    let copy = move || {
        fs::copy(&source, &copied).unwrap();
    };
    compact_and_change(&store, "exchanged", copy);
    assert!(store.day().join(name).exists() && files[1].exists());
    assert_eq!(glob(&store.root()).len(), 4);
    assert!(matches!(store.compact().unwrap(), Outcome::Compacted(_)));
}

#[test]
fn nothing_goes_before_the_exchange_is_durable() {
    let store = Store::new();
    write_day(&store.root(), 3, 5);
    let before = content(&store.root()).unwrap();
    let old = store.directory.path().join(".flows.compacting/day");
    for compacts in [true, false] {
        FAILURE.set(Some("syncing"));
        let result = if compacts {
            store.compact().map(drop)
        } else {
            // The next start, also after a kill.
            store.compactor().clean()
        };
        result.unwrap_err();
        assert_eq!(content(&old).unwrap(), before);
        assert_eq!(content(&store.root()).unwrap(), before);
        assert_eq!(glob(&store.root()).len(), 1);
    }
    store.compactor().clean().unwrap();
    store.assert_clean();
    assert_eq!(content(&store.root()).unwrap(), before);
}

#[test]
fn a_day_that_cannot_be_put_back_is_kept_and_told() {
    let store = Store::new();
    write_day(&store.root(), 3, 5);
    let (root, day) = (store.root(), store.day());
    let stage = store.directory.path().join(".flows.compacting");
    let (late, work) = (
        fixture::interval("eth0", "2026-03-01T23:55:00Z", 7),
        stage.join("day"),
    );
    let change = move || {
        // A writer without locks, and an exchange that fails.
        let name = "20260301T235500.000Z-20260302T000000.000Z.parquet";
        fs::rename(&day, root.with_file_name("away")).unwrap();
        write(&root, &late);
        fs::rename(day.join(name), work.join(name)).unwrap();
        fs::remove_dir(&day).unwrap();
    };
    HOOK.set(Some(("exchanged", Box::new(change))));
    let error = store.compact().unwrap_err().to_string();
    let kept = stage.join("kept-iface=eth0-date=2026-03-01-1");
    for _ in 0..2 {
        assert!(error.contains(kept.to_str().unwrap()), "{error}");
        assert_eq!(store.compactor().clean().unwrap_err().to_string(), error);
        assert_eq!(glob(&kept).len(), 4);
        assert_eq!(content(&kept).unwrap()[0].len(), 22);
    }
    let mut worker = background::worker(&store.root(), Duration::ZERO);
    assert_eq!(worker.pass(), Pass::Whole(Some(error)));
    fs::remove_dir_all(&kept).unwrap();
    assert_eq!(worker.pass(), Pass::Whole(None));
}
