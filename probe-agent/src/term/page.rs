//! Text for a terminal: colours, lines of a width, and nothing that a terminal would obey.

use std::io;

/// Layout of a table: borders, indent, alignment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TableStyle {
    /// Columns of the terminal; `None` where there is none, so that lines are as long as they are.
    pub width: Option<usize>,
    /// Whether lines have ANSI colours.
    pub colour: bool,
}

impl TableStyle {
    /// The style for standard output: as wide as the terminal, if it is one, and in colour unless
    /// `NO_COLOR` is set (<https://no-color.org>) or the terminal is a dumb one.
    pub fn of_terminal(is_terminal: bool) -> Self {
        if !is_terminal {
            return Self::default();
        }
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let size = rustix::termios::tcgetwinsize(io::stdout());
        Self {
            width: size
                .ok()
                .map(|size| usize::from(size.ws_col))
                .filter(|&width| width > 0),
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

/// Breaks at spaces; a word that is longer than a line stays whole.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
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
    use super::wrap;

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a longerthanthat b", 4), ["a", "longerthanthat", "b"]);
    }
}
