//! Series over time: steps, since each number is of a part of the time. Received and sent grow from
//! zero to both sides; groups stand on each other, so that their top is the sum.

use std::fmt::Write as _;

use jiff::Timestamp;
use unicode_width::UnicodeWidthStr;

use super::{
    LINE, MARGIN, Sheet, character,
    frame::{Frame, HEIGHT, gutter, numbers, times},
    markup::{Anchor, TEXT, px},
    style::COLOURS,
};
use crate::{
    output::shortened,
    plot::{
        chart::{Chart, Kind, Over, percent},
        scale::{Axis, float},
        timeline::{Mark, Part},
    },
};

/// Ticks of the axis of numbers beside zero.
const TICKS: usize = 7;
/// Parts that tell their numbers at the pointer; more make files large, and are too narrow to point at.
const MOST_TOLD: usize = 400;
/// Characters of a name in the legend.
const NAME: usize = 40;

/// The bounds of the area of each series in each part of the time.
struct Area {
    class: String,
    bounds: Vec<(f64, f64)>,
}

pub(super) fn draw(sheet: &mut Sheet, chart: &Chart, over: &Over) {
    let Some(span) = over.timeline.extent() else {
        return;
    };
    let areas = areas(over);
    legend(sheet, chart, over, &areas);
    let known = |area: &Area| {
        let bounds = area.bounds.iter().zip(&over.timeline.parts);
        let known = bounds.filter(|(_, part)| !part.is_hole());
        known.map(|(bounds, _)| *bounds).collect::<Vec<_>>()
    };
    let all: Vec<_> = areas.iter().flat_map(known).collect();
    let up = all.iter().fold(0.0, |max: f64, (_, upper)| max.max(*upper));
    let down = all
        .iter()
        .fold(0.0, |max: f64, (lower, _)| max.max(-*lower));
    let axis = Axis::new(chart.unit, up, down, TICKS);
    sheet.y += LINE;
    let frame = Frame {
        left: MARGIN + gutter(chart, over, &axis),
        top: sheet.y,
        axis,
        span,
    };
    numbers(sheet, chart, &frame);
    holes(sheet, over, &frame);
    for area in &areas {
        let path = path(area, &over.timeline.parts, &frame);
        sheet
            .markup
            .element("path", &[("class", &area.class), ("d", &path)], "");
    }
    let zero = px(frame.y(0.0));
    sheet.markup.element(
        "path",
        &[
            ("class", &"axis"),
            (
                "d",
                &format!("M{} {zero}H{}", px(frame.left), px(Frame::right())),
            ),
        ],
        "",
    );
    if over.timeline.parts.len() <= MOST_TOLD {
        pointers(sheet, chart, over, &frame);
    }
    sheet.y = frame.bottom();
    times(sheet, chart, &frame);
    marks(sheet, over, &frame);
}

fn areas(over: &Over) -> Vec<Area> {
    let mut base = vec![0.0; over.timeline.parts.len()];
    let mut areas = Vec::new();
    for (number, series) in over.series.iter().enumerate() {
        let class = if series.is_other {
            "other".to_owned()
        } else {
            format!("s{}", number % COLOURS)
        };
        let bounds =
            series
                .values
                .iter()
                .zip(&mut base)
                .map(|(value, base)| match (over.kind, number) {
                    (Kind::Mirrored, 1) => (-*value, 0.0),
                    (Kind::Groups, _) => {
                        let lower = *base;
                        *base += value;
                        (lower, *base)
                    }
                    _ => (0.0, *value),
                });
        areas.push(Area {
            class,
            bounds: bounds.collect(),
        });
    }
    areas
}

/// Lines of swatches with names and amounts.
fn legend(sheet: &mut Sheet, chart: &Chart, over: &Over, areas: &[Area]) {
    sheet.y += LINE * 1.4;
    let mut x = MARGIN;
    for (number, (series, area)) in over.series.iter().zip(areas).enumerate() {
        let name = shortened(&series.name, NAME);
        let sign = match (over.kind, number) {
            (Kind::Mirrored, 0) => "▲ ",
            (Kind::Mirrored, _) => "▼ ",
            _ => "",
        };
        let amount = chart.unit.amount(series.amount);
        let more = if over.kind == Kind::Groups {
            percent(series.share)
        } else {
            format!("most {}", chart.unit.amount(series.max(&over.timeline)))
        };
        let kind = if chart.unit.is_rate() { "mean " } else { "" };
        let text = format!("{sign}{name}  {kind}{amount}, {more}");
        let width = 18.0 + float(text.width()) * character(TEXT);
        if x > MARGIN && x + width > Frame::right() {
            x = MARGIN;
            sheet.y += LINE;
        }
        let (left, top) = (px(x), px(sheet.y - 10.0));
        let swatch: [(&str, &dyn std::fmt::Display); 5] = [
            ("class", &area.class),
            ("x", &left),
            ("y", &top),
            ("width", &"12"),
            ("height", &"12"),
        ];
        sheet.markup.element("rect", &swatch, "");
        sheet.markup.text("text", x + 18.0, sheet.y, &text);
        x += width + 24.0;
    }
}

