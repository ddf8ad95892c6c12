//! Pictures as SVG: text stays text, and colours follow the reader's light or dark scheme.

mod bars;
mod frame;
mod markup;
mod over;
mod style;

pub(super) use style::COLOURS;

use markup::{Markup, TEXT};

use super::{
    chart::{Body, Chart},
    scale::float,
};
use crate::output::shortened;

/// Width of all pictures, in pixels.
pub(super) const WIDTH: f64 = 960.0;
/// Free space at all sides.
const MARGIN: f64 = 20.0;
/// Distance of lines of text.
const LINE: f64 = 18.0;

/// A picture in the making: what is drawn, and how far down.
struct Sheet {
    markup: Markup,
    y: f64,
}

/// The whole document, as it is written.
pub(super) fn document(chart: &Chart) -> String {
    let mut sheet = Sheet {
        markup: Markup::default(),
        y: MARGIN,
    };
    sheet.y += 14.0;
    let title = shortened(
        &chart.title,
        characters(WIDTH - 2.0 * MARGIN, TEXT * 4.0 / 3.0),
    );
    sheet.markup.text("title", MARGIN, sheet.y, &title);
    if !chart.filter.is_empty() {
        sheet.line("muted", &format!("only {}", chart.filter));
    }
    match &chart.body {
        Body::Bars(bars) => bars::draw(&mut sheet, chart, bars),
        Body::Over(over) if over.timeline.parts.is_empty() => {}
        Body::Over(over) => over::draw(&mut sheet, chart, over),
    }
    sheet.y += LINE / 3.0;
    sheet.line("text", &chart.totals);
    let class = if chart.is_complete { "muted" } else { "wrong" };
    for line in &chart.report {
        sheet.line(class, line);
    }
    sheet
        .markup
        .document(&chart.title, &description(chart), WIDTH, sheet.y + MARGIN)
}

impl Sheet {
    /// A line of text below all that is there; its end gives way where it is too long.
    fn line(&mut self, class: &str, text: &str) {
        self.y += LINE;
        // Leading spaces mean that a line belongs to the one above.
        let indent = text.len() - text.trim_start().len();
        let x = MARGIN + float(indent) * character(TEXT);
        let width = characters(WIDTH - MARGIN - x, TEXT);
        let text = crate::output::cut(text.trim_start(), width);
        self.markup.text(class, x, self.y, &text);
    }
}

/// Width of a character of monospaced text, which is the same in all fonts of the style but for a
/// hundredth of its size.
const fn character(size: f64) -> f64 {
    size * 0.61
}

/// Characters that have place in so many pixels.
fn characters(pixels: f64, size: f64) -> usize {
    super::scale::nearest((pixels / character(size)).floor())
}

/// What is seen, for those who do not see it.
fn description(chart: &Chart) -> String {
    let mut lines = Vec::new();
    match &chart.body {
        Body::Bars(bars) => lines.extend(bars.rows.iter().map(|bar| {
            let amount = chart.unit.amount(bar.length());
            format!("{}: {amount}", bar.names.join(" "))
        })),
        Body::Over(over) => lines.extend(over.series.iter().map(|series| {
            let amount = chart.unit.amount(series.amount);
            let max = chart.unit.amount(series.max(&over.timeline));
            format!("{}: {amount}, most {max}", series.name)
        })),
    }
    lines.push(chart.totals.clone());
    lines.extend(chart.report.iter().cloned());
    lines.join("\n")
}
