//! The parts of the time that a series is drawn in, each with what is wrong with it.

use jiff::{SignedDuration, Timestamp};

use crate::{
    completeness::{Report, Span},
    ledger::StoredLedger,
    spans::Spans,
    time::Range,
};

/// What is less belongs to late rotations and corrected clocks, here as in the report.
const GRACE: SignedDuration = SignedDuration::from_secs(1);

/// What keeps the numbers of a part from being what passed in it, the worst last.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Mark {
    /// Part of it was not asked, or is not stored yet.
    Cut,
    /// Intervals overlap, whose flows count twice.
    Twice,
    /// Packets were lost in it.
    Lost,
    /// The programs saw less than the link moved.
    Blind,
    /// Some of it, or an interface, has no data.
    Partly,
    /// It has no data at all: a hole, and not a zero.
    NoData,
}

impl Mark {
    /// All of them, the worst first.
    pub const ALL: [Self; 6] = [
        Self::NoData,
        Self::Partly,
        Self::Blind,
        Self::Lost,
        Self::Twice,
        Self::Cut,
    ];

    /// What it means, for legends.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoData => "no data",
            Self::Partly => "partly no data",
            Self::Blind => "not all seen",
            Self::Lost => "packets lost",
            Self::Twice => "counted twice",
            Self::Cut => "not whole",
        }
    }
}

/// A part of the time.
#[derive(Clone, Debug)]
pub struct Part {
    /// The first moment of it, by which rows name it.
    pub since: Timestamp,
    /// The first moment behind it.
    pub until: Timestamp,
    /// What is wrong with it, the worst first.
    pub marks: Vec<Mark>,
}

impl Part {
    /// Whether nothing is known of it.
    pub fn is_hole(&self) -> bool {
        self.marks.first() == Some(&Mark::NoData)
    }
}

/// All parts of the time, in order, none of which is left out.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// The parts, each of which ends where the next one begins.
    pub parts: Vec<Part>,
}

impl Timeline {
    /// The parts between these bounds, as far as they were asked, with the intervals that they are made of.
    pub(crate) fn new<'a>(
        bounds: &[Timestamp],
        range: Range,
        ledgers: impl Iterator<Item = &'a StoredLedger>,
        report: &Report,
    ) -> Self {
        let ledgers: Vec<_> = ledgers.collect();
        let first = ledgers.iter().map(|ledger| ledger.start).min();
        let since = first.map_or(range.since, |first| first.min(range.since));
        let parts = bounds.windows(2).map(|pair| Part {
            since: pair[0],
            until: pair[1],
            marks: Vec::new(),
        });
        let asked = |part: &Part| part.until > since && part.since < range.until;
        let mut timeline = Self {
            parts: parts.filter(asked).collect(),
        };
        timeline.find_holes(&ledgers);
        timeline.drop_unwritten(report);
        timeline.mark_cut(range, report);
        timeline.mark_report(report);
        for ledger in ledgers.iter().filter(|ledger| ledger.missed() > 0) {
            if let Some(place) = timeline.place(ledger.start) {
                timeline.parts[place].marks.push(Mark::Lost);
            }
        }
        for part in &mut timeline.parts {
            part.marks.sort_unstable_by(|left, right| right.cmp(left));
            part.marks.dedup();
        }
        timeline
    }

    /// Number of the part that a moment lies in.
    pub fn place(&self, time: Timestamp) -> Option<usize> {
        let behind = self.parts.partition_point(|part| part.since <= time);
        behind.checked_sub(1)
    }

    /// From when until when; `None` without parts.
    pub fn extent(&self) -> Option<Span> {
        Some(Span {
            since: self.parts.first()?.since,
            until: self.parts.last()?.until,
        })
    }

    /// All marks that there are, the worst first.
    pub fn marks(&self) -> impl Iterator<Item = Mark> {
        let has = |mark: &Mark| self.parts.iter().any(|part| part.marks.contains(mark));
        Mark::ALL.into_iter().filter(has)
    }

    /// An interval counts to the part in which it starts. A part that an earlier interval covers, and in
    /// which none starts, is no hole: it is drawn as one with the part that has its counts.
    fn find_holes(&mut self, ledgers: &[&StoredLedger]) {
        let mut has_data = vec![false; self.parts.len()];
        for ledger in ledgers {
            if let Some(place) = self.place(ledger.start) {
                has_data[place] = true;
            }
        }
        let spans = Spans::of(ledgers.iter().map(|ledger| (ledger.start, ledger.end)));
        let mut kept = Vec::<Part>::new();
        for (mut part, has_data) in std::mem::take(&mut self.parts).into_iter().zip(has_data) {
            let is_covered = has_data || {
                let range = Range {
                    since: part.since,
                    until: part.until,
                };
                spans.seconds_in(range) > GRACE.as_secs_f64()
            };
            match kept.last_mut() {
                Some(last) if is_covered && !has_data && !last.is_hole() => last.until = part.until,
                _ => {
                    if !has_data {
                        part.marks.push(Mark::NoData);
                    }
                    kept.push(part);
                }
            }
        }
        self.parts = kept;
    }

    /// What came since the last interval is not yet stored. That is no hole until the report calls it one.
    fn drop_unwritten(&mut self, report: &Report) {
        let Some(stored_until) = report.stored_until else {
            return;
        };
        while let Some(last) = self.parts.last()
            && last.is_hole()
            && last.since >= stored_until - GRACE
            && !report.outages.iter().any(|it| it.span.until > last.since)
        {
            self.parts.pop();
        }
    }

    fn mark_cut(&mut self, range: Range, report: &Report) {
        let stored_until = report.stored_until.unwrap_or(range.until);
        let is_out = report.outages.iter().any(|it| it.span.until > stored_until);
        let end = if is_out {
            range.until
        } else {
            range.until.min(stored_until)
        };
        if let Some(first) = self.parts.first_mut()
            && first.since < range.since - GRACE
        {
            first.marks.push(Mark::Cut);
        }
        if let Some(last) = self.parts.last_mut()
            && last.until > end + GRACE
        {
            last.marks.push(Mark::Cut);
        }
    }

    fn mark_report(&mut self, report: &Report) {
        for outage in &report.outages {
            self.mark(outage.span, Mark::Partly);
        }
        for iface in &report.interfaces {
            for hole in &iface.holes {
                self.mark(*hole, Mark::Partly);
            }
            for blind in &iface.blind {
                self.mark(blind.span, Mark::Blind);
            }
            for overlap in &iface.overlaps {
                self.mark(*overlap, Mark::Twice);
            }
        }
    }

    /// Marks the parts that have more than a second of the span.
    fn mark(&mut self, span: Span, mark: Mark) {
        let first = self
            .parts
            .partition_point(|part| part.until <= span.since + GRACE);
        for part in self.parts.iter_mut().skip(first) {
            if part.since >= span.until - GRACE {
                break;
            }
            if !part.is_hole() {
                part.marks.push(mark);
            }
        }
    }
}