fn holes(sheet: &mut Sheet, over: &Over, frame: &Frame) {
    for (from, to) in runs(&over.timeline.parts, Part::is_hole) {
        strip(
            sheet,
            "hole",
            frame,
            (from, to),
            (frame.top, HEIGHT),
            Mark::NoData.words(),
        );
    }
}

/// A rectangle over parts of the time.
fn strip(
    sheet: &mut Sheet,
    class: &str,
    frame: &Frame,
    (from, to): (&Part, &Part),
    (y, height): (f64, f64),
    title: &str,
) {
    let (left, right) = (frame.x(from.since), frame.x(to.until));
    let (x, width, y, height) = (px(left), px(right - left), px(y), px(height));
    let attributes: [(&str, &dyn std::fmt::Display); 5] = [
        ("class", &class),
        ("x", &x),
        ("y", &y),
        ("width", &width),
        ("height", &height),
    ];
    sheet.markup.element("rect", &attributes, title);
}

/// Parts that follow each other and are all like that: the first and the last of each.
fn runs(parts: &[Part], is_like: impl Fn(&Part) -> bool) -> Vec<(&Part, &Part)> {
    let groups = parts.chunk_by(|left, right| is_like(left) == is_like(right));
    let groups = groups.filter(|group| group.first().is_some_and(&is_like));
    groups
        .filter_map(|group| Some((group.first()?, group.last()?)))
        .collect()
}

/// The outline of an area: along its upper bound and back along its lower one, from hole to hole.
fn path(area: &Area, parts: &[Part], frame: &Frame) -> String {
    let mut path = String::new();
    let steps: Vec<_> = area.bounds.iter().zip(parts).collect();
    for run in steps.chunk_by(|left, right| left.1.is_hole() == right.1.is_hole()) {
        let Some((_, first)) = run.first().filter(|(_, part)| !part.is_hole()) else {
            continue;
        };
        // Writing to a string cannot fail.
        let _ = write!(path, "M{}", px(frame.x(first.since)));
        for (place, ((_, upper), part)) in run.iter().enumerate() {
            let to = if place == 0 { " " } else { "V" };
            let _ = write!(
                path,
                "{to}{}H{}",
                px(frame.y(*upper)),
                px(frame.x(part.until))
            );
        }
        for ((lower, _), part) in run.iter().rev() {
            let _ = write!(path, "V{}H{}", px(frame.y(*lower)), px(frame.x(part.since)));
        }
        path.push('Z');
    }
    path
}

/// What browsers show where the pointer is.
fn pointers(sheet: &mut Sheet, chart: &Chart, over: &Over, frame: &Frame) {
    for (place, part) in over.timeline.parts.iter().enumerate() {
        let format = |time: Timestamp, format: &str| {
            time.to_zoned(chart.zone.clone())
                .strftime(format)
                .to_string()
        };
        let mut text = format!(
            "{} – {}",
            format(part.since, "%Y-%m-%d %H:%M:%S"),
            format(part.until, "%H:%M:%S"),
        );
        for mark in &part.marks {
            let _ = write!(text, "\n({})", mark.words());
        }
        let known = over.series.iter().filter(|_| !part.is_hole());
        for series in known {
            let _ = write!(
                text,
                "\n{} {}",
                series.name,
                chart.unit.amount(series.values[place])
            );
        }
        strip(
            sheet,
            "hit",
            frame,
            (part, part),
            (frame.top, HEIGHT),
            &text,
        );
    }
}

/// A line for each kind of mark, so that none needs its colour.
fn marks(sheet: &mut Sheet, over: &Over, frame: &Frame) {
    for mark in over.timeline.marks() {
        sheet.y += LINE * 0.9;
        sheet.markup.anchored(
            "muted",
            Anchor::End,
            frame.left - 8.0,
            sheet.y,
            mark.words(),
        );
        let class = if mark == Mark::NoData { "hole" } else { "mark" };
        for run in runs(&over.timeline.parts, |part| part.marks.contains(&mark)) {
            strip(sheet, class, frame, run, (sheet.y - 8.0, 8.0), mark.words());
        }
    }
}
