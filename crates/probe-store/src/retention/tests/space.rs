//! What is told of a store whose disk others fill, and of one that fills its disk.

use std::time::Duration;

use super::{
    super::model::{FILE, Host, INTERVAL},
    by_age, by_size,
};
use crate::{
    options::{MinFree, Retention},
    report::StoreReport,
};

/// Files of a day.
const DAILY: u64 = 24 * 3600 / INTERVAL.unsigned_abs();
const FOUR_WEEKS: Duration = Duration::from_hours(28 * 24);

/// A host that has stored ten days, with room for twenty more files beyond `min_free`.
fn host() -> Host {
    let retention = Retention {
        max_age: Some(FOUR_WEEKS),
        min_free: Some(MinFree::Bytes(4 * FILE)),
        ..Retention::default()
    };
    let mut host = Host::new(retention, (10 * DAILY + 24) * FILE);
    for _ in 0..10 * DAILY {
        assert!(host.write());
    }
    host
}

fn report(host: &mut Host) -> StoreReport {
    let now = host.now();
    host.pruner.look_after(now);
    host.pruner.report().expect("there was a pass").clone()
}

/// Others have so many files, one more or less each second.
fn others_have(host: &mut Host, files: u64) {
    loop {
        let foreign = host.disk.0.borrow().foreign / FILE;
        if foreign == files {
            return;
        }
        let next = if foreign < files {
            foreign + 1
        } else {
            foreign - 1
        };
        host.disk.0.borrow_mut().foreign = next * FILE;
        host.time += 1;
        report(host);
    }
}

#[test]
fn days_that_go_for_files_of_others_are_told_until_there_is_room_again() {
    let mut host = host();
    others_have(&mut host, 20);
    let before = report(&mut host);
    assert_eq!(
        (before.crowded, before.early.days),
        (None, 0),
        "there was room"
    );

    others_have(&mut host, 20 + 3 * DAILY);
    let told = report(&mut host);
    let crowded = told.crowded.expect("told at once");
    assert_eq!(crowded.taken_bytes, 3 * DAILY * FILE);
    assert!(crowded.since < host.now().wall);
    assert_eq!(told.early.bytes, 3 * DAILY * FILE);
    assert!(told.early.days >= 3, "{:?}", told.early);
    assert!(told.oldest > before.oldest);
    assert_eq!(told.short_bytes, 0, "min_free is held");

    others_have(&mut host, 0);
    let after = report(&mut host);
    assert_eq!(after.crowded, None);
    assert_eq!(after.early, told.early, "it stays known");
}

#[test]
fn a_store_that_fills_its_disk_by_itself_is_not_crowded() {
    let mut host = host();
    for _ in 0..10 * DAILY {
        assert!(host.write());
        let told = host.pruner.report().expect("there was a pass");
        assert_eq!((told.crowded, told.early.days), (None, 0));
    }
    assert!(
        host.disk.0.borrow().kept.len() as u64 <= 10 * DAILY + 21,
        "some were deleted"
    );
}

#[test]
fn room_for_what_is_too_old_anyway_is_no_matter() {
    let mut host = host();
    for _ in 0..30 * DAILY {
        assert!(host.write());
    }
    let full = host.disk.0.borrow().kept.len() as u64;
    assert!(full > 10 * DAILY, "it has filled its disk");
    // Far less is written from now on, so that all of it can be as old as it may.
    for _ in 0..60 {
        assert!(host.write_after(24 * 3600));
    }
    others_have(&mut host, 30);
    assert_eq!(report(&mut host).crowded, None);
}

#[test]
fn what_min_free_lacks_when_all_is_deleted_is_told() {
    let mut host = host();
    others_have(&mut host, 10 * DAILY + 23);
    let told = report(&mut host);
    assert_eq!(told.short_bytes, 3 * FILE);
    assert_eq!((told.bytes, told.oldest), (0, None));
    assert!(told.crowded.is_some() && told.error.is_none());

    assert!(host.write(), "there is room for one file");
    assert!(host.pruner.report().expect("a report").short_bytes > 0);
    others_have(&mut host, 0);
    assert_eq!(report(&mut host).short_bytes, 0);
}

#[test]
fn a_disk_that_will_be_full_before_anything_is_deleted_is_told() {
    // Written at a rate of four files a day, for ten days.
    for (retention, room, days, is_filling) in [
        (by_age(60 * 24 * 60), 4 * DAILY, Some(4), false),
        (by_age(60 * 24 * 60), 2 * DAILY, Some(2), true),
        (by_age(11 * 24 * 60), 2 * DAILY, None, false),
        (by_size((11 * DAILY) * FILE), 2 * DAILY, None, false),
        (by_size((13 * DAILY) * FILE), 2 * DAILY, Some(2), true),
        (Retention::default(), 2 * DAILY, Some(2), true),
    ] {
        let mut host = Host::new(retention, (10 * DAILY + room) * FILE);
        for _ in 0..10 * DAILY {
            assert!(host.write());
        }
        let told = report(&mut host);
        let full_in = told.full_at.map(|at| at.duration_since(host.now().wall));
        assert_eq!(full_in.map(|it| it.as_hours() / 24), days, "{retention:?}");
        assert_eq!(told.is_filling, is_filling, "{retention:?}");
    }
}

/// A store of one minute grows by what that minute has added, not by an hour's share of it.
#[test]
fn a_young_store_is_told_by_the_time_that_it_has() {
    let mut host = Host::new(Retention::default(), 10 * FILE);
    assert!(host.write_after(60));
    let told = report(&mut host);
    assert_eq!(told.bytes_per_day, Some(24 * 60 * FILE));
    assert_eq!(told.growth_seen, Some(Duration::from_mins(1)));
    let full_in = told.full_at.map(|at| at.duration_since(host.now().wall));
    assert_eq!(full_in.map(|it| it.as_secs()), Some(9 * 60));
    assert!(told.is_filling);
}
