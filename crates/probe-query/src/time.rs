//! Times as people say them: `-24h`, `yesterday 02:15`, `2026-11-27 02:00`, `today`.

use std::fmt;

use jiff::{
    Span, Timestamp, ToSpan, Zoned,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};

/// What was expected of a time.
const EXPECTED: &str = "expected a time such as -24h, today, yesterday 02:15, 02:15, 2026-11-27, \
                        \"2026-11-27 02:00\", 2026-11-27T02:00:00Z or now";

/// The moment at which a question is asked, and whose clock its times are read by.
#[derive(Clone, Debug)]
pub struct Now {
    /// The moment itself, in the zone that times are read and shown in.
    pub zoned: Zoned,
}

impl Now {
    /// The moment, in this zone.
    pub fn new(timestamp: Timestamp, zone: TimeZone) -> Self {
        Self {
            zoned: timestamp.to_zoned(zone),
        }
    }

    /// The zone that times are read and shown in.
    pub fn zone(&self) -> &TimeZone {
        self.zoned.time_zone()
    }

    /// Reads a time.
    ///
    /// # Errors
    ///
    /// A sentence that says what was expected.
    pub fn read(&self, text: &str) -> Result<Timestamp, String> {
        let word = text.trim().to_ascii_lowercase();
        let found = self
            .relative(&word)
            .or_else(|| absolute(text.trim()))
            .or_else(|| self.civil(&word));
        found.ok_or_else(|| format!("{EXPECTED}; found {}", probe_flow::text::quoted(text)))
    }

    /// A time by its distance: `now`, `-24h`, `-1d12h`.
    fn relative(&self, word: &str) -> Option<Timestamp> {
        if word == "now" {
            return Some(self.zoned.timestamp());
        }
        let span = span(word.strip_prefix('-')?)?;
        Some(self.zoned.checked_sub(span).ok()?.timestamp())
    }

    /// A day and a time of it, either of which may be left out.
    fn civil(&self, word: &str) -> Option<Timestamp> {
        let (day, time) = match word.split_once([' ', 't']) {
            // `today` has the letter, too.
            Some((day, time)) if !day.is_empty() && time.contains(':') => (day, Some(time.trim())),
            _ if word.contains(':') && !word.contains('-') => ("today", Some(word)),
            _ => (word, None),
        };
        let (day, time) = match word
            .strip_prefix("today")
            .or(word.strip_prefix("yesterday"))
        {
            Some(rest) => {
                let day = &word[..word.len() - rest.len()];
                let rest = rest.trim();
                (day, (!rest.is_empty()).then_some(rest))
            }
            None => (day, time),
        };
        let date = match day {
            "today" => self.zoned.date(),
            "yesterday" => self.zoned.date().yesterday().ok()?,
            "tomorrow" => self.zoned.date().tomorrow().ok()?,
            day => date(day)?,
        };
        let time = match time {
            Some(time) => clock(time)?,
            None => Time::midnight(),
        };
        let zoned = DateTime::from_parts(date, time).to_zoned(self.zone().clone());
        Some(zoned.ok()?.timestamp())
    }
}

/// RFC 3339 with its zone, or seconds since 1970.
fn absolute(text: &str) -> Option<Timestamp> {
    if text.len() >= 9 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = text.parse().ok()?;
        return Timestamp::from_second(seconds).ok();
    }
    text.parse().ok()
}

/// A day as `2026-11-27`, nothing shorter.
fn date(word: &str) -> Option<Date> {
    let is_plain = word.len() == 10
        && word
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-');
    is_plain.then(|| word.parse().ok()).flatten()
}

/// A time of the day: `2:15`, `02:15`, `02:15:30`.
fn clock(word: &str) -> Option<Time> {
    let mut numbers = word.split(':').map(|part| {
        let is_number = (1..=2).contains(&part.len()) && part.bytes().all(|it| it.is_ascii_digit());
        is_number.then(|| part.parse::<i8>().ok()).flatten()
    });
    let (hour, minute) = (numbers.next()??, numbers.next()??);
    let second = match numbers.next() {
        Some(second) => second?,
        None => 0,
    };
    let is_all = numbers.next().is_none();
    is_all
        .then(|| Time::new(hour, minute, second, 0).ok())
        .flatten()
}

