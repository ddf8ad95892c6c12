//! Seconds that counts are divided by.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::{engine::Bucket, spans::Spans, time::Range};

/// The time that has data: all of it, and in each part of a time series.
#[derive(Clone, Debug)]
pub struct Rates {
    all: f64,
    /// By the start of the part in microseconds.
    parts: HashMap<i64, f64>,
}

impl Rates {
    /// The seconds that the intervals cover, also by the bucket in which they start.
    pub fn new(
        intervals: impl Iterator<Item = (Timestamp, Timestamp)>,
        starts: Option<Vec<i64>>,
    ) -> Self {
        let intervals: Vec<_> = intervals.collect();
        let bucket = starts.map(Bucket::new);
        let mut by_part = HashMap::<i64, Vec<_>>::new();
        for (start, end) in &intervals {
            let time = start.as_microsecond();
            let part = bucket.as_ref().map_or(time, |bucket| bucket.start_of(time));
            by_part.entry(part).or_default().push((*start, *end));
        }
        let parts = by_part
            .into_iter()
            .map(|(part, intervals)| (part, seconds(intervals)));
        Self {
            parts: parts.collect(),
            all: seconds(intervals),
        }
    }

    /// Seconds with data: of the part of a time series that begins then, else of all.
    pub(super) fn seconds(&self, part: Option<i64>) -> f64 {
        let of_part = part.and_then(|part| self.parts.get(&part));
        of_part.copied().unwrap_or(self.all)
    }
}

fn seconds(intervals: Vec<(Timestamp, Timestamp)>) -> f64 {
    let always = Range {
        since: Timestamp::MIN,
        until: Timestamp::MAX,
    };
    Spans::of(intervals.into_iter()).seconds_in(always)
}
