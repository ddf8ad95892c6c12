//! What a store holds, and what retention will delete when.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};

/// State of a store. Estimates go by the rate at which the store grows.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StoreReport {
    /// Bytes that the intervals take on disk, whole blocks.
    pub bytes: u64,
    /// Bytes of the file system that the agent may still use; `None` if it does not tell.
    pub free_bytes: Option<u64>,
    /// End of the oldest interval; `None` in an empty store.
    pub oldest: Option<Timestamp>,
    /// Bytes that a day adds: those of yesterday, or of the time since the store was begun.
    pub bytes_per_day: Option<u64>,
    /// Time over which that was seen: a day, or since the store was begun.
    pub growth_seen: Option<Duration>,
    /// Age at which intervals are deleted.
    pub max_age: Option<Duration>,
    /// Size in bytes beyond which the oldest are deleted.
    pub max_size_bytes: Option<u64>,
    /// Free space in bytes below which the oldest are deleted.
    pub min_free_bytes: Option<u64>,
    /// When the oldest interval becomes too old.
    pub age_deletes_at: Option<Timestamp>,
    /// When the store will be too large, by estimate.
    pub size_deletes_at: Option<Timestamp>,
    /// When too little space will be free, by estimate, if only the store grows.
    pub free_deletes_at: Option<Timestamp>,
    /// When the file system will be full, by estimate, if only the store grows; `None` if a rule deletes
    /// before.
    pub full_at: Option<Timestamp>,
    /// That is within [three days](FULL_SOON): writes fail then.
    pub is_filling: bool,
    /// Bytes that are missing to [`Self::min_free_bytes`] although nothing is left to delete.
    pub short_bytes: u64,
    /// What other files have taken of the store's room, while days had to go for that.
    pub crowded: Option<Crowded>,
    /// What was deleted for that before its time, since the start.
    pub early: Early,
    /// Why the clock is not believed, if it is not.
    pub held: Option<Hold>,
    /// Why the last pass could not count or delete everything, as a sentence.
    pub error: Option<Arc<str>>,
    /// How the store has come to lie on another file system than at the start, or to be gone, and the remedy.
    pub moved: Option<Arc<str>>,
    /// What became of closed days.
    pub compaction: CompactionReport,
}

/// A disk that is full so soon is told as trouble: longer than a weekend.
pub const FULL_SOON: Duration = Duration::from_hours(72);

impl StoreReport {
    /// What is wrong with the space of the store, in a word each, and whether it is so now.
    pub const fn troubles(&self) -> [(&'static str, bool); 3] {
        [
            ("crowded", self.crowded.is_some()),
            ("short", self.short_bytes > 0),
            ("filling", self.is_filling),
        ]
    }
}

/// Other files have taken room that the store had, and `min_free` has its days deleted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Crowded {
    /// When the first interval was deleted for it.
    pub since: Timestamp,
    /// Bytes by which the store must be smaller than it was.
    pub taken_bytes: u64,
}

/// Intervals that were deleted though neither too old nor too much by `max_size`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Early {
    /// Days that lost intervals, wholly or in part.
    pub days: u64,
    /// What these intervals took on disk.
    pub bytes: u64,
}

/// What compaction has done since the start.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CompactionReport {
    /// Days of an interface whose files became one.
    pub days: u64,
    /// Why a day could not be compacted in the last pass, as a sentence.
    pub error: Option<Arc<str>>,
}

/// The clock differs from the time that surely has passed, and is not believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hold {
    /// The time that retention goes by.
    pub reference: Timestamp,
    /// How far the clock is ahead of the trusted time; behind, if negative. Then retention goes by the
    /// clock, and only what is written now is kept for longer.
    pub ahead: SignedDuration,
    /// Bytes of whole days that would be deleted if the clock were believed.
    pub held_bytes: u64,
}
