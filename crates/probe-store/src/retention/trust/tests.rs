use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use probe_flow::moment::Moment;

use super::{Trust, allowance};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const WEEK: Duration = Duration::from_hours(7 * 24);

/// So many seconds after the first observation, with a clock that is ahead by so many.
fn at(seconds: i64, ahead: i64) -> Moment {
    let begin: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
    Moment {
        wall: begin + SignedDuration::from_secs(seconds + ahead),
        since_boot: Duration::from_secs(1000 + seconds.unsigned_abs()),
    }
}

fn begin() -> Trust {
    Trust::begin(None, None, "boot", at(0, 0), WEEK)
}

#[test]
fn a_tenth_of_the_age_is_believed_at_once_within_bounds() {
    for (days, minutes) in [(0, 10), (1, 144), (10, 24 * 60), (90, 7 * 24 * 60)] {
        let max_age = Duration::from_hours(days * 24);
        assert_eq!(allowance(Some(max_age)), Duration::from_mins(minutes));
    }
    assert_eq!(allowance(None), WEEK);
}

#[test]
fn jumps_within_the_budget_are_believed_and_use_it_up() {
    let mut trust = begin();
    for (day, ahead, is_believed) in [(1, 3, true), (2, 6, true), (3, 9, false), (4, 6, true)] {
        let now = at(day * DAY, ahead * DAY);
        trust.observe(now, WEEK);
        assert_eq!(trust.doubt(now).is_none(), is_believed, "day {day}");
    }
    // The budget is refilled by a hundredth of the time.
    let now = at(204 * DAY, 9 * DAY);
    trust.observe(now, WEEK);
    assert_eq!(trust.doubt(now), None);
}

#[test]
fn a_clock_behind_is_gone_by_and_put_right_again() {
    let mut trust = begin();
    let behind = at(HOUR, -365 * DAY);
    trust.observe(behind, WEEK);
    assert_eq!(trust.reference(behind), behind.wall);
    assert!(trust.doubt(behind).is_some_and(|ahead| ahead.is_negative()));
    let right = at(2 * HOUR, 0);
    trust.observe(right, WEEK);
    assert_eq!(
        (trust.doubt(right), trust.reference(right)),
        (None, right.wall)
    );
}

#[test]
fn the_time_goes_on_after_a_boot_by_what_surely_passed() {
    let mut trust = begin();
    trust.observe(at(DAY, 0), WEEK);
    // Ten minutes after a boot, of which the clock says that it was a month later.
    let now = Moment {
        since_boot: Duration::from_mins(10),
        ..at(31 * DAY, 0)
    };
    let trust = Trust::begin(Some(trust), None, "next boot", now, WEEK);
    let ahead = 30 * DAY - 600;
    assert_eq!(trust.doubt(now), Some(SignedDuration::from_secs(ahead)));
    assert_eq!(trust.reference(now), at(DAY + 600, 0).wall);
}

#[test]
fn what_a_wrong_clock_wrote_has_its_true_place() {
    let mut trust = begin();
    let wrong = at(HOUR, -20_000 * DAY);
    trust.observe(wrong, WEEK);
    assert!(trust.on_written(wrong.wall, wrong, wrong));
    assert_eq!(trust.moved(wrong.wall), Some(at(HOUR, 0).wall));
    // If that clock is confirmed, it wrote the right times.
    trust.confirm(wrong, WEEK);
    assert_eq!(trust.moved(wrong.wall), None);
    assert_eq!(trust.doubt(wrong), None);
}

#[test]
fn an_interval_goes_by_the_clock_of_its_end() {
    // The clock is wrong at the end, and right when the interval is written.
    let mut trust = begin();
    let wrong = at(HOUR, -20_000 * DAY);
    let right = at(2 * HOUR, 0);
    trust.observe(right, WEEK);
    assert!(trust.on_written(wrong.wall, wrong, right));
    assert_eq!(trust.moved(wrong.wall), Some(at(HOUR, 0).wall));
    // What waited with it does not take another entry.
    let next = at(HOUR + 60, -20_000 * DAY);
    assert!(trust.on_written(next.wall, next, right));
    assert_eq!(trust.moved.len(), 1);

    // The other way round; what the wrong clock wrote before is told from it.
    let mut trust = begin();
    let ahead = at(3 * HOUR, 5000 * DAY);
    trust.observe(ahead, WEEK);
    assert!(trust.on_written(ahead.wall, ahead, ahead));
    let right = at(2 * HOUR, 0);
    assert!(!trust.on_written(right.wall, right, ahead));
    assert_eq!(trust.moved(right.wall), None);
    assert_eq!(trust.moved(at(1000 * DAY, 0).wall), None);
    assert_eq!(trust.moved(ahead.wall), Some(at(3 * HOUR, 0).wall));
}

#[test]
fn what_a_wrong_clock_wrote_outlives_many_boots_and_right_clocks() {
    let mut trust = begin();
    let wrong = at(HOUR, -20_000 * DAY);
    trust.observe(wrong, WEEK);
    trust.on_written(wrong.wall, wrong, wrong);
    for boot in 0..100 {
        let right = at(2 * HOUR + boot, 0);
        trust = Trust::begin(Some(trust), None, &boot.to_string(), right, WEEK);
        trust.on_written(right.wall, right, right);
    }
    assert_eq!(trust.moved(wrong.wall), Some(at(HOUR, 0).wall));
    // The same in one boot, with a clock that is wrong in many ways.
    for day in 1..50 {
        let wrong = at(3 * HOUR, -20_000 * DAY - day * 100 * DAY);
        let right = at(3 * HOUR, 0);
        for now in [wrong, right] {
            trust.observe(now, WEEK);
            trust.on_written(now.wall, now, now);
        }
    }
    assert_eq!(trust.moved(wrong.wall), Some(at(HOUR, 0).wall));
}
