//! What will be deleted when.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use probe_flow::moment::Moment;

use super::{Pruner, Stored, order::date_of, tree::Disk};
use crate::report::{FULL_SOON, Hold, StoreReport};

const DAY: Duration = Duration::from_hours(24);
const DAY_SECONDS: u128 = DAY.as_secs() as u128;
const FULL_SOON_SIGNED: SignedDuration =
    SignedDuration::from_secs(FULL_SOON.as_secs().cast_signed());

impl<D: Disk> Pruner<D> {
    /// State of the store; `None` before the first pass.
    pub(super) fn forecast(&self, now: Moment) -> Option<StoreReport> {
        let retention = self.retention;
        let space = self.disk.space();
        let bounds = StoreReport {
            free_bytes: space.map(|space| space.free),
            max_age: retention.max_age,
            max_size_bytes: retention.max_size_bytes,
            min_free_bytes: (retention.min_free.zip(space)).map(|(min, space)| min.of(space.total)),
            error: self.error.clone(),
            early: self.neighbours.early(),
            ..StoreReport::default()
        };
        let Some((stored, trust)) = self.stored.as_ref().zip(self.trust.as_ref()) else {
            return bounds.error.is_some().then_some(bounds);
        };
        let reference = trust.reference(now);
        let bytes = stored.bytes();
        let growth = stored.growth(reference);
        let bytes_per_day = growth.map(|growth| growth.bytes_per_day);
        // Without an age nothing waits for the clock.
        let held = retention.max_age.and_then(|max_age| {
            let oldest_kept = now.wall.saturating_sub(max_age).unwrap_or(Timestamp::MIN);
            let days = stored.by_day.range(..date_of(oldest_kept));
            Some(Hold {
                reference,
                ahead: trust.doubt(now)?,
                held_bytes: days.map(|(_, bytes)| bytes).sum(),
            })
        });
        let when = |left: u64| reach(reference, left, bytes_per_day?);
        let size_left = retention
            .max_size_bytes
            .map(|max| max.saturating_sub(bytes));
        let free_left = bounds.min_free_bytes.zip(space);
        let free_left = free_left.map(|(min, space)| space.free.saturating_sub(min));
        let age_deletes_at = stored
            .oldest
            .zip(retention.max_age)
            .and_then(|(oldest, max_age)| oldest.checked_add(max_age).ok());
        let size_deletes_at = size_left.and_then(when);
        let rules = age_deletes_at.into_iter().chain(size_deletes_at);
        // With `min_free` the sink makes room itself.
        let full_at = space
            .filter(|_| retention.min_free.is_none())
            .and_then(|space| when(space.free))
            .filter(|full_at| rules.min().is_none_or(|first| *full_at < first));
        let bounded = retention.min_free.zip(space);
        Some(StoreReport {
            full_at,
            is_filling: full_at.is_some_and(|at| at.duration_since(reference) < FULL_SOON_SIGNED),
            short_bytes: if self.neighbours.is_short() {
                self.missing_bytes()
            } else {
                0
            },
            crowded: self
                .neighbours
                .now(stored, bounded, reference, retention.max_age),
            bytes,
            oldest: stored.oldest,
            bytes_per_day,
            growth_seen: growth.map(|growth| growth.seen),
            age_deletes_at,
            size_deletes_at,
            free_deletes_at: free_left.and_then(when),
            held,
            ..bounds
        })
    }
}

/// How fast a store grows.
#[derive(Clone, Copy)]
pub(super) struct Growth {
    pub(super) bytes_per_day: u64,
    /// Over how long that was seen.
    seen: Duration,
}

impl Stored {
    /// By yesterday, or by the time since the store was begun, however short that is: an hour in the place of
    /// a minute made the growth sixty times too low, and a disk full long before its time was told.
    pub(super) fn growth(&self, reference: Timestamp) -> Option<Growth> {
        let begin = self.begin?;
        let yesterday = date_of(reference).yesterday().ok()?;
        let whole_day = (date_of(begin) < yesterday).then(|| self.by_day.get(&yesterday));
        if let Some(Some(bytes)) = whole_day {
            return Some(Growth {
                bytes_per_day: *bytes,
                seen: DAY,
            });
        }
        let seen = Duration::try_from(reference.duration_since(begin)).ok()?;
        let of_day = u128::from(self.bytes()) * DAY_SECONDS;
        let bytes_per_day = of_day.checked_div(u128::from(seen.as_secs()))?;
        Some(Growth {
            bytes_per_day: u64::try_from(bytes_per_day).ok()?,
            seen,
        })
    }
}

/// When so many bytes are written. `None` if never, or beyond the calendar.
fn reach(from: Timestamp, bytes: u64, bytes_per_day: u64) -> Option<Timestamp> {
    let seconds = (u128::from(bytes) * DAY_SECONDS).checked_div(u128::from(bytes_per_day))?;
    let seconds = i64::try_from(seconds).ok()?;
    from.checked_add(SignedDuration::from_secs(seconds)).ok()
}
