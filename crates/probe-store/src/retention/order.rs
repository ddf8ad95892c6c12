//! Days in the order in which they are deleted.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use super::{
    tree::{Days, Disk, StoredFile},
    trust::Trust,
};

/// A day with what is in it, by the time that is trusted.
#[derive(Default)]
pub(super) struct Day {
    /// Interfaces with a directory of the day.
    pub(super) ifaces: Vec<String>,
    /// Whether files in these directories belong to other days.
    pub(super) has_moved: bool,
    /// Files of other days' directories that belong here.
    pub(super) moved: Vec<(Date, StoredFile)>,
}

/// All days, oldest first. Intervals of a clock that was not believed are with those of the time at
/// which they were written.
pub(super) fn by_trusted_time(disk: &impl Disk, days: &Days, trust: &Trust) -> BTreeMap<Date, Day> {
    let mut sorted = BTreeMap::<Date, Day>::new();
    for (date, ifaces) in days {
        let (first, last) = bounds(*date);
        let has_moved = trust.has_moved(first, last);
        let day = sorted.entry(*date).or_default();
        day.ifaces.clone_from(ifaces);
        day.has_moved = has_moved;
        if !has_moved {
            continue;
        }
        for file in disk.files(*date, ifaces) {
            if let Some(time) = trust.moved(file.end) {
                let day = sorted.entry(date_of(time)).or_default();
                day.moved.push((*date, file));
            }
        }
    }
    sorted
}

/// The day of a time, in UTC.
pub(super) fn date_of(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}

/// Times at which intervals of a day's directory may end.
fn bounds(date: Date) -> (Timestamp, Timestamp) {
    let first = date
        .to_zoned(TimeZone::UTC)
        .map_or(Timestamp::MIN, |it| it.timestamp());
    // An interval ends at most a day after it began.
    let last = first.saturating_add(SignedDuration::from_hours(48));
    (first, last.unwrap_or(Timestamp::MAX))
}
