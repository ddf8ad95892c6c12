//! Wall-clock time: multiples of an interval, and whether the clock was set. The clock itself is the
//! caller's: `now` is an argument.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use probe_flow::moment::Moment;
use rustix::time::{ClockId, clock_gettime};

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// A step of the clock that is worth telling. Daemons that keep the time set it by half a second at
/// once at most, or more where it is wrong; two readings that are not at one moment are far below.
const LEAST_STEP: SignedDuration = SignedDuration::from_millis(500);

/// Reads the wall clock and the time since the boot.
pub fn now() -> Moment {
    Moment {
        wall: Timestamp::now(),
        since_boot: clock_gettime(ClockId::Boottime)
            .try_into()
            .unwrap_or_default(),
    }
}

/// Steps of the wall clock. Counts never go back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClockSteps {
    /// How often it was set ahead.
    pub forward: u64,
    /// How often it was set back.
    pub backward: u64,
    /// Sum of all steps; negative if it was set back by more.
    pub by: SignedDuration,
}

impl ClockSteps {
    /// Steps of both directions.
    pub const fn count(&self) -> u64 {
        self.forward + self.backward
    }
}

/// A moment with the steps of the clock before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reading {
    /// What the clocks say.
    pub moment: Moment,
    /// How often the clock had been set by then.
    pub steps: ClockSteps,
}

impl Reading {
    /// Bounds of an interval from `start` to this moment. If the clock was set in between, both are
    /// times of the new clock, and the interval is as long as it was: its flows have such times too.
    pub fn bounds_from(&self, start: &Self) -> (Timestamp, Timestamp) {
        let (begin, end) = (start.moment.wall, self.moment.wall);
        if begin <= end && self.steps.count() == start.steps.count() {
            return (begin, end);
        }
        let lasted = self
            .moment
            .since_boot
            .saturating_sub(start.moment.since_boot);
        (end.saturating_sub(lasted).unwrap_or(end), end)
    }
}

/// Finds steps of the wall clock: it moved by another time than has passed since the last reading.
#[derive(Debug)]
pub struct ClockWatch {
    last: Reading,
}

impl ClockWatch {
    /// A watch that begins now.
    pub fn new(now: Moment) -> Self {
        Self {
            last: Reading {
                moment: now,
                steps: ClockSteps::default(),
            },
        }
    }

    /// Takes in what the clocks say. Returns it with all steps so far, and how far the clock was set
    /// since the last time, if it was.
    pub fn read(&mut self, now: Moment) -> (Reading, Option<SignedDuration>) {
        let Moment { wall, since_boot } = self.last.moment;
        let passed = now.since_boot.saturating_sub(since_boot);
        let passed = SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
        let step = now.wall.duration_since(wall).saturating_sub(passed);
        let step = (step.abs() >= LEAST_STEP).then_some(step);
        let mut steps = self.last.steps;
        if let Some(step) = step {
            steps.forward += u64::from(step.is_positive());
            steps.backward += u64::from(step.is_negative());
            steps.by = steps.by.saturating_add(step);
        }
        self.last = Reading { moment: now, steps };
        (self.last, step)
    }

    /// Steps up to the last reading.
    pub const fn steps(&self) -> ClockSteps {
        self.last.steps
    }
}

/// The first multiple of `interval` since the Unix epoch that is after `now`: with five minutes, the
/// next :00, :05, :10 …, on any host at the same moment. An interval of less than a nanosecond
/// counts as one.
pub fn next_multiple(now: Timestamp, interval: Duration) -> Timestamp {
    let step = nanos(interval).max(1);
    let next = (now.as_nanosecond().div_euclid(step) + 1).saturating_mul(step);
    Timestamp::from_nanosecond(next).unwrap_or(Timestamp::MAX)
}

