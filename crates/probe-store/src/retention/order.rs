//! Days in the order in which they are deleted.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use super::{
    tree::{Days, Disk, Partial, StoredFile},
    trust::Trust,
};

/// A day with what is in it, by the time that is trusted.
#[derive(Default)]
pub(super) struct Day {
    /// Interfaces with a directory of the day.
    pub(super) ifaces: Vec<String>,
    /// Whether `files` has what is in these directories and belongs here.
    is_listed: bool,
    /// Files of other days' directories that belong here, and the day's own if they are listed.
    files: Vec<Placed>,
}

/// A file in its place.
pub(super) struct Placed {
    /// Day of the directory.
    pub(super) dir: Date,
    pub(super) file: StoredFile,
    /// Trusted time of its end.
    time: Timestamp,
}

impl Placed {
    /// The end by which it is too old. A wrong clock may have been early or late: the later of both
    /// times counts.
    pub(super) fn end(&self) -> Timestamp {
        self.time.max(self.file.end)
    }

    /// When that began which ended [then](Self::end).
    pub(super) fn begin(&self) -> Timestamp {
        let length = self.file.end.duration_since(self.file.start);
        self.end().saturating_sub(length).unwrap_or(Timestamp::MIN)
    }
}

impl Day {
    /// All files, the oldest first.
    pub(super) fn take_files(&mut self, date: Date, disk: &impl Disk) -> Partial<Vec<Placed>> {
        let mut result = Ok(());
        let mut placed = std::mem::take(&mut self.files);
        if !self.is_listed {
            let (files, listed) = disk.files(date, &self.ifaces);
            result = listed;
            placed.extend(files.into_iter().map(|file| Placed {
                dir: date,
                time: file.end,
                file,
            }));
        }
        placed.sort_by_key(|placed| placed.time);
        (placed, result)
    }
}

/// All days, oldest first. Intervals of a clock that was not believed are with those of the time at
/// which they were written.
pub(super) fn by_trusted_time(
    disk: &impl Disk,
    days: Days,
    trust: &Trust,
) -> Partial<BTreeMap<Date, Day>> {
    let mut sorted = BTreeMap::<Date, Day>::new();
    let mut result = Ok(());
    for (date, ifaces) in days {
        let is_listed = may_hold_moved(trust, date);
        if is_listed {
            let (files, listed) = disk.files(date, &ifaces);
            result = result.and(listed);
            for file in files {
                let moved = trust.moved(file.end);
                let placed = Placed {
                    dir: date,
                    time: moved.unwrap_or(file.end),
                    file,
                };
                let day = sorted.entry(moved.map_or(date, date_of)).or_default();
                day.files.push(placed);
            }
        }
        let day = sorted.entry(date).or_default();
        day.ifaces = ifaces;
        day.is_listed = is_listed;
    }
    (sorted, result)
}

/// The day of a time, in UTC.
pub(super) fn date_of(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}

/// Whether a day's directory may have intervals of a clock that was not believed.
pub(crate) fn may_hold_moved(trust: &Trust, date: Date) -> bool {
    let (first, last) = bounds(date);
    trust.has_moved(first, last)
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
