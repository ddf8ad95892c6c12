//! Wall-clock multiples of an interval. The clock itself is the caller's: `now` is an argument.

use std::time::Duration;

use jiff::Timestamp;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

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

    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::{next_multiple, until};

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
