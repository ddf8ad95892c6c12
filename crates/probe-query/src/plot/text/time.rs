//! The axis of time below a picture, and what is wrong with its parts.

use std::ops::Range;

use unicode_width::UnicodeWidthStr;

use super::line::{Line, Paint};
use crate::plot::{
    calendar::{Calendar, Tick},
    chart::Chart,
    scale::{float, nearest},
    timeline::{Mark, Timeline},
};

/// How a hole is drawn.
pub(super) const HOLE: char = '░';

/// Columns, each with the parts of the time that it stands for.
pub(super) struct Columns {
    parts: Vec<Range<usize>>,
}

impl Columns {
    /// So many columns of equal time. A column stands for the parts whose middles it has, or where there
    /// is none for the part that it lies in.
    pub(super) fn new(timeline: &Timeline, number: usize) -> Self {
        let Some(extent) = timeline.extent() else {
            return Self { parts: Vec::new() };
        };
        let start = extent.since.as_microsecond();
        let length = (extent.until.as_microsecond() - start).max(1);
        let number_i = i64::try_from(number).unwrap_or(i64::MAX).max(1);
        let bound = |column: usize| {
            let column = i64::try_from(column).unwrap_or(i64::MAX);
            let offset = i128::from(length) * i128::from(column) / i128::from(number_i);
            start + i64::try_from(offset).unwrap_or(length)
        };
        let behind = |time: i64| {
            timeline.parts.partition_point(|part| {
                i64::midpoint(part.since.as_microsecond(), part.until.as_microsecond()) < time
            })
        };
        let parts = (0..number).map(|column| {
            let (from, to) = (bound(column), bound(column + 1));
            let middles = behind(from)..behind(to);
            if !middles.is_empty() {
                return middles;
            }
            let middle = i64::midpoint(from, to);
            let place = timeline
                .parts
                .partition_point(|part| part.since.as_microsecond() <= middle);
            place.saturating_sub(1)..place.max(1)
        });
        Self {
            parts: parts.collect(),
        }
    }

    /// Most parts that a column stands for.
    pub(super) fn most_parts(&self) -> usize {
        self.parts.iter().map(Range::len).max().unwrap_or(0)
    }

    /// The largest number in each column; `None` where there are only holes.
    pub(super) fn largest(&self, timeline: &Timeline, values: &[f64]) -> Vec<Option<f64>> {
        let of = |parts: &Range<usize>| {
            let known = parts
                .clone()
                .filter(|place| !timeline.parts[*place].is_hole());
            known.map(|place| values[place]).reduce(f64::max)
        };
        self.parts.iter().map(of).collect()
    }

    /// The worst mark of each column.
    fn worst(&self, timeline: &Timeline) -> Vec<Option<Mark>> {
        let of = |parts: &Range<usize>| {
            let marks = parts.clone().flat_map(|place| &timeline.parts[place].marks);
            marks.max().copied()
        };
        self.parts.iter().map(of).collect()
    }
}

/// The line that an axis of time is, with its labels below, and marks if there are any.
pub(super) fn axis(chart: &Chart, timeline: &Timeline, gutter: usize, width: usize) -> Vec<Line> {
    let Some(extent) = timeline.extent() else {
        return Vec::new();
    };
    let calendar = Calendar::new(extent, &chart.zone, float(width));
    let length = extent.until.duration_since(extent.since).as_secs_f64();
    let column = |tick: &Tick| {
        let offset = tick.at.duration_since(extent.since).as_secs_f64();
        nearest((offset / length.max(1e-6) * float(width)).floor())
    };
    let ticks: Vec<_> = calendar
        .ticks
        .iter()
        .map(|tick| (column(tick), &*tick.label))
        .collect();
    let eras: Vec<_> = calendar
        .eras
        .iter()
        .map(|tick| (column(tick), &*tick.label))
        .collect();
    let rule = (0..width).map(|at| {
        let is_tick = ticks.iter().any(|(column, _)| *column == at);
        if is_tick { '┬' } else { '─' }
    });
    let mut lines = marks(timeline, gutter, width);
    let mut line = Line::default();
    line.pad(gutter - 1);
    line.push(Paint::Dim, &format!("└{}", rule.collect::<String>()));
    lines.insert(0, line);
    lines.insert(1, labels(&ticks, gutter, width));
    lines.insert(2, labels(&eras, gutter, width));
    lines
}

/// Labels that begin at their ticks. One that would touch the one before is left out; the first, which
/// may be at no tick of its own, gives way to the second.
fn labels(ticks: &[(usize, &str)], gutter: usize, width: usize) -> Line {
    let mut line = Line::default();
    for (number, (column, label)) in ticks.iter().enumerate() {
        let next = ticks.get(number + 1).filter(|_| number == 0);
        let end = next.map_or(width, |(next, _)| next.saturating_sub(1).min(width));
        let is_free = number == 0 || gutter + column > line.width();
        if is_free && column + label.width() <= end {
            line.pad(gutter + column);
            line.push(Paint::Plain, label);
        }
    }
    line
}

/// A row of marks and one that says what they mean.
fn marks(timeline: &Timeline, gutter: usize, width: usize) -> Vec<Line> {
    let all: Vec<_> = timeline.marks().collect();
    if all.is_empty() {
        return Vec::new();
    }
    let mut row = Line::default();
    row.pad(gutter);
    for mark in Columns::new(timeline, width).worst(timeline) {
        match mark {
            Some(mark) => row.push(Paint::Wrong, &sign(mark).to_string()),
            None => row.push(Paint::Plain, " "),
        }
    }
    let mut legend = Line::default();
    legend.pad(gutter);
    for mark in all {
        legend.push(Paint::Wrong, &sign(mark).to_string());
        legend.push(Paint::Plain, &format!(" {}  ", mark.words()));
    }
    vec![row, legend]
}

const fn sign(mark: Mark) -> char {
    match mark {
        Mark::NoData => HOLE,
        Mark::Partly => '~',
        Mark::Blind => '?',
        Mark::Lost => '!',
        Mark::Twice => '2',
        Mark::Cut => '<',
    }
}
