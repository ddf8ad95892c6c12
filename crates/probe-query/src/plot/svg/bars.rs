//! A bar for each row of an answer.

use std::fmt::Display;

use unicode_width::UnicodeWidthStr;

use super::{
    LINE, MARGIN, Sheet, WIDTH, character, characters,
    markup::{Anchor, TEXT, px},
};
use crate::{
    output::shortened,
    plot::{
        chart::{Bar, Bars, Chart, percent, widths},
        scale::{Axis, float, tick},
    },
};

/// Distance of bars, and how thick they are.
const PITCH: f64 = 24.0;
const THICK: f64 = 15.0;
/// Ticks of the axis of numbers.
const TICKS: usize = 6;

pub(super) fn draw(sheet: &mut Sheet, chart: &Chart, bars: &Bars) {
    if bars.rows.is_empty() {
        return;
    }
    sheet.y += LINE * 1.4;
    let most = characters((WIDTH - 2.0 * MARGIN) * 0.45, TEXT);
    let widths = widths(bars, most.saturating_sub(bars.headings.len()));
    let wide: usize = widths.iter().map(|width| width + 2).sum();
    legend(sheet, bars, &widths);
    let left = MARGIN + float(wide) * character(TEXT);
    let numbers = bars.rows.iter().map(|bar| number(chart, bar).width()).max();
    let right = WIDTH - MARGIN - float(numbers.unwrap_or(0)) * character(TEXT) - 10.0;
    let longest = bars.rows.iter().map(Bar::length).fold(0.0, f64::max);
    let axis = Axis::new(chart.unit, longest, 0.0, TICKS);
    let x = |number: f64| left + number / axis.top() * (right - left);
    let top = sheet.y + LINE * 1.5;
    let bottom = top + PITCH * float(bars.rows.len());
    sheet.y += LINE;
    for place in 0..=axis.up {
        let at = axis.step * float(place);
        let line = format!("M{} {}V{}", px(x(at)), px(top), px(bottom));
        sheet
            .markup
            .element("path", &[("class", &"grid"), ("d", &line)], "");
        let symbol = if place == 0 { "" } else { chart.unit.symbol() };
        let label = tick(chart.unit, at) + symbol;
        sheet
            .markup
            .anchored("muted", Anchor::Middle, x(at), sheet.y, &label);
    }
    for (place, bar) in bars.rows.iter().enumerate() {
        let y = top + PITCH * float(place) + (PITCH - THICK) / 2.0;
        names(sheet, "text", y + THICK - 3.5, &bar.names, &widths);
        let mut begin = 0.0;
        for (number, piece) in bar.pieces.iter().enumerate() {
            let (class, at, y) = (format!("s{number}"), px(x(begin)), px(y));
            let (width, height) = (px(x(begin + piece) - x(begin)), px(THICK));
            let attributes: [(&str, &dyn Display); 5] = [
                ("class", &class),
                ("x", &at),
                ("y", &y),
                ("width", &width),
                ("height", &height),
            ];
            let word = bars.pieces.get(number).copied().unwrap_or_default();
            let title = format!(
                "{}\n{word} {}",
                bar.names.join(" "),
                chart.unit.amount(*piece)
            );
            sheet.markup.element("rect", &attributes, &title);
            begin += piece;
        }
        let end = WIDTH - MARGIN;
        sheet.markup.anchored(
            "text",
            Anchor::End,
            end,
            y + THICK - 3.5,
            &number(chart, bar),
        );
    }
    sheet.y = bottom;
}

fn number(chart: &Chart, bar: &Bar) -> String {
    format!(
        "{} {:>4}",
        chart.unit.amount(bar.length()),
        percent(bar.share)
    )
}

/// Texts in their columns.
fn names(sheet: &mut Sheet, class: &str, y: f64, names: &[String], widths: &[usize]) {
    let mut x = MARGIN;
    for (name, width) in names.iter().zip(widths) {
        let name = shortened(name, *width);
        sheet.markup.text(class, x, y, &name);
        x += float(width + 2) * character(TEXT);
    }
}

fn legend(sheet: &mut Sheet, bars: &Bars, widths: &[usize]) {
    names(sheet, "muted", sheet.y, &bars.headings, widths);
    let wide: usize = widths.iter().map(|width| width + 2).sum();
    let mut x = MARGIN + float(wide) * character(TEXT);
    for (number, piece) in bars
        .pieces
        .iter()
        .enumerate()
        .filter(|_| bars.pieces.len() > 1)
    {
        let (class, at, y) = (format!("s{number}"), px(x), px(sheet.y - 10.0));
        let attributes: [(&str, &dyn Display); 5] = [
            ("class", &class),
            ("x", &at),
            ("y", &y),
            ("width", &"12"),
            ("height", &"12"),
        ];
        sheet.markup.element("rect", &attributes, "");
        sheet.markup.text("text", x + 18.0, sheet.y, piece);
        x += 18.0 + float(piece.width() + 3) * character(TEXT);
    }
}