/// `24h`, `1d12h`, `90s`, `2w`: numbers, each with its unit.
fn span(word: &str) -> Option<Span> {
    let mut span = Span::new();
    let mut rest = word;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let number: i64 = number.parse().ok()?;
        let unit = tail.find(|char: char| char.is_ascii_digit());
        let (unit, tail) = tail.split_at(unit.unwrap_or(tail.len()));
        let more = match unit.trim() {
            "s" | "sec" => Span::new().try_seconds(number),
            "m" | "min" => Span::new().try_minutes(number),
            "h" => Span::new().try_hours(number),
            "d" => Span::new().try_days(number),
            "w" => Span::new().try_weeks(number),
            _ => return None,
        };
        // Units that differ never carry: a day of 25 hours is a day.
        span = added(span, more.ok()?)?;
        rest = tail;
    }
    Some(span)
}

fn added(left: Span, right: Span) -> Option<Span> {
    left.try_weeks(i64::from(left.get_weeks()) + i64::from(right.get_weeks()))
        .and_then(|it| it.try_days(i64::from(left.get_days()) + i64::from(right.get_days())))
        .and_then(|it| it.try_hours(i64::from(left.get_hours()) + i64::from(right.get_hours())))
        .and_then(|it| it.try_minutes(left.get_minutes() + right.get_minutes()))
        .and_then(|it| it.try_seconds(left.get_seconds() + right.get_seconds()))
        .ok()
}

/// Length of the buckets of a time series.
#[derive(Clone, Debug)]
pub struct Step {
    span: Span,
    /// The words that were typed.
    text: String,
}

impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Step {
    /// Reads `5m`, `1h`, `1d`, `1w`.
    ///
    /// # Errors
    ///
    /// A sentence that says what was expected.
    pub fn read(text: &str) -> Result<Self, String> {
        let expected = || {
            let found = probe_flow::text::printable(text);
            format!("expected a length such as 5m, 1h, 1d or 1w behind `time=`, found `{found}`")
        };
        let found = span(text).ok_or_else(expected)?;
        if found.is_zero() {
            return Err(expected());
        }
        Ok(Self {
            span: found,
            text: text.to_owned(),
        })
    }

    /// The bounds of all buckets from the one that holds `start` to the one that holds `end`. Buckets
    /// begin with the day, weeks with Monday, by the zone's clock, whatever is done to it in between.
    pub fn bounds(
        &self,
        start: Timestamp,
        end: Timestamp,
        zone: &TimeZone,
    ) -> Option<Vec<Timestamp>> {
        const MOST: usize = 1_000_000;
        let day = start.to_zoned(zone.clone()).start_of_day().ok()?;
        let mut base = day.clone();
        if self.span.get_weeks() > 0 {
            let monday = i64::from(day.weekday().to_monday_zero_offset());
            base = day.checked_sub(monday.days()).ok()?;
        }
        let has_days = self.span.get_weeks() > 0 || self.span.get_days() > 0;
        let mut bounds = vec![base.timestamp()];
        let mut at = base;
        while at.timestamp() <= end {
            let next = at.checked_add(self.span).ok()?;
            // Shorter ones begin anew each day, so that they stay on the hour.
            let tomorrow = at.tomorrow().ok()?.start_of_day().ok()?;
            at = if has_days || next < tomorrow {
                next
            } else {
                tomorrow
            };
            bounds.push(at.timestamp());
            if bounds.len() > MOST {
                return None;
            }
        }
        Some(bounds)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// From when until when is asked: half open, `since` is in it and `until` is not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Range {
    /// The first moment of it.
    pub since: Timestamp,
    /// The first moment behind it.
    pub until: Timestamp,
}

/// How much of an interval must lie in a range for its flows to be asked: rotations are some
/// milliseconds late, and an interval must not be in both of two ranges for that.
pub const GRACE_MICROS: i64 = 1_000_000;

impl Range {
    /// Whether the flows of an interval are asked for: more than a second of it lies in the range, or
    /// more than half of one that is shorter than two.
    pub fn selects(&self, start: Timestamp, end: Timestamp) -> bool {
        let (start, end) = (start.as_microsecond(), end.as_microsecond());
        let (since, until) = (self.since.as_microsecond(), self.until.as_microsecond());
        let inside = end.min(until) - start.max(since);
        inside >= 0 && inside >= ((end - start) / 2).min(GRACE_MICROS)
    }
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, tz::TimeZone};

    use super::{Now, Range, Step};

    fn now() -> Now {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        Now::new("2026-11-29T15:45:30Z".parse().unwrap(), zone)
    }

    #[test]
    fn times_are_read_as_people_say_them() {
        for (said, meant) in [
            ("now", "2026-11-29T15:45:30Z"),
            ("-24h", "2026-11-28T15:45:30Z"),
            ("-1d12h", "2026-11-28T03:45:30Z"),
            ("-90s", "2026-11-29T15:44:00Z"),
            ("-2w", "2026-11-15T15:45:30Z"),
            ("today", "2026-11-28T22:00:00Z"),
            ("today 08:00", "2026-11-29T06:00:00Z"),
            ("Yesterday 02:15", "2026-11-28T00:15:00Z"),
            ("02:15", "2026-11-29T00:15:00Z"),
            ("2026-11-27", "2026-11-26T22:00:00Z"),
            ("2026-11-27 02:00", "2026-11-27T00:00:00Z"),
            ("2026-11-27T02:00:05", "2026-11-27T00:00:05Z"),
            ("2026-11-27T02:00:00Z", "2026-11-27T02:00:00Z"),
            ("2026-11-27T02:00:00+01:00", "2026-11-27T01:00:00Z"),
            ("1764000000", "2025-11-24T16:00:00Z"),
        ] {
            let meant: Timestamp = meant.parse().unwrap();
            assert_eq!(now().read(said), Ok(meant), "{said}");
        }
    }

    #[test]
    fn other_words_are_refused_with_examples() {
        for said in [
            "",
            "soon",
            "-",
            "-24",
            "-h",
            "25:00",
            "2026-13-01",
            "2026-11-27 2",
            "-5y",
        ] {
            let error = now().read(said).unwrap_err();
            assert!(
                error.starts_with("expected a time such as -24h"),
                "{said}: {error}"
            );
        }
        let error = now().read("-99999999d").unwrap_err();
        assert!(error.starts_with("expected a time"), "{error}");
    }

    #[test]
    fn buckets_follow_the_clock_of_the_zone() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let range = ["2026-10-24T22:00:00Z", "2026-10-26T10:00:00Z"].map(|it| it.parse().unwrap());
        let days = Step::read("1d")
            .unwrap()
            .bounds(range[0], range[1], &zone)
            .unwrap();
        let days: Vec<_> = days.iter().map(ToString::to_string).collect();
        // The clock is set back on the 25th.
        let expected = [
            "2026-10-24T22:00:00Z",
            "2026-10-25T23:00:00Z",
            "2026-10-26T23:00:00Z",
        ];
        assert_eq!(days, expected);
        let hours = Step::read("6h")
            .unwrap()
            .bounds(range[0], range[1], &zone)
            .unwrap();
        assert!(hours.contains(&"2026-10-25T23:00:00Z".parse().unwrap()));
    }

    #[test]
    fn a_rotation_that_is_late_does_not_count_twice() {
        let range = Range {
            since: "2026-03-01T02:00:00Z".parse().unwrap(),
            until: "2026-03-01T03:00:00Z".parse().unwrap(),
        };
        let selects =
            |start: &str, end: &str| range.selects(start.parse().unwrap(), end.parse().unwrap());
        assert!(!selects(
            "2026-03-01T01:55:00.03Z",
            "2026-03-01T02:00:00.03Z"
        ));
        assert!(selects(
            "2026-03-01T02:00:00.03Z",
            "2026-03-01T02:05:00.03Z"
        ));
        assert!(selects(
            "2026-03-01T02:55:00.03Z",
            "2026-03-01T03:00:00.03Z"
        ));
        assert!(selects("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"));
        assert!(
            selects("2026-03-01T02:00:00Z", "2026-03-01T02:00:00Z"),
            "an interval without length"
        );
        assert!(!selects("2026-03-01T03:00:00.03Z", "2026-03-01T03:05:00Z"));
    }
}
