//! Numbers as people read them: three digits and a unit. One value has one system of units:
//!
//! * sizes, of traffic as of memory, are bytes by powers of 1024 with the prefixes of IEC 80000-13:
//!   `98.9 MiB`, where there is little room `98Mi`;
//! * rates are bits a second by thousands, as links are sold: `950 Mbit/s`, `950M`;
//! * counts of packets and flows go by thousands: `3.4 k`.

use std::time::Duration;

use jiff::Timestamp;
use probe_flow::text::{self, plural};

/// IP octets by powers of 1024: `999 B`, `1.2 KiB`, `34.5 GiB`.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    scaled(number, 1024, &UNITS)
}

/// A count by thousands: `999`, `1.2 k`, `34.5 M`.
pub fn count(number: u64) -> String {
    const UNITS: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    scaled(number, 1000, &UNITS)
}

/// A count by thousands with what it counts: `1 packet`, `1.2 k packets`.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), plural(number))
}

/// Bits a second by thousands, as links are sold: `950 Mbit/s`.
pub fn bit_rate(bytes: u64, over: Duration) -> String {
    const UNITS: [&str; 7] = [
        "bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", "Pbit/s", "Ebit/s",
    ];
    scaled(per_second(bytes.saturating_mul(8), over), 1000, &UNITS)
}

/// Packets a second: `1.2 kpps`.
pub fn packet_rate(packets: u64, over: Duration) -> String {
    const UNITS: [&str; 7] = ["pps", "kpps", "Mpps", "Gpps", "Tpps", "Ppps", "Epps"];
    scaled(per_second(packets, over), 1000, &UNITS)
}

/// Bits a second below a heading that says so: `950 M`.
pub fn bits(bytes: u64) -> String {
    count(bytes.saturating_mul(8))
}

/// At most five characters: `99999`, `100k`, `1.2M`.
pub fn short_count(number: u64) -> String {
    short(number, 1000, &["k", "M", "G", "T", "P", "E"])
}

/// At most six characters: `99999`, `120Ki`, `1.2Mi`.
pub fn short_bytes(number: u64) -> String {
    short(number, 1024, &["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"])
}

/// At most five characters: `99999`, `800k`, `1.6M`.
pub fn short_bits(bytes: u64) -> String {
    short_count(bytes.saturating_mul(8))
}

/// Exact as long as that is short; else one decimal below 10, none above. Rounded down.
fn short(number: u64, base: u64, units: &[&str]) -> String {
    if number < 100_000 {
        return number.to_string();
    }
    let (mut whole, mut rest, mut unit) = (number, 0, "");
    for next in units {
        if whole < base {
            break;
        }
        (whole, rest, unit) = (whole / base, whole % base, next);
    }
    if whole < 10 {
        format!("{whole}.{}{unit}", rest * 10 / base)
    } else {
        format!("{whole}{unit}")
    }
}

/// The two greatest units: `42s`, `3m 5s`, `2h 10m`, `12d 3h`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// How long it is until a time to come, with its day if that is more than one: `in 5m 0s`.
pub(crate) fn when(at: Timestamp, now: Timestamp) -> String {
    match u64::try_from(at.duration_since(now).as_secs()) {
        Ok(seconds) if seconds >= 86_400 => {
            format!(
                "{} (in {})",
                day(at),
                text::counted(seconds / 86_400, "day")
            )
        }
        Ok(seconds) if seconds > 0 => {
            format!("in {}", duration(Duration::from_secs(seconds)))
        }
        _ => "now".to_owned(),
    }
}

/// The day of a time, in UTC.
pub(crate) fn day(time: Timestamp) -> jiff::civil::Date {
    time.to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// A share in per cent. All but nothing is not nothing, and all but all is not all: `99.9 %`.
pub fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if percent > 99.9 && percent < 100.0 {
        return "99.9 %".to_owned();
    }
    if percent.fract().abs() < 0.05 || percent >= 100.0 {
        format!("{percent:.0} %")
    } else {
        format!("{percent:.1} %")
    }
}

