//! Deletes the oldest intervals of a tree, by age, by size and by the space that is left.
//!
//! A tree may hold millions of files, so nothing here reads all of them but the count of the size,
//! which lists only directories that have changed: days are gone through oldest first, and only as
//! far as needed. Room is made before a write and not after it, or a full disk would stay full.
//! Errors are logged and never fail a write.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::{Timestamp, civil::Date};
use probe_flow::moment::Moment;
use tracing::{error, info, warn};

use crate::{WriteoutError, options::Retention, report::StoreReport};

mod forecast;
mod order;
mod tree;
mod trust;

pub(super) use self::tree::Tree;
use self::{
    order::{Day, by_trusted_time, date_of},
    tree::{Days, Disk, StoredFile},
    trust::{Trust, allowance},
};

/// Files are deleted at most this often, unless a disk is full.
const PRUNE_PAUSE: Duration = Duration::from_mins(1);
/// The size that is kept in mind is checked against the disk at least this often.
const COUNT_PAUSE: Duration = Duration::from_hours(1);

/// Keeps a tree inside its [`Retention`].
pub(super) struct Pruner<D> {
    disk: D,
    retention: Retention,
    boot_id: String,
    /// From the first pass on.
    trust: Option<Trust>,
    /// Whether it was told that the clock is not believed.
    is_hold_told: bool,
    /// Whether the trusted time could not be saved the last time.
    is_save_failing: bool,
    /// Time since the boot of the last pass.
    pruned_at: Option<Duration>,
    stored: Option<Stored>,
    report: Option<StoreReport>,
}

/// What is in the tree, as last counted, with what was written since.
struct Stored {
    by_day: BTreeMap<Date, u64>,
    counted_at: Instant,
    /// End of the oldest interval.
    oldest: Option<Timestamp>,
}

impl Stored {
    fn bytes(&self) -> u64 {
        self.by_day.values().sum()
    }
}

/// What has been deleted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Pruned {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

impl Pruned {
    const fn on_deleted(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// When an interval that is written was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    /// Time since the boot at the end, as in the [interval](probe_flow::interval::Interval).
    pub(super) end_since_boot: Option<Duration>,
}

/// What is to be deleted.
#[derive(Clone, Copy, Debug)]
struct Task {
    /// Intervals that ended before are too old.
    oldest_kept: Option<Timestamp>,
    /// So many bytes are too many.
    excess_bytes: u64,
}

impl<D: Disk> Pruner<D> {
    pub(super) fn new(disk: D, retention: Retention, boot_id: String) -> Self {
        Self {
            disk,
            retention,
            boot_id,
            trust: None,
            is_hold_told: false,
            is_save_failing: false,
            pruned_at: None,
            stored: None,
            report: None,
        }
    }

    /// Makes room, writes, and where the disk is full makes room and writes again. `write` returns
    /// the bytes on disk.
    pub(super) fn write_with_room(
        &mut self,
        bounds: Bounds,
        now: Moment,
        mut write: impl FnMut(&mut D) -> Result<u64, WriteoutError>,
    ) -> Result<(), WriteoutError> {
        self.prune_if_due(now);
        let mut result = write(&mut self.disk);
        if result.as_ref().is_err_and(WriteoutError::is_no_space)
            && self.prune_and_tell(now).files > 0
        {
            result = write(&mut self.disk);
        }
        self.on_written(bounds, result?, now);
        Ok(())
    }

    /// What is stored, and what will be deleted when; `None` before the first pass.
    pub(super) const fn report(&self) -> Option<&StoreReport> {
        self.report.as_ref()
    }

    /// A person says that the clock is right.
    pub(super) fn confirm_clock(&mut self, now: Moment) {
        let allowance = allowance(self.retention.max_age);
        self.trust(now).confirm(now, allowance);
        info!(clock = %now.wall, "the clock was confirmed; retention goes by it");
        self.prune_and_tell(now);
    }

    /// Deletes what is too old or too much, at most once a minute.
    pub(super) fn prune_if_due(&mut self, now: Moment) {
        let is_early = self
            .pruned_at
            .is_some_and(|pruned_at| now.since_boot.saturating_sub(pruned_at) < PRUNE_PAUSE);
        if !is_early {
            self.prune_and_tell(now);
        }
    }

    fn prune_and_tell(&mut self, now: Moment) -> Pruned {
        self.pruned_at = Some(now.since_boot);
        let (pruned, result) = self.prune(now);
        let Pruned { files, bytes } = pruned;
        if files > 0 {
            info!(files, bytes, "deleted the oldest intervals");
        }
        if let Err(error) = result {
            warn!(%error, "retention could not delete everything it should");
        }
        self.tell_hold(now);
        pruned
    }

    /// Deletes what is too old or too much. Goes on after an error, so that one file that cannot be
    /// deleted does not keep all others, and returns the first.
    fn prune(&mut self, now: Moment) -> (Pruned, Result<(), WriteoutError>) {
        let mut pruned = Pruned::default();
        let mut result = self.try_prune(now, &mut pruned);
        if pruned.files > 0 || self.stored.is_none() {
            let counted = self.disk.days().map(|days| self.count(&days));
            result = result.and(counted);
        }
        self.report = self.forecast(now).map(|report| StoreReport {
            error: result.as_ref().err().map(|error| error.to_string().into()),
            ..report
        });
        self.save_trust(now);
        (pruned, result)
    }

    fn save_trust(&mut self, now: Moment) {
        let trust = self.trust(now).clone();
        let result = self.disk.save_trust(&trust);
        if let Err(error) = &result
            && !self.is_save_failing
        {
            warn!(%error, "cannot save the time that retention trusts; the last saved one counts");
        }
        self.is_save_failing = result.is_err();
    }

