//! Deletes the oldest intervals of a tree, by age, by size and by the space that is left.
//!
//! A tree may hold millions of files, so nothing here reads all of them but the count of the size,
//! which lists only directories that have changed. Days are gone through oldest first, only as far as
//! needed, and not at all as long as nothing has to go. Room is made before a write and not after it,
//! or a full disk would stay full. Errors are logged and never fail a write.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use probe_flow::moment::Moment;
use tracing::{error, info, warn};

use crate::{
    WriteoutError,
    options::{MinFree, Retention},
    report::StoreReport,
};

mod forecast;
mod neighbours;
mod order;
mod pass;
mod stored;
mod tree;
mod trust;

use self::{
    neighbours::Neighbours,
    order::date_of,
    pass::{Pass, Task},
    stored::Stored,
    tree::Disk,
    trust::allowance,
};
pub(super) use self::{order::may_hold_moved, tree::Tree, trust::Trust};

/// Files are deleted at most this often, unless a disk is full.
const PRUNE_PAUSE: Duration = Duration::from_mins(1);
/// The same after an error, so that the end of its cause is soon seen.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// How often it is begun anew at once because others change what was listed. The rest has time.
const MAX_PASSES: u32 = 4;

/// Keeps a tree inside its [`Retention`].
pub(super) struct Pruner<D> {
    disk: D,
    /// Name of the sink, for the log.
    sink: String,
    retention: Retention,
    boot_id: String,
    /// From the first pass on in which the tree could be read.
    trust: Option<Trust>,
    /// Whether it was told that the clock is not believed.
    is_hold_told: bool,
    /// Whether the trusted time could not be saved the last time.
    is_save_failing: bool,
    /// Whether the clock was not believed in the last pass.
    was_clock_doubted: bool,
    /// Who takes the room.
    neighbours: Neighbours,
    /// Time since the boot of the last pass.
    pruned_at: Option<Duration>,
    stored: Option<Stored>,
    /// Why the last pass could not do everything.
    error: Option<Arc<str>>,
    report: Option<StoreReport>,
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

impl<D: Disk> Pruner<D> {
    pub(super) fn new(disk: D, sink: &str, retention: Retention, boot_id: String) -> Self {
        Self {
            disk,
            sink: sink.to_owned(),
            retention,
            boot_id,
            trust: None,
            is_hold_told: false,
            is_save_failing: false,
            was_clock_doubted: false,
            neighbours: Neighbours::default(),
            pruned_at: None,
            stored: None,
            error: None,
            report: None,
        }
    }

    /// The sink has another name in the log.
    pub(super) fn rename(&mut self, sink: &str) {
        sink.clone_into(&mut self.sink);
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
        let result = result.map(|bytes| self.on_written(bounds, bytes, now));
        self.report = self.forecast(now);
        result
    }

    /// Space that is to be left free.
    pub(super) const fn min_free(&self) -> Option<MinFree> {
        self.retention.min_free
    }

    /// The time to go by; `None` before the first pass in which the tree could be read.
    pub(super) const fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }

    /// What is stored, and what will be deleted when; `None` before the first pass.
    pub(super) const fn report(&self) -> Option<&StoreReport> {
        self.report.as_ref()
    }

    /// Somebody else has changed what is stored: it is counted anew at the next pass.
    pub(super) fn recount(&mut self) {
        if let Some(stored) = &mut self.stored {
            stored.doubt();
        }
    }

    /// A person says that the clock is right.
    pub(super) fn confirm_clock(&mut self, now: Moment) {
        let allowance = allowance(self.retention.max_age);
        // Where nothing tells another time, the person does.
        let mut trust = self.trust.take().unwrap_or_else(|| {
            let saved = self.disk.load_trust();
            Trust::begin(saved, Some(now.wall), &self.boot_id, now, allowance)
        });
        trust.confirm(now, allowance);
        self.trust = Some(trust);
        // What is the oldest may be another now.
        if let Some(stored) = &mut self.stored {
            stored.doubt();
        }
        info!(sink = self.sink, clock = %now.wall, "the clock was confirmed; retention goes by it");
        self.prune_and_tell(now);
    }

