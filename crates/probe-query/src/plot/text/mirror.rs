//! One or two series over time: received grows upwards from zero, sent downwards. In braille, which has
//! four dots a row and two a column in both directions.

use unicode_width::UnicodeWidthStr;

use super::{
    line::{Line, Paint},
    time::{self, Columns, HOLE},
};
use crate::plot::{
    chart::{Chart, Kind, Over},
    scale::{Rows, nearest, tick},
};

/// Dots of braille in a row and in a column.
const TALL: usize = 4;
const WIDE: usize = 2;

/// The lines of the picture, in at most so many rows; and how many parts of the time a dot stands for.
pub(super) fn lines(chart: &Chart, over: &Over, width: usize, rows: usize) -> (Vec<Line>, usize) {
    let max = |place: usize| {
        over.series
            .get(place)
            .map_or(0.0, |it| it.max(&over.timeline))
    };
    let mut lines = vec![legend(chart, over)];
    let has_marks = over.timeline.marks().next().is_some();
    // Legend, axis with two rows of labels, and where there are marks, two for them.
    let rest = rows.saturating_sub(if has_marks { 6 } else { 4 });
    let is_mirrored = over.kind == Kind::Mirrored;
    let plot = Rows::new(
        chart.unit,
        max(0),
        max(1),
        rest.saturating_sub(usize::from(is_mirrored)),
    );
    let labels = |rows: usize| (1..=rows).filter(|row| row % plot.every == 0);
    let labels = labels(plot.up).chain(labels(plot.down));
    let labels = labels.map(|row| tick(chart.unit, plot.number(row)).width());
    let gutter = labels.max().unwrap_or(1).max(1) + 2;
    let columns = width.saturating_sub(gutter).max(1);
    let drawn = Columns::new(&over.timeline, columns * WIDE);
    let side = |place: usize| {
        let values = over.series.get(place).map(|it| &it.values);
        drawn.largest(&over.timeline, values.map_or(&[], |it| it))
    };
    let paints = [Paint::First, Paint::Second];
    let up = side(0);
    for row in (1..=plot.up).rev() {
        lines.push(plot_row(chart, &plot, row, gutter, &up, true, paints[0]));
    }
    if is_mirrored {
        let mut zero = Line::default();
        zero.pad(gutter - 3);
        zero.push(Paint::Plain, "0");
        zero.pad(gutter - 1);
        zero.push(Paint::Dim, &format!("┼{}", "─".repeat(columns)));
        lines.push(zero);
        let down = side(1);
        for row in 1..=plot.down {
            lines.push(plot_row(chart, &plot, row, gutter, &down, false, paints[1]));
        }
    }
    lines.extend(time::axis(chart, &over.timeline, gutter, columns));
    (lines, drawn.most_parts())
}

fn legend(chart: &Chart, over: &Over) -> Line {
    let mut line = Line::default();
    let signs = if over.kind == Kind::Mirrored {
        ["▲ ", "▼ "]
    } else {
        ["", ""]
    };
    let paints = [Paint::First, Paint::Second];
    for (series, (sign, paint)) in over.series.iter().zip(signs.iter().zip(paints)) {
        let kind = if chart.unit.is_rate() { "mean " } else { "" };
        let amount = chart.unit.short(series.amount);
        let max = chart.unit.short(series.max(&over.timeline));
        line.push(paint, &format!("{sign}{}", series.name));
        line.push(Paint::Plain, &format!(" {kind}{amount}, most {max}   "));
    }
    line
}

/// The row that is so far from zero.
fn plot_row(
    chart: &Chart,
    plot: &Rows,
    row: usize,
    gutter: usize,
    values: &[Option<f64>],
    is_up: bool,
    paint: Paint,
) -> Line {
    let mut line = Line::default();
    if row.is_multiple_of(plot.every) {
        let label = tick(chart.unit, plot.number(row));
        line.pad(gutter.saturating_sub(2 + label.width()));
        line.push(Paint::Plain, &label);
        line.pad(gutter - 1);
        line.push(Paint::Dim, "┤");
    } else {
        line.pad(gutter - 1);
        line.push(Paint::Dim, "│");
    }
    for pair in values.chunks(WIDE) {
        if pair.iter().all(Option::is_none) {
            line.push(Paint::Dim, &HOLE.to_string());
            continue;
        }
        let heights = pair
            .iter()
            .map(|value| dots(value.unwrap_or(0.0), plot.per_row));
        let heights = heights.map(|dots| dots.saturating_sub((row - 1) * TALL).min(TALL));
        line.push(paint, &braille(heights, is_up).to_string());
    }
    line
}

/// Dots that a number is high: at least one, unless it is zero.
fn dots(value: f64, per_row: f64) -> usize {
    let dots = nearest(value / per_row * 4.0);
    if value > 0.0 { dots.max(1) } else { dots }
}

/// The braille pattern of two columns that are so many dots high, from below or from above.
fn braille(heights: impl Iterator<Item = usize>, is_up: bool) -> char {
    /// Bits of the dots of each column, from above.
    const BITS: [[u32; TALL]; WIDE] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
    let mut pattern = 0;
    for (height, column) in heights.zip(BITS) {
        for (place, bit) in column.iter().enumerate() {
            let from_zero = if is_up { TALL - 1 - place } else { place };
            if from_zero < height {
                pattern |= bit;
            }
        }
    }
    if pattern == 0 {
        return ' ';
    }
    char::from_u32(0x2800 + pattern).unwrap_or(' ')
}
