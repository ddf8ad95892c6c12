//! The axes of a series over time, and where they are.

use jiff::Timestamp;
use unicode_width::UnicodeWidthStr;

use super::{
    LINE, MARGIN, Sheet, WIDTH, character, characters,
    markup::{Anchor, TEXT, px},
};
use crate::{
    completeness::Span,
    output::shortened,
    plot::{
        calendar::{Calendar, Tick, zone_name},
        chart::{Chart, Over},
        scale::{Axis, float, tick},
    },
};

/// Height of the picture between its axes.
pub(super) const HEIGHT: f64 = 320.0;
/// Characters of the name of the zone.
const MOST_ZONE: usize = 20;

/// Where the picture is, and what its pixels mean.
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) axis: Axis,
    pub(super) span: Span,
}

impl Frame {
    pub(super) const fn right() -> f64 {
        WIDTH - MARGIN
    }

    pub(super) fn bottom(&self) -> f64 {
        self.top + HEIGHT
    }

    /// Pixels of a moment.
    pub(super) fn x(&self, time: Timestamp) -> f64 {
        let all = self
            .span
            .until
            .duration_since(self.span.since)
            .as_secs_f64();
        let gone = time.duration_since(self.span.since).as_secs_f64();
        self.left + gone / all.max(1e-6) * (Self::right() - self.left)
    }

    /// Pixels of a number; below zero for what grows downwards.
    pub(super) fn y(&self, number: f64) -> f64 {
        self.top + (self.axis.top() - number) / self.axis.length() * HEIGHT
    }
}

/// Pixels for what stands left of the picture: numbers, names of marks, and the zone.
pub(super) fn gutter(chart: &Chart, over: &Over, axis: &Axis) -> f64 {
    let ticks = (0..=axis.up.max(axis.down)).map(|place| label(chart, axis, place).width());
    let marks = over.timeline.marks().map(|mark| mark.words().width());
    let zone = over.timeline.extent().map(|span| {
        let zone = zone_name(&chart.zone, span.since);
        zone.width().min(MOST_ZONE)
    });
    let widest = ticks.chain(marks).chain(zone).max().unwrap_or(0);
    float(widest) * character(TEXT) + 10.0
}

fn label(chart: &Chart, axis: &Axis, place: usize) -> String {
    let number = tick(chart.unit, axis.step * float(place));
    if place == 0 {
        number
    } else {
        number + chart.unit.symbol()
    }
}

/// The axis of numbers, whose lines go through the picture.
pub(super) fn numbers(sheet: &mut Sheet, chart: &Chart, frame: &Frame) {
    let up = (0..=frame.axis.up).map(|place| (place, 1.0));
    let down = (1..=frame.axis.down).map(|place| (place, -1.0));
    for (place, sign) in up.chain(down) {
        let y = frame.y(frame.axis.step * float(place) * sign);
        let line = format!("M{} {}H{}", px(frame.left), px(y), px(Frame::right()));
        sheet
            .markup
            .element("path", &[("class", &"grid"), ("d", &line)], "");
        let text = label(chart, &frame.axis, place);
        sheet
            .markup
            .anchored("muted", Anchor::End, frame.left - 8.0, y + 4.0, &text);
    }
}

/// The axis of time.
pub(super) fn times(sheet: &mut Sheet, chart: &Chart, frame: &Frame) {
    let width = (Frame::right() - frame.left) / character(TEXT);
    let calendar = Calendar::new(frame.span, &chart.zone, width);
    let bottom = frame.bottom();
    for tick in &calendar.ticks {
        let x = px(frame.x(tick.at));
        let line = format!("M{x} {}v5", px(bottom));
        sheet
            .markup
            .element("path", &[("class", &"axis"), ("d", &line)], "");
    }
    sheet.y += LINE;
    labels(
        sheet,
        frame,
        &calendar.ticks,
        Anchor::Middle,
        Frame::right() + MARGIN / 2.0,
    );
    sheet.y += LINE;
    labels(sheet, frame, &calendar.eras, Anchor::Start, Frame::right());
    let zone = zone_name(&chart.zone, frame.span.since);
    let most = characters(frame.left - 8.0 - MARGIN, TEXT);
    sheet.markup.anchored(
        "muted",
        Anchor::End,
        frame.left - 8.0,
        sheet.y,
        &shortened(&zone, most),
    );
}

/// Labels at their ticks. One that would touch another is left out, and the first one gives way.
fn labels(sheet: &mut Sheet, frame: &Frame, ticks: &[Tick], anchor: Anchor, end: f64) {
    let bounds = |tick: &Tick| {
        let (x, width) = (
            frame.x(tick.at),
            float(tick.label.width()) * character(TEXT),
        );
        match anchor {
            Anchor::Middle => (x - width / 2.0, x + width / 2.0),
            Anchor::Start | Anchor::End => (x, x + width),
        }
    };
    let mut free = 0.0;
    for (number, tick) in ticks.iter().enumerate() {
        let (left, right) = bounds(tick);
        let next = ticks
            .get(number + 1)
            .filter(|_| number == 0)
            .map_or(f64::MAX, |next| bounds(next).0);
        if left >= free && right <= end && right + character(TEXT) <= next {
            sheet
                .markup
                .anchored("muted", anchor, frame.x(tick.at), sheet.y, &tick.label);
            free = right + character(TEXT);
        }
    }
}
