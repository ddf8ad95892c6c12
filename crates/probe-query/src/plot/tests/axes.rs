//! Axes: ticks at round numbers and round times.

use jiff::{Timestamp, tz::TimeZone};
use proptest::prelude::*;

use crate::{
    completeness::Span,
    plot::{
        calendar::Calendar,
        chart::Unit,
        scale::{Axis, Rows, tick},
    },
};

fn labels(zone: &str, since: &str, until: &str, characters: f64) -> Vec<String> {
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let span = Span {
        since: time(since),
        until: time(until),
    };
    let calendar = Calendar::new(span, &TimeZone::get(zone).unwrap(), characters);
    calendar.ticks.into_iter().map(|tick| tick.label).collect()
}

#[test]
fn ticks_follow_the_clock_where_it_is_set() {
    // The clock is set back at three on the 25th: noon stays at noon.
    let (since, until) = ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
    let by_six = ["00:00", "06:00", "12:00", "18:00", "00:00"];
    assert_eq!(labels("Europe/Berlin", since, until, 40.0), by_six);
    let hours = labels("Europe/Berlin", since, "2026-10-25T03:00:00Z", 60.0);
    let twice = ["00:00", "01:00", "02:00", "02:00", "03:00", "04:00"];
    assert_eq!(hours, twice);
    // It is set forward at two on the 29th of March: there is no such hour.
    let hours = labels(
        "Europe/Berlin",
        "2026-03-28T23:00:00Z",
        "2026-03-29T03:00:00Z",
        40.0,
    );
    assert_eq!(hours, ["00:00", "01:00", "03:00", "04:00", "05:00"]);
    let days = labels(
        "Europe/Berlin",
        "2026-10-23T22:00:00Z",
        "2026-10-27T23:00:00Z",
        40.0,
    );
    assert_eq!(days, ["24 Oct", "25 Oct", "26 Oct", "27 Oct", "28 Oct"]);
}

#[test]
fn long_times_have_months_and_years() {
    let of = |until: &str| labels("UTC", "2026-01-01T00:00:00Z", until, 60.0);
    assert_eq!(
        of("2026-01-31T00:00:00Z")[..3],
        ["5 Jan", "12 Jan", "19 Jan"].map(String::from)[..]
    );
    assert_eq!(
        of("2026-06-30T00:00:00Z").join(" "),
        "Jan Feb Mar Apr May Jun"
    );
    assert_eq!(
        of("2029-01-01T00:00:00Z").join(" "),
        "Jan Jul Jan Jul Jan Jul Jan"
    );
}

#[test]
fn ticks_have_all_their_digits() {
    for (unit, number, shown) in [
        (Unit::Bytes, 0.0, "0"),
        (Unit::Bytes, 1536.0, "1.5Ki"),
        (Unit::Bytes, 1024.0 * 1024.0, "1Mi"),
        (Unit::BitsPerSecond, 250_000.0, "250k"),
        (Unit::BitsPerSecond, 0.1 + 0.2, "0.3"),
        (Unit::PacketsPerSecond, 0.000_02, "0.00002"),
        (Unit::Flows, 1e18, "1E"),
    ] {
        assert_eq!(tick(unit, number), shown);
    }
}

proptest! {
    /// Both axes reach all numbers, and neither is longer than it may be.
    #[test]
    fn axes_reach_their_numbers(up in 0.0..1e20, down in 0.0..1e20, most in 4_usize..60) {
        for unit in [Unit::Bytes, Unit::BitsPerSecond] {
            let axis = Axis::new(unit, up, down, most);
            prop_assert!(axis.up + axis.down <= most);
            prop_assert!(axis.top() >= up && axis.length() - axis.top() >= down * 0.999_999);
            let rows = Rows::new(unit, up, down, most);
            prop_assert!(rows.up + rows.down <= most, "{rows:?}");
            prop_assert!(rows.number(rows.up) >= up * 0.999_999 && rows.number(rows.down) >= down * 0.999_999);
        }
    }

    /// Whatever the span, there are ticks, in order, and not more than have place.
    #[test]
    fn calendars_are_in_order(start in 0_i64..4_000_000_000, length in 1_i64..400_000_000, width in 20_u32..200) {
        let span = Span {
            since: Timestamp::from_second(start).unwrap(),
            until: Timestamp::from_second(start + length).unwrap(),
        };
        for zone in ["UTC", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu"] {
            let calendar = Calendar::new(span, &TimeZone::get(zone).unwrap(), f64::from(width));
            for ticks in [&calendar.ticks, &calendar.eras] {
                prop_assert!(ticks.is_sorted_by(|left, right| left.at < right.at), "{ticks:?}");
            }
            prop_assert!(calendar.ticks.len() <= usize::try_from(width).unwrap() / 3);
        }
    }
}
