//! Axes of time: ticks where the clock of the zone is round, also where it is set for summer.

use jiff::{SignedDuration, Timestamp, ToSpan, Zoned, tz::TimeZone};

use super::scale::float;
use crate::completeness::Span;

/// How ticks follow each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    Seconds(i64),
    /// Of an hour or less.
    Minutes(i64),
    Hours(i8),
    Days(i64),
    Weeks(i64),
    Months(i8),
    Years(i16),
}

const STEPS: [Step; 28] = [
    Step::Seconds(1),
    Step::Seconds(5),
    Step::Seconds(15),
    Step::Minutes(1),
    Step::Minutes(5),
    Step::Minutes(10),
    Step::Minutes(15),
    Step::Minutes(30),
    Step::Minutes(60),
    Step::Hours(2),
    Step::Hours(3),
    Step::Hours(4),
    Step::Hours(6),
    Step::Hours(12),
    Step::Days(1),
    Step::Days(2),
    Step::Weeks(1),
    Step::Weeks(2),
    Step::Months(1),
    Step::Months(2),
    Step::Months(3),
    Step::Months(6),
    Step::Years(1),
    Step::Years(2),
    Step::Years(5),
    Step::Years(10),
    Step::Years(100),
    Step::Years(1000),
];

/// Most ticks of an axis, whatever the zone does.
const MOST: usize = 2000;

impl Step {
    /// Length in seconds, about.
    fn seconds(self) -> f64 {
        match self {
            Self::Seconds(number) => float(usize::try_from(number).unwrap_or(1)),
            Self::Minutes(number) => 60.0 * float(usize::try_from(number).unwrap_or(1)),
            Self::Hours(number) => 3600.0 * f64::from(number),
            Self::Days(number) => 86_400.0 * float(usize::try_from(number).unwrap_or(1)),
            Self::Weeks(number) => 604_800.0 * float(usize::try_from(number).unwrap_or(1)),
            Self::Months(number) => 28.0 * 86_400.0 * f64::from(number),
            Self::Years(number) => 365.0 * 86_400.0 * f64::from(number),
        }
    }

    const fn format(self) -> &'static str {
        match self {
            Self::Seconds(_) => "%H:%M:%S",
            Self::Minutes(_) | Self::Hours(_) => "%H:%M",
            Self::Days(_) | Self::Weeks(_) => "%-d %b",
            Self::Months(_) => "%b",
            Self::Years(_) => "%Y",
        }
    }

    /// Characters of its labels.
    const fn width(self) -> usize {
        match self {
            Self::Seconds(_) => 8,
            Self::Minutes(_) | Self::Hours(_) => 5,
            Self::Days(_) | Self::Weeks(_) => 6,
            Self::Months(_) => 3,
            Self::Years(_) => 4,
        }
    }
}

/// A tick with its label.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Tick {
    pub(crate) at: Timestamp,
    pub(crate) label: String,
}

/// The ticks of an axis.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calendar {
    /// Hours of a day, or days, or months.
    pub(crate) ticks: Vec<Tick>,
    /// Where the day, or the year, begins, to stand below; the first is the start of the axis.
    pub(crate) eras: Vec<Tick>,
}

impl Calendar {
    /// As many ticks as have place where the axis is as long as so many characters.
    pub(crate) fn new(span: Span, zone: &TimeZone, characters: f64) -> Self {
        let seconds = span.until.duration_since(span.since).as_secs_f64();
        let has_place = |step: &Step| {
            step.seconds() / seconds.max(1e-3) * characters >= float(step.width() + 2)
        };
        let step = STEPS.into_iter().find(has_place);
        let step = step.unwrap_or(Step::Years(1000));
        let ticks = moments(step, span, zone).map(|at| Tick {
            label: at.strftime(step.format()).to_string(),
            at: at.timestamp(),
        });
        let first = span.since.to_zoned(zone.clone());
        let (format, eras): (_, Vec<_>) = match step {
            Step::Seconds(_) | Step::Minutes(_) | Step::Hours(_) => {
                ("%a %Y-%m-%d", moments(Step::Days(1), span, zone).collect())
            }
            Step::Days(_) | Step::Weeks(_) | Step::Months(_) => {
                ("%Y", moments(Step::Years(1), span, zone).collect())
            }
            Step::Years(_) => ("", Vec::new()),
        };
        let starts = eras.first().is_some_and(|era| *era == first);
        let first = (!format.is_empty() && !starts).then_some(first);
        let eras = first.into_iter().chain(eras).map(|at| Tick {
            label: at.strftime(format).to_string(),
            at: at.timestamp(),
        });
        Self {
            ticks: ticks.collect(),
            eras: eras.collect(),
        }
    }
}

