//! Whether other files take the room of the store, so that `min_free` has days deleted before their time.
//!
//! A store that fills its disk by itself deletes as much as it writes, and the room that it may take stays
//! the same: its own size, and what is free beyond `min_free`. Only others make that less than the store
//! once took.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, civil::Date};
use tracing::{info, warn};

use super::Stored;
use crate::{
    options::MinFree,
    partition::Space,
    report::{Crowded, Early},
};

/// An age counts as kept if this is missing: what is deleted goes by days.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The bound with the space that there is.
type Bounds = Option<(MinFree, Space)>;

/// What others have taken, and what it has cost.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    /// Most bytes that the store has had since the start.
    peak_bytes: u64,
    /// As of the last look.
    room: Room,
    /// When an interval was deleted for that, as long as it lasts.
    since: Option<Timestamp>,
    /// What was deleted since the start.
    lost: Lost,
    /// What was deleted since others take room that does not matter yet.
    pending: Lost,
    /// The last pass has not found enough to delete.
    is_short: bool,
    /// Too little space was free after the last pass.
    had_too_little: bool,
    is_told: bool,
}

/// What the store may take, next to what it once took.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Room {
    #[default]
    Enough,
    /// By so little that it may come and go.
    SomewhatLess,
    Less,
}

/// Days that lost intervals, and what these took.
#[derive(Debug, Default)]
struct Lost {
    days: BTreeSet<Date>,
    bytes: u64,
}

impl Neighbours {
    /// The store has that size.
    pub(super) fn on_size(&mut self, bytes: u64) {
        self.peak_bytes = self.peak_bytes.max(bytes);
    }

    /// Looks at the room before a pass.
    pub(super) fn look(
        &mut self,
        stored: &Stored,
        bounds: Bounds,
        reference: Timestamp,
        max_age: Option<Duration>,
    ) {
        self.on_size(stored.bytes());
        self.room = if self.matter(stored, bounds, reference, max_age).is_some() {
            Room::Less
        } else if self.taken(stored, bounds).is_some() {
            Room::SomewhatLess
        } else {
            Room::Enough
        };
        if self.room == Room::Enough {
            self.pending = Lost::default();
        }
        if self.room != Room::Less {
            self.since = None;
        }
    }

    /// Takes note of what a pass has deleted for `min_free`, and whether that was too little.
    pub(super) fn on_pass(&mut self, early: &BTreeMap<Date, u64>, is_short: bool, now: Timestamp) {
        self.is_short = is_short;
        if self.room == Room::Enough || early.is_empty() {
            return;
        }
        self.pending.days.extend(early.keys());
        self.pending.bytes += early.values().sum::<u64>();
        if self.room == Room::Less {
            self.since.get_or_insert(now);
            let pending = std::mem::take(&mut self.pending);
            self.lost.days.extend(pending.days);
            self.lost.bytes += pending.bytes;
        }
    }

    /// A pass has ended; whether too little space is free all the same.
    pub(super) const fn on_end(&mut self, has_too_little: bool) {
        self.had_too_little = has_too_little;
    }

    /// Too little space was free after the last pass.
    pub(super) const fn had_too_little(&self) -> bool {
        self.had_too_little
    }

    /// The last pass has not found enough to delete.
    pub(super) const fn is_short(&self) -> bool {
        self.is_short
    }

    /// What was deleted since the start.
    pub(super) fn early(&self) -> Early {
        Early {
            days: self.lost.days.len() as u64,
            bytes: self.lost.bytes,
        }
    }

    /// What others have taken, if days went for that and it lasts.
    pub(super) fn now(
        &self,
        stored: &Stored,
        bounds: Bounds,
        reference: Timestamp,
        max_age: Option<Duration>,
    ) -> Option<Crowded> {
        let since = self.since?;
        let taken_bytes = self.matter(stored, bounds, reference, max_age)?;
        Some(Crowded { since, taken_bytes })
    }

    /// Bytes by which the store must be smaller than it was.
    fn taken(&self, stored: &Stored, bounds: Bounds) -> Option<u64> {
        let (min_free, space) = bounds?;
        let room = (stored.bytes() + space.free).saturating_sub(min_free.of(space.total));
        self.peak_bytes.checked_sub(room).filter(|taken| *taken > 0)
    }

    /// The same if it is more than a day adds, and not of what would be too old.
    fn matter(
        &self,
        stored: &Stored,
        bounds: Bounds,
        reference: Timestamp,
        max_age: Option<Duration>,
    ) -> Option<u64> {
        let taken = self.taken(stored, bounds)?;
        let is_age_kept = max_age.is_some_and(|max_age| {
            let kept_since = reference.saturating_sub(max_age).unwrap_or(Timestamp::MIN);
            let nearly = kept_since.saturating_add(DAY).unwrap_or(Timestamp::MAX);
            stored.oldest.is_some_and(|oldest| oldest < nearly)
        });
        let growth = stored.growth(reference);
        let is_much = taken > growth.map_or(0, |growth| growth.bytes_per_day);
        (is_much && !is_age_kept).then_some(taken)
    }

    /// Says once that it is so, and once that it is over.
    pub(super) fn tell(&mut self, sink: &str) {
        let is_so = self.since.is_some() || self.is_short;
        if is_so && !self.is_told {
            warn!(
                sink,
                days = self.lost.days.len(),
                bytes = self.lost.bytes,
                is_all_deleted = self.is_short,
                "other files take the room of the store: min_free has intervals deleted before their time"
            );
        } else if !is_so && self.is_told {
            info!(sink, "the store has its room again");
        }
        self.is_told = is_so;
    }
}
