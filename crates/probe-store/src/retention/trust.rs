//! Which time retention goes by. The wall clock may have been set, so it is not believed blindly.
//!
//! Beside the clock there is a second witness: the time since the boot, which nobody can set. The
//! *trusted time* is a wall-clock time that was believed once, and goes on with that witness. A wall
//! clock that says more than the trusted time has jumped, or the host was off.
//!
//! * A little more or less is believed at once, from a budget: a tenth of `max_age`, at least ten
//!   minutes and at most seven days. It is full after a boot, since the time before is unknown, and
//!   is refilled by a hundredth of the time that passes.
//! * More than that ahead is not believed: retention goes by the trusted time until a person confirms
//!   the clock. No other evidence on the host could not be given by a wrong clock as well.
//! * More than that behind only lets files live longer, so retention goes by the clock. The trusted
//!   time goes on, and is believed again when the clock says it.
//!
//! Intervals that were written while the clock was not believed are remembered, with the trusted
//! time at which that was: they are neither the oldest of all in 1970 nor the newest in 2040.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use probe_flow::moment::Moment;
use serde::{Deserialize, Serialize};

/// A jump that matters for nothing that is told to people.
const TOLERANCE_MS: i64 = 60_000;
/// The longest interval, in milliseconds.
const DAY_MS: i64 = 24 * 3_600_000;
/// One part in so many of the time that passes is added to the budget.
const BUDGET_SHARE: i64 = 100;
/// Most stretches of time that were written while the clock was not believed.
const MAX_MOVED: usize = 64;

/// The trusted time of a store, as it is kept in the store's root.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Trust {
    /// The boot that `since_boot_ms` counts from.
    boot_id: String,
    /// When `trusted` was, in milliseconds since the boot.
    since_boot_ms: i64,
    /// The trusted time at that moment.
    trusted: Timestamp,
    /// How far a jump may go to be believed at once.
    budget_ms: i64,
    /// Intervals by the clock with which they were written; those of the running boot also if it was
    /// believed.
    moved: Vec<Moved>,
}

/// Intervals of one clock, by the ends in their names.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Moved {
    first_ms: i64,
    last_ms: i64,
    /// Added to such an end, it gives the trusted time. Near 0: the clock was believed.
    by_ms: i64,
    /// How long the host was off before is not known, and a later clock may tell.
    is_open: bool,
}

/// Longest jump that is believed at once.
pub(super) fn allowance(max_age: Option<Duration>) -> Duration {
    let tenth = max_age.map_or(Duration::MAX, |max_age| max_age / 10);
    tenth.clamp(Duration::from_mins(10), Duration::from_hours(7 * 24))
}

impl Trust {
    /// Goes on from what was saved; without that, from the end of the newest stored interval; in an
    /// empty store from the clock.
    pub(super) fn begin(
        saved: Option<Self>,
        newest: Option<Timestamp>,
        boot_id: &str,
        now: Moment,
        allowance: Duration,
    ) -> Self {
        let budget_ms = millis(allowance);
        let mut trust = match saved {
            Some(saved) if saved.boot_id == boot_id && !boot_id.is_empty() => saved,
            // At least the time since the boot has passed.
            Some(saved) => Self {
                boot_id: boot_id.to_owned(),
                since_boot_ms: 0,
                budget_ms,
                // What was written with a clock that was believed had the right times.
                moved: saved.moved.into_iter().filter(Moved::is_moved).collect(),
                ..saved
            },
            None => Self {
                boot_id: boot_id.to_owned(),
                since_boot_ms: millis(now.since_boot),
                trusted: newest.unwrap_or(now.wall),
                budget_ms,
                moved: Vec::new(),
            },
        };
        trust.observe(now, allowance);
        trust
    }

    /// Takes in what both clocks say.
    pub(super) fn observe(&mut self, now: Moment, allowance: Duration) {
        let elapsed = (millis(now.since_boot) - self.since_boot_ms).max(0);
        self.since_boot_ms = millis(now.since_boot);
        self.trusted = later(self.trusted, elapsed);
        self.budget_ms = (self.budget_ms + elapsed / BUDGET_SHARE).min(millis(allowance));
        let ahead = self.ahead_ms(now);
        if ahead.abs() <= self.budget_ms {
            self.budget_ms -= ahead.abs();
            self.trusted = now.wall;
            // The trusted time was right, and so were the times by which intervals were moved.
            let moved = self.moved.iter_mut().filter(|moved| moved.is_moved());
            moved.for_each(|moved| moved.is_open = false);
        }
    }