/// How long it is from `now` to `then`; nothing if that has passed.
///
/// The wall clock may be set while one waits, so wait for at most a while, then ask again.
pub fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// Exact: a `Duration` has at most 2^64 seconds.
fn nanos(interval: Duration) -> i128 {
    i128::from(interval.as_secs()) * NANOS_PER_SECOND + i128::from(interval.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::{SignedDuration, Timestamp};
    use proptest::prelude::*;

    use super::{ClockSteps, ClockWatch, Moment, next_multiple, until};

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn multiples_are_those_of_the_wall_clock() {
        let five = Duration::from_mins(5);
        let cases = [
            ("2026-01-01T12:00:01Z", "2026-01-01T12:05:00Z"),
            ("2026-01-01T12:04:59.999999999Z", "2026-01-01T12:05:00Z"),
            // On the multiple itself the next one is meant: that one has just been written.
            ("2026-01-01T12:05:00Z", "2026-01-01T12:10:00Z"),
            ("2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
            ("1969-12-31T23:58:00Z", "1970-01-01T00:00:00Z"),
        ];
        for (now, next) in cases {
            assert_eq!(next_multiple(at(now), five), at(next), "from {now}");
        }
    }

    #[test]
    fn a_day_begins_at_midnight_utc() {
        let next = next_multiple(at("2026-03-29T05:06:07Z"), Duration::from_hours(24));
        assert_eq!(next, at("2026-03-30T00:00:00Z"));
    }

    #[test]
    fn the_end_of_time_is_no_panic() {
        let next = next_multiple(Timestamp::MAX, Duration::MAX);
        assert_eq!(next, Timestamp::MAX);
        assert!(next_multiple(Timestamp::MAX, Duration::ZERO) >= Timestamp::MAX);
    }

    #[test]
    fn what_has_passed_is_not_waited_for() {
        let (early, late) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:01.5Z"));
        assert_eq!(until(early, late), Duration::from_millis(1500));
        assert_eq!(until(late, early), Duration::ZERO);
    }

    fn moment(wall: &str, seconds: f64) -> Moment {
        Moment {
            wall: at(wall),
            since_boot: Duration::from_secs_f64(seconds),
        }
    }

    #[test]
    fn a_clock_that_is_set_is_told_from_time_that_passes() {
        let mut watch = ClockWatch::new(moment("2026-01-01T12:00:00Z", 100.0));
        let cases = [
            // Time passes, also while the host is suspended.
            ("2026-01-01T12:05:00Z", 400.0, 0),
            ("2026-01-02T12:05:00Z", 86_800.0, 0),
            // A daemon moves it by less than half a second.
            ("2026-01-02T12:05:01.4Z", 86_801.0, 0),
            ("2027-01-02T12:05:02.4Z", 86_802.0, 365 * 86_400),
            ("2026-01-02T12:05:03.4Z", 86_803.0, -365 * 86_400),
        ];
        for (wall, seconds, expected) in cases {
            let (_, step) = watch.read(moment(wall, seconds));
            let step = step.map_or(0, |step| step.as_secs());
            assert_eq!(step, expected, "{wall}");
        }
        let expected = ClockSteps {
            forward: 1,
            backward: 1,
            by: SignedDuration::ZERO,
        };
        assert_eq!(watch.steps(), expected);
    }

    #[test]
    fn an_interval_in_which_the_clock_is_set_is_as_long_as_it_was() {
        let begin = moment("2026-01-01T12:00:00Z", 100.0);
        let ends = [
            ("2026-01-01T12:05:00Z", "2026-01-01T12:00:00Z"),
            ("2027-01-01T12:05:00Z", "2027-01-01T12:00:00Z"),
            ("2025-01-01T12:05:00Z", "2025-01-01T12:00:00Z"),
            // By so little that it is no step, in an interval that begins later than it ends.
            ("2026-01-01T12:04:59.8Z", "2026-01-01T12:00:00Z"),
        ];
        for (end, start) in ends {
            let mut watch = ClockWatch::new(begin);
            let (start_reading, _) = watch.read(begin);
            let (reading, _) = watch.read(moment(end, 400.0));
            let bounds = reading.bounds_from(&start_reading);
            assert_eq!(bounds, (at(start), at(end)));
        }
        let mut watch = ClockWatch::new(begin);
        let (start, _) = watch.read(begin);
        let (end, _) = watch.read(moment("2026-01-01T11:59:59.8Z", 100.1));
        let (begin, end) = end.bounds_from(&start);
        assert_eq!(end - begin, jiff::Span::new().milliseconds(100).fieldwise());
    }

    proptest! {
        #[test]
        fn next_is_a_multiple_after_now_and_at_most_one_interval_away(
            second in -1_000_000_000_i64..4_000_000_000,
            nanosecond in 0..1_000_000_000_i32,
            interval in 1..86_400_u64,
        ) {
            let now = Timestamp::new(second, nanosecond).expect("in range");
            let next = next_multiple(now, Duration::from_secs(interval));
            prop_assert!(next > now);
            prop_assert!(until(now, next) <= Duration::from_secs(interval));
            prop_assert_eq!(next.subsec_nanosecond(), 0);
            let interval = i64::try_from(interval).expect("small");
            prop_assert_eq!(next.as_second().rem_euclid(interval), 0);
        }
    }
}