/// What came in a second of this time, on average: rounded down. Of no time at all, of a nanosecond.
pub(crate) fn per_second(number: u64, over: Duration) -> u64 {
    let nanoseconds = over.as_nanos().max(1);
    let rate = u128::from(number) * 1_000_000_000 / nanoseconds;
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// One decimal below 100, none above; rounded down, so that nothing looks like more than it is.
fn scaled(number: u64, base: u64, units: &[&str]) -> String {
    let mut unit = 0;
    let mut divisor = 1_u64;
    while number / divisor >= base && unit + 1 < units.len() {
        divisor *= base;
        unit += 1;
    }
    let whole = number / divisor;
    let name = units.get(unit).copied().unwrap_or_default();
    let space = if name.is_empty() { "" } else { " " };
    if unit > 0 && whole < 100 {
        let tenths = u128::from(number % divisor) * 10 / u128::from(divisor);
        format!("{whole}.{tenths}{space}{name}")
    } else {
        format!("{whole}{space}{name}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;

    use super::{
        bit_rate, bits, bytes, count, counted, duration, packet_rate, percent, short_bits,
        short_bytes, short_count,
    };

    #[rstest]
    #[case(0, "0 B", "0")]
    #[case(999, "999 B", "999")]
    #[case(1023, "1023 B", "1.0 k")]
    #[case(1024, "1.0 KiB", "1.0 k")]
    #[case(123_456, "120 KiB", "123 k")]
    #[case(1_288_490_188, "1.1 GiB", "1.2 G")]
    #[case(u64::MAX, "15.9 EiB", "18.4 E")]
    fn numbers_have_three_digits(#[case] number: u64, #[case] octets: &str, #[case] counted: &str) {
        assert_eq!(
            (bytes(number), count(number)),
            (octets.into(), counted.into())
        );
    }

    #[test]
    fn rates_are_per_second() {
        let two = Duration::from_secs(2);
        assert_eq!(bit_rate(250_000_000, two), "1.0 Gbit/s");
        assert_eq!(packet_rate(3000, two), "1.5 kpps");
        assert_eq!(bit_rate(0, Duration::ZERO), "0 bit/s");
        assert_eq!(bit_rate(u64::MAX, Duration::from_nanos(1)), "18.4 Ebit/s");
    }

    #[test]
    fn one_is_no_plural() {
        let told = [0, 1, 2, 1000].map(|it| counted(it, "packet"));
        assert_eq!(
            told,
            ["0 packets", "1 packet", "2 packets", "1.0 k packets"]
        );
    }

    #[test]
    fn short_counts_fit_into_five_characters() {
        let shown = [99_999, 100_000, 1_234_567, 12_345_678, u64::MAX].map(short_count);
        assert_eq!(shown, ["99999", "100k", "1.2M", "12M", "18E"]);
    }

    /// What is shorter is no other number in other units.
    #[test]
    fn a_short_number_has_the_units_of_the_long_one() {
        for (number, long, short) in [
            (99_999, "97.6 KiB", "99999"),
            (103_741_849, "98.9 MiB", "98Mi"),
            (1_048_575, "1023 KiB", "1023Ki"),
            (1_900_000, "1.8 MiB", "1.8Mi"),
            (u64::MAX, "15.9 EiB", "15Ei"),
        ] {
            assert_eq!(
                (bytes(number), short_bytes(number)),
                (long.into(), short.into())
            );
        }
        let rate = (
            bit_rate(118_750_000, Duration::from_secs(1)),
            bits(118_750_000),
        );
        assert_eq!(rate, ("950 Mbit/s".to_owned(), "950 M".to_owned()));
        assert_eq!(short_bits(118_750_000), "950M");
    }

    #[test]
    fn durations_have_two_units() {
        let shown = [42, 185, 7800, 1_047_600].map(|it| duration(Duration::from_secs(it)));
        assert_eq!(shown, ["42s", "3m 5s", "2h 10m", "12d 3h"]);
    }

    #[test]
    fn nearly_all_is_not_all() {
        let shown = [0.0, 0.5, 0.123, 0.9999, 1.0, 1.25].map(percent);
        assert_eq!(shown, ["0 %", "50 %", "12.3 %", "99.9 %", "100 %", "125 %"]);
    }
}
