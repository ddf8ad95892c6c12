//! Time that intervals cover.

use jiff::Timestamp;
use probe_flow::interval::GAPLESS;

use crate::{completeness::Span, time::Range};

/// Whether an interval that starts then follows one that ended then.
pub(crate) fn is_gapless(end: Timestamp, start: Timestamp) -> bool {
    start.duration_since(end) < GAPLESS
}

/// Parts of the time, in order, none of which touches another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spans(Vec<(Timestamp, Timestamp)>);

impl Spans {
    /// What the intervals cover together.
    pub(crate) fn of(intervals: impl Iterator<Item = (Timestamp, Timestamp)>) -> Self {
        let mut intervals: Vec<_> = intervals.collect();
        intervals.sort_unstable();
        let mut spans = Vec::<(Timestamp, Timestamp)>::new();
        for (start, end) in intervals {
            match spans.last_mut() {
                Some(last) if is_gapless(last.1, start) => last.1 = last.1.max(end),
                _ => spans.push((start, end)),
            }
        }
        Self(spans)
    }

    /// The first moment that is covered.
    pub(crate) fn first(&self) -> Option<Timestamp> {
        self.0.first().map(|(start, _)| *start)
    }

    /// The last moment that is covered.
    pub(crate) fn last(&self) -> Option<Timestamp> {
        self.0.last().map(|(_, end)| *end)
    }

    /// Parts of the range that are not covered.
    pub(crate) fn holes(&self, range: Range) -> Vec<Span> {
        let mut holes = Vec::new();
        let mut at = range.since;
        let end = (range.until, range.until);
        for (start, stop) in self.0.iter().copied().chain([end]) {
            let until = start.min(range.until);
            if !is_gapless(at, until) {
                holes.push(Span { since: at, until });
            }
            at = at.max(stop);
        }
        holes
    }

    /// Parts of the range that are covered by these and not by `other`.
    pub(crate) fn without(&self, other: &Self, range: Range) -> Vec<Span> {
        let mut parts = Vec::new();
        for (start, end) in &self.0 {
            let (since, until) = ((*start).max(range.since), (*end).min(range.until));
            if since < until {
                parts.extend(other.holes(Range { since, until }));
            }
        }
        parts
    }

    /// Seconds of the range that are covered.
    pub(crate) fn seconds_in(&self, range: Range) -> f64 {
        let inside = self.0.iter().map(|(start, end)| {
            let (since, until) = ((*start).max(range.since), (*end).min(range.until));
            until.duration_since(since).as_secs_f64().max(0.0)
        });
        inside.sum()
    }
}

/// Time that more than one of the intervals covers, which are in order.
pub(crate) fn overlaps(intervals: impl Iterator<Item = (Timestamp, Timestamp)>) -> Vec<Span> {
    let mut found = Vec::<Span>::new();
    let mut end = Timestamp::MIN;
    for (start, stop) in intervals {
        let until = end.min(stop);
        if !is_gapless(start, until) {
            match found.last_mut() {
                Some(last) if start <= last.until => last.until = last.until.max(until),
                _ => found.push(Span {
                    since: start,
                    until,
                }),
            }
        }
        end = end.max(stop);
    }
    found
}
