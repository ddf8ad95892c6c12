//! A bar for each row of an answer, with its names to the left and its number to the right.

use unicode_width::UnicodeWidthStr;

use super::line::{Line, Paint};
use crate::{
    output::shortened,
    plot::{
        chart::{Bar, Bars, Chart, percent, widths},
        scale::{float, nearest},
    },
};

/// Eighths of a column.
const BLOCKS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// The lines of the picture.
pub(super) fn lines(chart: &Chart, bars: &Bars, width: usize) -> Vec<Line> {
    if bars.rows.is_empty() {
        return Vec::new();
    }
    let numbers: Vec<_> = bars.rows.iter().map(|bar| number(chart, bar)).collect();
    let number_width = numbers.iter().map(|it| it.width()).max().unwrap_or(0);
    let widths = widths(bars, width / 2);
    let gutter: usize = widths.iter().map(|it| it + 1).sum();
    let room = width.saturating_sub(gutter + number_width + 1).max(1);
    let longest = bars.rows.iter().map(Bar::length).fold(0.0, f64::max);
    let mut lines = vec![heading(bars, &widths, gutter)];
    for (bar, number) in bars.rows.iter().zip(numbers) {
        let mut line = cells(bar.names.iter().map(String::as_str), &widths);
        draw(&mut line, bar, longest, room);
        line.pad(gutter + room + 1 + number_width - number.width());
        line.push(Paint::Plain, &number);
        lines.push(line);
    }
    lines
}

fn number(chart: &Chart, bar: &Bar) -> String {
    format!(
        "{} {:>4}",
        chart.unit.amount(bar.length()),
        percent(bar.share)
    )
}

/// Names of columns, and what the pieces of the bars are.
fn heading(bars: &Bars, widths: &[usize], gutter: usize) -> Line {
    let mut line = cells(bars.headings.iter().map(String::as_str), widths);
    line.pad(gutter);
    if bars.pieces.len() > 1 {
        let signs = ["█", "▒"].into_iter().zip([Paint::First, Paint::Second]);
        for (piece, (sign, paint)) in bars.pieces.iter().zip(signs) {
            line.push(paint, sign);
            line.push(Paint::Plain, &format!(" {piece}  "));
        }
    }
    line
}

fn cells<'a>(names: impl Iterator<Item = &'a str>, widths: &[usize]) -> Line {
    let mut line = Line::default();
    let mut column = 0;
    for (name, width) in names.zip(widths) {
        line.push(Paint::Plain, &shortened(name, *width));
        column += width + 1;
        line.pad(column);
    }
    line
}

/// Pieces behind each other. Ends are drawn to the eighth of a column where there is one piece, and to
/// the column where there are two; what is more than zero has a mark at least.
fn draw(line: &mut Line, bar: &Bar, longest: f64, room: usize) {
    let scale = |number: f64, per_column: usize| {
        if longest <= 0.0 {
            return 0;
        }
        let cells = nearest(number / longest * float(room * per_column));
        if number > 0.0 { cells.max(1) } else { cells }
    };
    if let [first, _] = bar.pieces[..] {
        let all = scale(bar.length(), 1);
        let first = scale(first, 1).min(all);
        line.push(Paint::First, &"█".repeat(first));
        line.push(Paint::Second, &"▒".repeat(all - first));
        return;
    }
    let eighths = scale(bar.length(), 8);
    let mut text = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        text.push(BLOCKS[eighths % 8]);
    }
    line.push(Paint::First, &text);
}