    /// Deletes what is too old or too much if it is time for that, and sees what there is now.
    pub(super) fn look_after(&mut self, now: Moment) {
        self.prune_if_due(now);
        self.report = self.forecast(now);
    }

    /// Deletes what is too old or too much, at most once a minute, unless the clock was set, space has
    /// become short or the last pass has failed.
    fn prune_if_due(&mut self, now: Moment) {
        let pause = if self.error.is_some() {
            RETRY_PAUSE
        } else {
            PRUNE_PAUSE
        };
        let is_early = self
            .pruned_at
            .is_some_and(|pruned_at| now.since_boot.saturating_sub(pruned_at) < pause);
        let is_news = self.is_clock_doubted(now) != self.was_clock_doubted
            || !self.neighbours.had_too_little() && self.missing_bytes() > 0;
        if !is_early || is_news {
            self.prune_and_tell(now);
        }
    }

    /// Bytes that are missing to `min_free`.
    fn missing_bytes(&self) -> u64 {
        let bounds = self.retention.min_free.zip(self.disk.space());
        bounds.map_or(0, |(min, space)| {
            min.of(space.total).saturating_sub(space.free)
        })
    }

    fn prune_and_tell(&mut self, now: Moment) -> Pruned {
        self.pruned_at = Some(now.since_boot);
        let before = self.error.clone();
        let (pruned, result) = self.prune(now);
        let Pruned { files, bytes } = pruned;
        if files > 0 {
            info!(
                sink = self.sink,
                files, bytes, "deleted the oldest intervals"
            );
        }
        match result {
            Err(_) if self.error == before => {}
            Err(error) => {
                warn!(sink = self.sink, %error, "retention could not delete everything it should");
            }
            Ok(()) if before.is_some() => {
                info!(
                    sink = self.sink,
                    "retention counts and deletes everything again"
                );
            }
            Ok(()) => {}
        }
        self.neighbours.tell(&self.sink);
        self.tell_hold(now);
        pruned
    }

    /// Deletes what is too old or too much. Goes on after an error, so that one file that cannot be
    /// deleted does not keep all others, and returns the first.
    fn prune(&mut self, now: Moment) -> (Pruned, Result<(), WriteoutError>) {
        let mut pruned = Pruned::default();
        let mut result = Ok(());
        for _ in 0..MAX_PASSES {
            result = self.try_prune(now, &mut pruned);
            if !self.stored.as_ref().is_some_and(Stored::is_doubted) {
                break;
            }
        }
        self.error = result.as_ref().err().map(|error| error.to_string().into());
        if let Some(stored) = self.stored.as_mut().filter(|_| result.is_err()) {
            stored.doubt();
        }
        self.was_clock_doubted = self.is_clock_doubted(now);
        self.neighbours.on_end(self.missing_bytes() > 0);
        self.report = self.forecast(now);
        self.save_trust();
        (pruned, result)
    }

    fn is_clock_doubted(&self, now: Moment) -> bool {
        self.trust
            .as_ref()
            .is_some_and(|it| it.doubt(now).is_some())
    }

