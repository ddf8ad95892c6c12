//! A line of pieces, each with its colour.

use unicode_width::UnicodeWidthStr;

use crate::output::start_of;

/// Colours by what they mean; those of the terminal's own palette, so that they are readable in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Paint {
    Plain,
    Dim,
    /// Received, or the only thing there is.
    First,
    /// What was sent, where received is beside it.
    Second,
    /// What is missing or wrong.
    Wrong,
}

impl Paint {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Dim => "\x1b[2m",
            Self::First => "\x1b[36m",
            Self::Second => "\x1b[35m",
            Self::Wrong => "\x1b[31m",
        }
    }
}

/// Pieces of text that follow each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line(Vec<(Paint, String)>);

impl Line {
    pub(super) fn of(paint: Paint, text: &str) -> Self {
        let mut line = Self::default();
        line.push(paint, text);
        line
    }

    /// Text from a store goes no other way: nothing that a terminal obeys passes.
    pub(super) fn push(&mut self, paint: Paint, text: &str) {
        let text = probe_flow::text::printable(text);
        match self.0.last_mut() {
            Some((last, piece)) if *last == paint => piece.push_str(&text),
            _ => self.0.push((paint, text)),
        }
    }

    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.width()).sum()
    }

    /// Spaces up to a column.
    pub(super) fn pad(&mut self, column: usize) {
        let gap = column.saturating_sub(self.width());
        self.push(Paint::Plain, &" ".repeat(gap));
    }

    /// As much of it as fits, with an ellipsis if that is not all.
    pub(super) fn fit(self, width: usize) -> Self {
        if self.width() <= width {
            return self;
        }
        let mut fitting = Self::default();
        let mut rest = width.saturating_sub(1);
        for (paint, text) in self.0 {
            let piece = start_of(&text, rest);
            rest -= piece.width().min(rest);
            let is_whole = piece.len() == text.len();
            fitting.push(paint, &piece);
            if !is_whole {
                break;
            }
        }
        fitting.push(Paint::Plain, "…");
        fitting
    }

    /// The text, with or without codes of colours.
    pub(crate) fn text(&self, has_colour: bool) -> String {
        let mut text = String::new();
        for (paint, piece) in &self.0 {
            let code = paint.code();
            if has_colour && !code.is_empty() && !piece.trim().is_empty() {
                text.push_str(code);
                text.push_str(piece);
                text.push_str("\x1b[0m");
            } else {
                text.push_str(piece);
            }
        }
        text.truncate(text.trim_end().len());
        text
    }
}