    /// A person says that the clock is right.
    pub(super) fn confirm(&mut self, now: Moment, allowance: Duration) {
        self.observe(now, allowance);
        let ahead = self.ahead_ms(now);
        // What this clock wrote has the right times after all.
        self.moved.retain(|moved| !is_near(moved.by_ms, -ahead));
        // The trusted time was wrong by that, as far as is known since the boot. If it was not for so
        // long, some files are kept for longer.
        for moved in self.moved.iter_mut().filter(|moved| moved.is_open) {
            moved.by_ms += ahead;
            moved.is_open = false;
        }
        self.trusted = now.wall;
        self.budget_ms = millis(allowance);
    }

    /// The time to go by: at most what has surely passed.
    pub(super) fn reference(&self, now: Moment) -> Timestamp {
        self.trusted.min(now.wall)
    }

    /// How far the clock is ahead (behind, if negative) of the trusted time; `None` if it is believed.
    pub(super) fn doubt(&self, now: Moment) -> Option<SignedDuration> {
        let ahead = self.ahead_ms(now);
        (ahead.abs() > TOLERANCE_MS).then(|| SignedDuration::from_millis(ahead))
    }

    /// An interval of this end was written; `ended` is a moment at which the clock was as at its end.
    /// Returns whether that is news that must not be forgotten.
    pub(super) fn on_written(&mut self, end: Timestamp, ended: Moment, now: Moment) -> bool {
        let by_ms = -self.ahead_ms(ended);
        let end_ms = end.as_millisecond();
        // What a wrong clock left in the queue is written when the right time is known.
        let is_open = is_near(by_ms, 0) || self.doubt(now).is_some();
        match self.moved.last_mut() {
            Some(moved) if moved.is_joined_by(end_ms, by_ms, is_open) => {
                if (moved.first_ms..=moved.last_ms).contains(&end_ms) {
                    return false;
                }
                moved.first_ms = moved.first_ms.min(end_ms);
                moved.last_ms = moved.last_ms.max(end_ms);
            }
            _ => {
                if self.moved.len() >= MAX_MOVED {
                    // Of a clock that was believed little is lost.
                    let believed = self.moved.iter().position(|moved| !moved.is_moved());
                    self.moved.remove(believed.unwrap_or(0));
                }
                self.moved.push(Moved {
                    first_ms: end_ms,
                    last_ms: end_ms,
                    by_ms,
                    is_open,
                });
            }
        }
        !is_near(by_ms, 0)
    }

    /// The trusted time at which an interval of this end was written, if its clock was not believed.
    /// An interval of the same end by a clock that was right cannot be told from it, and counts as
    /// moved as well.
    pub(super) fn moved(&self, end: Timestamp) -> Option<Timestamp> {
        let end_ms = end.as_millisecond();
        let mut moved = self.moved.iter().rev();
        moved
            .find(|moved| moved.is_moved() && (moved.first_ms..=moved.last_ms).contains(&end_ms))
            .map(|moved| later(end, moved.by_ms))
    }

    /// Whether an interval that ended from `first` to `last` may be [moved](Self::moved).
    pub(super) fn has_moved(&self, first: Timestamp, last: Timestamp) -> bool {
        let (first, last) = (first.as_millisecond(), last.as_millisecond());
        let mut moved = self.moved.iter();
        moved.any(|moved| moved.is_moved() && moved.first_ms <= last && first <= moved.last_ms)
    }

    /// How far a clock is ahead of the trusted time of that moment, which may be long ago.
    fn ahead_ms(&self, at: Moment) -> i64 {
        let elapsed = millis(at.since_boot) - self.since_boot_ms;
        at.wall.as_millisecond() - later(self.trusted, elapsed).as_millisecond()
    }
}

impl Moved {
    /// Whether an interval of the same clock belongs to these. If the error of the clock is the same
    /// by chance, times of a right clock may lie in between.
    const fn is_joined_by(&self, end_ms: i64, by_ms: i64, is_open: bool) -> bool {
        let is_close = self.first_ms - DAY_MS <= end_ms && end_ms <= self.last_ms + DAY_MS;
        self.is_open == is_open && is_near(self.by_ms, by_ms) && (is_open || is_close)
    }

    const fn is_moved(&self) -> bool {
        !is_near(self.by_ms, 0)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn later(time: Timestamp, by_ms: i64) -> Timestamp {
    let moved = time.saturating_add(SignedDuration::from_millis(by_ms));
    moved.unwrap_or(time)
}

const fn is_near(one_ms: i64, other_ms: i64) -> bool {
    (one_ms - other_ms).abs() <= TOLERANCE_MS
}

#[cfg(test)]
mod tests;