    fn try_prune(&mut self, now: Moment, pruned: &mut Pruned) -> Result<(), WriteoutError> {
        let allowance = allowance(self.retention.max_age);
        let Self {
            disk,
            retention,
            boot_id,
            stored,
            neighbours,
            ..
        } = self;
        let trust = match &mut self.trust {
            Some(trust) => trust,
            trust => {
                let saved = disk.load_trust();
                let newest = if saved.is_some() { None } else { newest(disk)? };
                trust.insert(Trust::begin(saved, newest, boot_id, now, allowance))
            }
        };
        trust.observe(now, allowance);
        let oldest_kept = retention.max_age.map(|max_age| {
            let reference = trust.reference(now);
            reference.saturating_sub(max_age).unwrap_or(Timestamp::MIN)
        });
        let max = retention.max_size_bytes.unwrap_or(u64::MAX);
        let mut result = Ok(());
        let mut days = None;
        // Others delete files too, so before anything is deleted by size the disk has its say.
        if !stored.as_ref().is_some_and(|it| it.is_fresh(max)) {
            let (found, listed) = disk.days();
            if found.is_empty() && listed.is_err() {
                return listed;
            }
            let (by_day, counted) = disk.sizes(&found);
            result = listed.and(counted);
            *stored = Some(Stored::new(by_day));
            days = Some(found);
        }
        let Some(stored) = stored else {
            return result;
        };
        let bounds = retention.min_free.zip(disk.space());
        let missing = bounds.map_or(0, |(min, space)| {
            min.of(space.total).saturating_sub(space.free)
        });
        let of_size = stored.bytes().saturating_sub(max);
        let task = Task {
            oldest_kept,
            excess_bytes: of_size.max(missing),
            of_size_bytes: of_size,
        };
        neighbours.look(stored, bounds, trust.reference(now), retention.max_age);
        let days = match days {
            Some(days) => days,
            None if !task.is_due(stored.oldest) => {
                neighbours.on_pass(&BTreeMap::new(), missing > 0, now.wall);
                return result;
            }
            None => {
                let (days, listed) = disk.days();
                result = listed;
                days
            }
        };
        let pass = Pass::new(disk, trust, task).run(days);
        let is_short = pass.pruned.bytes < missing && pass.result.is_ok() && !pass.is_outdated;
        neighbours.on_pass(&pass.early, is_short, now.wall);
        stored.on_freed(&pass.freed);
        stored.oldest = pass.oldest;
        stored.begin = pass.begin;
        if pass.is_outdated {
            stored.doubt();
        }
        pruned.files += pass.pruned.files;
        pruned.bytes += pass.pruned.bytes;
        result.and(pass.result)
    }

    fn on_written(&mut self, bounds: Bounds, bytes: u64, now: Moment) {
        let Some(trust) = &mut self.trust else {
            return;
        };
        // The clock may have been set since the interval ended.
        let ended = bounds.end_since_boot.map_or(now, |since_boot| Moment {
            wall: bounds.end,
            since_boot,
        });
        let is_news = trust.on_written(bounds.end, ended, now);
        if let Some(stored) = &mut self.stored {
            let end = trust
                .moved(bounds.end)
                .map_or(bounds.end, |it| it.max(bounds.end));
            let length = bounds.end.duration_since(bounds.start);
            let begin = end.saturating_sub(length).unwrap_or(Timestamp::MIN);
            stored.on_written(date_of(bounds.start), [begin, end], bytes);
            self.neighbours.on_size(stored.bytes());
        }
        if is_news {
            self.save_trust();
        }
    }

    fn save_trust(&mut self) {
        let Some(trust) = &self.trust else {
            return;
        };
        let result = self.disk.save_trust(trust);
        if let Err(error) = &result
            && !self.is_save_failing
        {
            warn!(
                sink = self.sink,
                %error,
                "cannot save the time that retention trusts; the last saved one counts"
            );
        }
        self.is_save_failing = result.is_err();
    }

    /// Says once that the clock is not believed, and once that it is again.
    fn tell_hold(&mut self, now: Moment) {
        let held = self.report.as_ref().and_then(|report| report.held);
        match (&held, self.is_hold_told) {
            (Some(hold), false) => error!(
                sink = self.sink,
                clock = %now.wall,
                ahead = %hold.ahead,
                goes_by = %hold.reference,
                "the clock differs from the time that surely has passed; retention deletes nothing \
                 on its word. Set the clock right, or confirm it: `probe-agent retention confirm`"
            ),
            (None, true) => {
                info!(sink = self.sink, clock = %now.wall, "the clock is believed again");
            }
            _ => {}
        }
        self.is_hold_told = held.is_some();
    }
}

/// End of the newest stored interval; `None` in an empty store.
fn newest(disk: &mut impl Disk) -> Result<Option<Timestamp>, WriteoutError> {
    let (days, mut result) = disk.days();
    for (date, ifaces) in days.iter().rev() {
        let (files, listed) = disk.files(*date, ifaces);
        if let Some(file) = files.last() {
            return Ok(Some(file.end));
        }
        result = result.and(listed);
    }
    result.map(|()| None)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
