//! What is wrong with a filter, and where.

use std::{fmt, ops::Range};

use crate::text::printable;

/// Columns of the text that are shown around the place.
const SHOWN: usize = 60;

/// A text that is no filter: what was expected, what was found, and where.
///
/// Shown as a sentence, and below it the text with the place marked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FilterError {
    message: String,
    text: String,
    /// Bytes of the text.
    at: Range<usize>,
}

impl FilterError {
    pub(super) fn new(text: &str, at: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            text: text.to_owned(),
            at,
        }
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where, in characters from 1; one past the end if something is missing there.
    pub fn column(&self) -> usize {
        1 + self.before().chars().count()
    }

    fn before(&self) -> &str {
        self.text.get(..self.at.start).unwrap_or(&self.text)
    }

    /// The part of the text around the place, and the marks below it.
    fn excerpt(&self) -> (String, String) {
        let before: Vec<char> = printable(self.before()).chars().collect();
        let marked = self.text.get(self.at.clone()).unwrap_or_default();
        let marks = marked.chars().count().clamp(1, SHOWN);
        // From here on it is shown.
        let start = (before.len() + marks)
            .saturating_sub(SHOWN)
            .min(before.len());
        let rest = printable(self.text.get(self.at.start..).unwrap_or_default());
        let shown = before[start..].iter().copied().chain(rest.chars());
        let mut line: String = shown.take(SHOWN + SHOWN / 4).collect();
        let mut indent = before.len() - start;
        if start > 0 {
            line.insert(0, '…');
            indent += 1;
        }
        (line, " ".repeat(indent) + &"^".repeat(marks))
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, marks) = self.excerpt();
        let (column, message) = (self.column(), &self.message);
        write!(f, "column {column}: {message}\n  {line}\n  {marks}")
    }
}

impl std::error::Error for FilterError {}
