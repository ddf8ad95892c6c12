//! Retention with clocks that are wrong.

use std::time::Duration;

use probe_flow::moment::Moment;

use super::{
    super::{
        Bounds, Pruned,
        model::{FILE, Host, INTERVAL},
    },
    DAY, FILES, NOW, by_age, flows, listing, now, prune_with, pruner, tree,
};

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