/// What the zone is called beside an axis.
pub(crate) fn zone_name(zone: &TimeZone, at: Timestamp) -> String {
    match zone.iana_name() {
        Some("UTC" | "Etc/UTC") => "UTC".to_owned(),
        Some(name) => name.to_owned(),
        None if *zone == TimeZone::UTC => "UTC".to_owned(),
        None => at.to_zoned(zone.clone()).strftime("%:z").to_string(),
    }
}

/// The moments in the span at which the clock shows a multiple of the step.
fn moments(step: Step, span: Span, zone: &TimeZone) -> impl Iterator<Item = Zoned> {
    let start = begin(step, &span.since.to_zoned(zone.clone()));
    let all = std::iter::successors(start, move |at| after(step, at));
    let inside = all
        .take_while(move |at| at.timestamp() <= span.until)
        .filter(move |at| at.timestamp() >= span.since);
    inside.take(MOST)
}

/// The last multiple that is not behind the moment.
fn begin(step: Step, at: &Zoned) -> Option<Zoned> {
    let day = at.start_of_day().ok()?;
    let date = day.date();
    let date = match step {
        Step::Seconds(length) => return earlier(&day, at, length),
        Step::Minutes(length) => return earlier(&day, at, length * 60),
        Step::Hours(_) | Step::Days(1) => return Some(day),
        // Days count from the first of the month.
        Step::Days(_) | Step::Months(1) => date.first_of_month(),
        Step::Weeks(_) => {
            let monday = i64::from(date.weekday().to_monday_zero_offset());
            date.checked_sub(monday.days()).ok()?
        }
        Step::Months(_) => date.first_of_year(),
        Step::Years(length) => {
            let year = date.year() - date.year().rem_euclid(length);
            jiff::civil::Date::new(year.max(-9999), 1, 1).ok()?
        }
    };
    date.to_zoned(at.time_zone().clone()).ok()
}

/// The last multiple of so many seconds since the day began.
fn earlier(day: &Zoned, at: &Zoned, length: i64) -> Option<Zoned> {
    let gone = at.timestamp().duration_since(day.timestamp()).as_secs();
    let whole = gone - gone.rem_euclid(length);
    day.checked_add(SignedDuration::from_secs(whole)).ok()
}

fn after(step: Step, at: &Zoned) -> Option<Zoned> {
    let tomorrow = || at.tomorrow().ok()?.start_of_day().ok();
    match step {
        // By seconds, so that an hour that comes twice has two ticks.
        Step::Seconds(length) | Step::Minutes(length) => {
            let scale = if matches!(step, Step::Minutes(_)) {
                60
            } else {
                1
            };
            let next = at.checked_add(SignedDuration::from_secs(length * scale));
            let tomorrow = tomorrow()?;
            Some(next.ok()?.min(tomorrow))
        }
        // By the clock, so that noon stays at noon.
        Step::Hours(length) => {
            let hour = at.hour() - at.hour().rem_euclid(length) + length;
            if hour >= 24 {
                return tomorrow();
            }
            let next = at.date().at(hour, 0, 0, 0).to_zoned(at.time_zone().clone());
            Some(next.ok()?)
        }
        Step::Days(1) => tomorrow(),
        Step::Days(length) => {
            let date = at.date();
            let next = i64::from(date.day()) + length;
            // No two ticks beside each other at the end of a month.
            let next = if next + length > i64::from(date.days_in_month()) + 1 {
                date.last_of_month().tomorrow().ok()?
            } else {
                date.checked_add(length.days()).ok()?
            };
            next.to_zoned(at.time_zone().clone()).ok()
        }
        Step::Weeks(length) => civil(at, length.weeks()),
        Step::Months(length) => civil(at, i64::from(length).months()),
        Step::Years(length) => civil(at, i64::from(length).years()),
    }
}

fn civil(at: &Zoned, span: jiff::Span) -> Option<Zoned> {
    let next = at.date().checked_add(span).ok()?;
    next.to_zoned(at.time_zone().clone()).ok()
}