    fn try_prune(&mut self, now: Moment, pruned: &mut Pruned) -> Result<(), WriteoutError> {
        let allowance = allowance(self.retention.max_age);
        let trust = self.trust(now);
        trust.observe(now, allowance);
        let reference = trust.reference(now);
        let days = self.disk.days()?;
        let task = Task {
            oldest_kept: self
                .retention
                .max_age
                .map(|max_age| reference.saturating_sub(max_age).unwrap_or(Timestamp::MIN)),
            excess_bytes: self.excess(&days),
        };
        let mut result = Ok(());
        let trust = self.trust(now).clone();
        for (date, day) in by_trusted_time(&self.disk, &days, &trust) {
            let is_old_day = task
                .oldest_kept
                .is_some_and(|oldest| date <= date_of(oldest));
            if !is_old_day && pruned.bytes >= task.excess_bytes {
                break;
            }
            result = result.and(self.prune_day(date, day, task, pruned));
        }
        result
    }

    fn prune_day(
        &mut self,
        date: Date,
        day: Day,
        task: Task,
        pruned: &mut Pruned,
    ) -> Result<(), WriteoutError> {
        let files = self.disk.files(date, &day.ifaces).into_iter();
        let mut files: Vec<_> = files
            .filter(|file| !day.has_moved || self.moved(file).is_none())
            .map(|file| (date, file))
            .collect();
        files.extend(day.moved);
        files.sort_by_cached_key(|(_, file)| self.moved(file).unwrap_or(file.end));
        let mut result = Ok(());
        let mut touched = BTreeMap::from([(date, day.ifaces)]);
        for (date, file) in files {
            // A wrong clock may have been early or late: the later of both times counts.
            let end = self
                .moved(&file)
                .map_or(file.end, |moved| moved.max(file.end));
            let is_old = task.oldest_kept.is_some_and(|oldest| end < oldest);
            if !is_old && pruned.bytes >= task.excess_bytes {
                continue;
            }
            let deleted = self.disk.remove(date, &file);
            result = result.and(deleted.map(|()| pruned.on_deleted(file.bytes)));
            touched.entry(date).or_insert_with(|| vec![file.iface]);
        }
        for (date, ifaces) in touched {
            result = result.and(self.disk.remove_empty(date, &ifaces));
        }
        result
    }

    fn moved(&self, file: &StoredFile) -> Option<Timestamp> {
        self.trust.as_ref()?.moved(file.end)
    }

    /// Bytes that are too many. Others delete files too, so before anything is deleted the disk has
    /// its say.
    fn excess(&mut self, days: &Days) -> u64 {
        let max = self.retention.max_size_bytes.unwrap_or(u64::MAX);
        let is_fresh = self
            .stored
            .as_ref()
            .is_some_and(|it| it.bytes() <= max && it.counted_at.elapsed() < COUNT_PAUSE);
        if !is_fresh {
            self.count(days);
        }
        let stored = self.stored.as_ref().map_or(0, Stored::bytes);
        let missing = self.disk.space().map_or(0, |space| {
            let wanted = self.retention.min_free.map_or(0, |it| it.of(space.total));
            wanted.saturating_sub(space.free)
        });
        stored.saturating_sub(max).max(missing)
    }

    fn count(&mut self, days: &Days) {
        let by_day = self.disk.sizes(days);
        let mut oldest = None;
        for (date, ifaces) in days {
            let files = self.disk.files(*date, ifaces);
            oldest = files.first().map(|file| file.end);
            if oldest.is_some() {
                break;
            }
        }
        self.stored = Some(Stored {
            by_day,
            counted_at: Instant::now(),
            oldest,
        });
    }

    fn on_written(&mut self, bounds: Bounds, bytes: u64, now: Moment) {
        // The clock may have been set since the interval ended.
        let ended = bounds.end_since_boot.map_or(now, |since_boot| Moment {
            wall: bounds.end,
            since_boot,
        });
        if self.trust(now).on_written(bounds.end, ended, now) {
            self.save_trust(now);
        }
        if let Some(stored) = &mut self.stored {
            *stored.by_day.entry(date_of(bounds.start)).or_default() += bytes;
            stored.oldest.get_or_insert(bounds.end);
        }
    }

    fn trust(&mut self, now: Moment) -> &mut Trust {
        let Self {
            disk,
            trust,
            boot_id,
            retention,
            ..
        } = self;
        trust.get_or_insert_with(|| {
            let allowance = allowance(retention.max_age);
            let saved = disk.load_trust();
            Trust::begin(saved, || newest(disk), boot_id, now, allowance)
        })
    }

    /// Says once that the clock is not believed, and once that it is again.
    fn tell_hold(&mut self, now: Moment) {
        let held = self.report.as_ref().and_then(|report| report.held);
        match (&held, self.is_hold_told) {
            (Some(hold), false) => error!(
                clock = %now.wall,
                ahead = %hold.ahead,
                goes_by = %hold.reference,
                "the clock differs from the time that surely has passed; retention deletes nothing \
                 on its word. Set the clock right, or confirm it: `probe-agent retention confirm`"
            ),
            (None, true) => info!(clock = %now.wall, "the clock is believed again"),
            _ => {}
        }
        self.is_hold_told = held.is_some();
    }
}

/// End of the newest stored interval.
fn newest(disk: &mut impl Disk) -> Option<Timestamp> {
    let days = disk.days().ok()?;
    let mut newest = days.iter().rev();
    newest.find_map(|(date, ifaces)| disk.files(*date, ifaces).last().map(|file| file.end))
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
