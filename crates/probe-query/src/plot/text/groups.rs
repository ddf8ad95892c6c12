//! Groups over time: a strip for each, all with the same axis, so that they can be compared and told
//! apart without colours.

use unicode_width::UnicodeWidthStr;

use super::{
    line::{Line, Paint},
    time::{self, Columns, HOLE},
};
use crate::{
    output::shortened,
    plot::{
        chart::{Chart, Over, Series, percent},
        scale::{Axis, float, nearest, tick},
    },
};

/// Eighths of a row.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Rows of a strip where there is plenty of place.
const TALLEST: usize = 6;

/// The lines of the picture, in at most so many rows if there is a row for each group; and how many parts
/// of the time a column stands for.
pub(super) fn lines(chart: &Chart, over: &Over, width: usize, rows: usize) -> (Vec<Line>, usize) {
    let has_marks = over.timeline.marks().next().is_some();
    let rest = rows.saturating_sub(if has_marks { 5 } else { 3 });
    let tall = (rest / over.series.len().max(1)).clamp(1, TALLEST);
    let max = over
        .series
        .iter()
        .map(|it| it.max(&over.timeline))
        .fold(0.0, f64::max);
    let axis = Axis::new(chart.unit, max, 0.0, 5);
    let label = tick(chart.unit, axis.top());
    let names = over
        .series
        .iter()
        .map(|it| it.name.width().max(amount(chart, it).width()));
    let wide = names.max().unwrap_or(0).min(width * 3 / 10).max(5);
    let gutter = wide + 1 + label.width() + 1;
    let columns = width.saturating_sub(gutter).max(1);
    let drawn = Columns::new(&over.timeline, columns);
    let mut lines = Vec::new();
    for series in &over.series {
        let values = drawn.largest(&over.timeline, &series.values);
        for row in (1..=tall).rev() {
            let mut line = Line::default();
            if row == tall {
                line.push(Paint::Plain, &shortened(&series.name, wide));
            } else if row + 1 == tall {
                line.push(Paint::Dim, &shortened(&amount(chart, series), wide));
            }
            let (number, sign) = match row {
                row if row == tall => (&*label, "┤"),
                1 => ("0", "┤"),
                _ => ("", "│"),
            };
            line.pad(gutter.saturating_sub(1 + number.width()));
            line.push(Paint::Dim, number);
            line.push(Paint::Dim, sign);
            let paint = if series.is_other {
                Paint::Plain
            } else {
                Paint::First
            };
            for value in &values {
                match value {
                    None => line.push(Paint::Dim, &HOLE.to_string()),
                    Some(value) => {
                        line.push(paint, &block(*value, axis.top(), tall, row).to_string());
                    }
                }
            }
            lines.push(line);
        }
    }
    lines.extend(time::axis(chart, &over.timeline, gutter, columns));
    (lines, drawn.most_parts())
}

fn amount(chart: &Chart, series: &Series) -> String {
    format!(
        "{} {}",
        chart.unit.amount(series.amount),
        percent(series.share)
    )
}

/// What a row of a strip shows of a number: at least an eighth of the lowest, unless it is zero.
fn block(value: f64, top: f64, tall: usize, row: usize) -> char {
    let eighths = nearest(value / top * float(tall * 8));
    let eighths = if value > 0.0 { eighths.max(1) } else { eighths };
    BLOCKS[eighths.saturating_sub((row - 1) * 8).min(8)]
}
