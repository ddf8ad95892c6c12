//! Text for a terminal: colours, lines of a width, and nothing that a terminal would obey.

use std::io::{self, IsTerminal, Write};

use unicode_width::UnicodeWidthChar;

/// Layout of a table: borders, indent, alignment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TableStyle {
    /// Columns of the terminal; `None` where there is none, so that lines are as long as they are.
    pub width: Option<usize>,
    /// Whether lines have ANSI colours.
    pub colour: bool,
}

impl TableStyle {
    /// Sentences are not torn into single words.
    const LEAST_WIDTH: usize = 20;

    /// Columns for sentences below a table: without a terminal each is one line.
    pub(crate) fn sentence_width(self) -> usize {
        self.width.unwrap_or(usize::MAX).max(Self::LEAST_WIDTH)
    }

    /// Columns for a page of labels and sentences, also without a terminal.
    pub(crate) fn page_width(self) -> usize {
        const WITHOUT_TERMINAL: usize = 80;
        let width = self.width.unwrap_or(WITHOUT_TERMINAL);
        width.max(Self::LEAST_WIDTH)
    }

    /// The style for standard output: as wide as the terminal, if it is one, and in colour unless
    /// `NO_COLOR` is set (<https://no-color.org>) or the terminal is a dumb one.
    pub fn of_terminal(is_terminal: bool) -> Self {
        if !is_terminal {
            return Self::default();
        }
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            width: columns_of_terminal(io::stdout()),
            colour: !is_set("NO_COLOR") && !is_dumb,
        }
    }
}

/// An ANSI colour of the terminal's own palette.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Colour {
    None,
    Bold,
    Red,
    Green,
    Yellow,
}

/// Colours a text, where the style has colours.
pub(crate) fn paint(style: TableStyle, colour: Colour, text: &str) -> String {
    let code = match colour {
        Colour::None => return text.to_owned(),
        Colour::Bold => 1,
        Colour::Red => 31,
        Colour::Green => 32,
        Colour::Yellow => 33,
    };
    if style.colour {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// How many columns of a terminal a text takes. Wide characters take two; combining marks and the
/// sequences that set colours take none.
pub(crate) fn width_of(text: &str) -> usize {
    let mut parts = text.split("\x1b[");
    let plain = |text: &str| text.chars().map(width_of_char).sum::<usize>();
    let first = parts.next().map_or(0, plain);
    // What ends a sequence that sets a colour, and all before it.
    let coloured = parts.map(|it| it.split_once('m').map_or(0, |(_, text)| plain(text)));
    first + coloured.sum::<usize>()
}

/// Columns that a character takes; a control is shown as `?`.
pub(crate) fn width_of_char(char: char) -> usize {
    char.width().unwrap_or(1)
}

/// The text with spaces behind it, up to so many columns.
pub(crate) fn padded(text: &str, width: usize) -> String {
    let gap = width.saturating_sub(width_of(text));
    format!("{text}{:gap$}", "")
}

/// A message as lines of a width. Lines that begin with a space stay whole: an excerpt of what is
/// wrong, and the marks below it.
pub(crate) fn fold(message: &str, width: usize) -> Vec<String> {
    let folded = message.lines().flat_map(|line| {
        if line.starts_with(' ') || width_of(line) <= width {
            vec![line.to_owned()]
        } else {
            wrap(line, width)
        }
    });
    folded.collect()
}

/// Tells the user on standard error, whose lines are those of the terminal. That nobody hears it is no
/// error.
pub fn tell(message: impl std::fmt::Display) {
    let message = message.to_string();
    let message = message.trim_end();
    let stderr = io::stderr();
    let width = stderr.is_terminal().then(|| columns_of_terminal(&stderr));
    let text = match width.flatten() {
        Some(width) => fold(message, width).join("\n"),
        None => message.to_owned(),
    };
    drop(writeln!(stderr.lock(), "{text}"));
}

fn columns_of_terminal(stream: impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream);
    let columns = size.ok().map(|size| usize::from(size.ws_col));
    columns.filter(|&columns| columns > 0)
}

/// Breaks at spaces; a word that is longer than a line stays whole.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if width_of(line) + 1 + width_of(word) <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{fold, padded, width_of, wrap};

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(width_of("網卡0"), 5);
        assert_eq!(width_of("cafe\u{301}"), 4, "a mark takes none");
        assert_eq!(width_of("a \x1b[31mred\x1b[0m text"), 10);
        assert_eq!(padded("網卡", 6), "網卡  ");
        assert_eq!(wrap("網卡 網卡 0", 9), ["網卡 網卡", "0"]);
    }

    #[test]
    fn excerpts_stay_whole_where_messages_are_folded() {
        let message = "column 6: no port\n  port htps\n       ^^^^";
        let lines = ["column 6:", "no port", "  port htps", "       ^^^^"];
        assert_eq!(fold(message, 10), lines);
        assert_eq!(fold(message, 80).join("\n"), message);
    }

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a longerthanthat b", 4), ["a", "longerthanthat", "b"]);
    }
}
