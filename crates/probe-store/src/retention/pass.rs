//! One pass over the days of a store: deletes what has to go, and finds the oldest that stays.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, civil::Date};

use super::{
    Pruned,
    order::{Day, by_trusted_time, date_of},
    stored::earlier,
    tree::{Days, Disk},
    trust::Trust,
};
use crate::WriteoutError;

/// What is to be deleted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    /// Intervals that ended before are too old.
    pub(super) oldest_kept: Option<Timestamp>,
    /// So many bytes are too many.
    pub(super) excess_bytes: u64,
    /// So many of them by the size of the store, the rest by the space that is left.
    pub(super) of_size_bytes: u64,
}

impl Task {
    /// Whether anything has to go from a store whose oldest interval ended then.
    pub(super) fn is_due(&self, oldest: Option<Timestamp>) -> bool {
        oldest.is_some_and(|oldest| self.excess_bytes > 0 || self.is_old(oldest))
    }

    fn is_old(&self, end: Timestamp) -> bool {
        self.oldest_kept.is_some_and(|kept| end < kept)
    }
}

/// A pass under way.
pub(super) struct Pass<'a, D> {
    disk: &'a mut D,
    trust: &'a Trust,
    task: Task,
    /// Files and bytes that were deleted.
    pub(super) pruned: Pruned,
    /// The same in bytes, by the day of the directory.
    pub(super) freed: BTreeMap<Date, u64>,
    /// The same of what neither its age nor the size of the store has deleted.
    pub(super) early: BTreeMap<Date, u64>,
    /// End of the oldest interval that is left.
    pub(super) oldest: Option<Timestamp>,
    /// Start of the oldest file that is left.
    pub(super) begin: Option<Timestamp>,
    /// The first error; it does not end the pass.
    pub(super) result: Result<(), WriteoutError>,
    /// Ended since a file was gone that had just been listed: somebody deletes, or the day was
    /// compacted, and by the listing newer days would go in its stead.
    pub(super) is_outdated: bool,
}

impl<'a, D: Disk> Pass<'a, D> {
    pub(super) const fn new(disk: &'a mut D, trust: &'a Trust, task: Task) -> Self {
        Self {
            disk,
            trust,
            task,
            pruned: Pruned { files: 0, bytes: 0 },
            freed: BTreeMap::new(),
            early: BTreeMap::new(),
            oldest: None,
            begin: None,
            result: Ok(()),
            is_outdated: false,
        }
    }

    /// Goes through the days, oldest first, and only as far as needed.
    pub(super) fn run(mut self, days: Days) -> Self {
        let (sorted, listed) = by_trusted_time(self.disk, days, self.trust);
        self.note(listed);
        for (date, day) in sorted {
            let is_old_day = self
                .task
                .oldest_kept
                .is_some_and(|oldest| date <= date_of(oldest));
            let is_due = is_old_day || self.has_excess();
            // No file of this day or a later one ended before it.
            let is_oldest_known = self.oldest.is_some_and(|oldest| date_of(oldest) < date);
            if self.is_outdated || !is_due && is_oldest_known {
                break;
            }
            self.visit(date, day, is_due);
        }
        self
    }

    fn visit(&mut self, date: Date, mut day: Day, is_due: bool) {
        let (files, listed) = day.take_files(date, self.disk);
        self.note(listed);
        let mut emptied = BTreeMap::<Date, BTreeSet<String>>::new();
        if is_due {
            emptied.insert(date, day.ifaces.into_iter().collect());
        }
        for placed in files {
            let (dir, end) = (placed.dir, placed.end());
            let is_old = self.task.is_old(end);
            let is_early = !is_old && self.pruned.bytes >= self.task.of_size_bytes;
            if self.has_excess() || is_old {
                match self.disk.remove(dir, &placed.file) {
                    Ok(Some(bytes)) => {
                        self.pruned.on_deleted(bytes);
                        *self.freed.entry(dir).or_default() += bytes;
                        if is_early {
                            *self.early.entry(dir).or_default() += bytes;
                        }
                        emptied.entry(dir).or_default().insert(placed.file.iface);
                        continue;
                    }
                    Ok(None) => self.is_outdated = true,
                    Err(error) => self.note(Err(error)),
                }
            }
            self.oldest = Some(earlier(self.oldest, end));
            self.begin = Some(earlier(self.begin, placed.begin()));
            if let Some(ifaces) = emptied.get_mut(&dir) {
                ifaces.remove(&placed.file.iface);
            }
            if self.is_outdated {
                return;
            }
        }
        for (date, ifaces) in emptied {
            let removed = self.disk.remove_empty(date, &ifaces);
            self.note(removed);
        }
    }

    const fn has_excess(&self) -> bool {
        self.pruned.bytes < self.task.excess_bytes
    }

    fn note(&mut self, result: Result<(), WriteoutError>) {
        if self.result.is_ok() {
            self.result = result;
        }
    }
}
