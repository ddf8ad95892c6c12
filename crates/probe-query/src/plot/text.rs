//! Pictures as text: blocks and braille, no line longer than the terminal.

mod bars;
mod groups;
mod line;
mod mirror;
mod time;

pub(super) use line::Line;
use line::Paint;

use unicode_width::UnicodeWidthStr;

use super::{
    calendar::zone_name,
    chart::{Body, Chart, Kind},
};

/// Rows and columns of a terminal, and whether it has colours.
#[derive(Clone, Copy, Debug)]
pub struct TextSize {
    /// Characters of a line.
    pub width: usize,
    /// Lines that are seen at once.
    pub height: usize,
    /// Whether colours are wanted.
    pub has_colour: bool,
}

impl TextSize {
    /// Narrower ones are drawn as if they were this wide: there is no place for names and numbers.
    const LEAST_WIDTH: usize = 20;
    const LEAST_HEIGHT: usize = 16;

    /// How many bars have place beside all else.
    pub fn bars(self) -> usize {
        // Title, filter, headings, totals, and the prompt behind all.
        self.height
            .saturating_sub(5 + self.report_lines())
            .clamp(5, 25)
    }

    /// How many groups of a time series have place, of two rows each.
    pub fn groups(self) -> usize {
        (self.height.saturating_sub(9 + self.report_lines()) / 2)
            .saturating_sub(1)
            .clamp(2, 8)
    }

    /// Most lines of the report.
    const fn report_lines(self) -> usize {
        let most = self.height / 6;
        if most < 2 { 2 } else { most }
    }
}

/// The lines of a picture.
pub(super) fn lines(chart: &Chart, size: TextSize) -> Vec<Line> {
    let size = TextSize {
        width: size.width.max(TextSize::LEAST_WIDTH),
        height: size.height.max(TextSize::LEAST_HEIGHT),
        ..size
    };
    let mut lines = vec![Line::of(Paint::Plain, &chart.title)];
    if !chart.filter.is_empty() {
        lines.push(Line::of(Paint::Dim, &format!("only {}", chart.filter)));
    }
    let below = below(chart, size);
    // The prompt has a line, too.
    let rows = size.height.saturating_sub(lines.len() + below.len() + 1);
    let (picture, most_parts) = match &chart.body {
        Body::Bars(bars) => (bars::lines(chart, bars, size.width), 1),
        Body::Over(over) if over.timeline.parts.is_empty() => (Vec::new(), 1),
        Body::Over(over) if over.kind == Kind::Groups => {
            groups::lines(chart, over, size.width, rows)
        }
        Body::Over(over) => mirror::lines(chart, over, size.width, rows),
    };
    if most_parts > 1 {
        lines[0].push(Paint::Dim, &format!("; drawn is the most of {most_parts}"));
    }
    lines.extend(picture);
    lines.extend(below);
    lines.into_iter().map(|line| line.fit(size.width)).collect()
}

/// The totals, and as much of the report as leaves place for the picture.
fn below(chart: &Chart, size: TextSize) -> Vec<Line> {
    let most = size.report_lines();
    let mut report = chart.report.clone();
    if report.len() > most {
        let more = report.len() - (most - 1);
        report.truncate(most - 1);
        report.push(format!(
            "  … and {more} lines more: without --plot, or --format json"
        ));
    }
    let paint = if chart.is_complete {
        Paint::Dim
    } else {
        Paint::Wrong
    };
    let mut totals = Line::of(Paint::Plain, &chart.totals);
    if let Body::Over(over) = &chart.body
        && let Some(extent) = over.timeline.extent()
    {
        let zone = zone_name(&chart.zone, extent.since);
        totals.pad(size.width.saturating_sub(zone.width()));
        totals.push(Paint::Dim, &zone);
    }
    let report = report.iter().map(|line| Line::of(paint, line));
    [totals].into_iter().chain(report).collect()
}
