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
    /// Why the clock is not believed, if it is not.
    pub held: Option<Hold>,
    /// Why the last pass could not count or delete everything, as a sentence.
    pub error: Option<Arc<str>>,
    /// How the store has come to lie on another file system than at the start, and the remedy.
    pub moved: Option<Arc<str>>,
    /// What became of closed days.
    pub compaction: CompactionReport,
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
