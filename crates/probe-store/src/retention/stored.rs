//! What is kept in mind of a tree, so that it need not be counted at every pass.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::{Timestamp, civil::Date};

/// The size that is kept in mind is checked against the disk at least this often.
const COUNT_PAUSE: Duration = Duration::from_hours(1);

/// The earlier of both.
pub(super) fn earlier(known: Option<Timestamp>, time: Timestamp) -> Timestamp {
    known.map_or(time, |known| known.min(time))
}

/// What is in the tree, as last counted, with what was written and deleted since.
pub(super) struct Stored {
    pub(super) by_day: BTreeMap<Date, u64>,
    /// `None`: it is to be counted anew.
    counted_at: Option<Instant>,
    /// End of the oldest interval, by the trusted time.
    pub(super) oldest: Option<Timestamp>,
    /// Start of what is in the oldest file, by the trusted time. A compacted file has a whole day.
    pub(super) begin: Option<Timestamp>,
}

impl Stored {
    /// Bytes of each day that were counted just now.
    pub(super) fn new(by_day: BTreeMap<Date, u64>) -> Self {
        Self {
            by_day,
            counted_at: Some(Instant::now()),
            oldest: None,
            begin: None,
        }
    }

    /// Has everything counted anew at the next pass.
    pub(super) const fn doubt(&mut self) {
        self.counted_at = None;
    }

    /// Whether it is to be counted anew.
    pub(super) const fn is_doubted(&self) -> bool {
        self.counted_at.is_none()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.by_day.values().sum()
    }

    /// Whether nothing is to be deleted by size, and the count is not old.
    pub(super) fn is_fresh(&self, max_bytes: u64) -> bool {
        let is_recent = |counted_at: Instant| counted_at.elapsed() < COUNT_PAUSE;
        self.bytes() <= max_bytes && self.counted_at.is_some_and(is_recent)
    }

    pub(super) fn on_freed(&mut self, freed: &BTreeMap<Date, u64>) {
        for (date, freed) in freed {
            if let Some(bytes) = self.by_day.get_mut(date) {
                *bytes = bytes.saturating_sub(*freed);
            }
        }
        self.by_day.retain(|_, bytes| *bytes > 0);
    }

    /// Something of that day was written, which began and ended then by the trusted time.
    pub(super) fn on_written(&mut self, day: Date, [begin, end]: [Timestamp; 2], bytes: u64) {
        *self.by_day.entry(day).or_default() += bytes;
        self.oldest = Some(earlier(self.oldest, end));
        self.begin = Some(earlier(self.begin, begin));
    }
}
