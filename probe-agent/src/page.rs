//! Text for a terminal: colours, lines of a width, and nothing that a terminal would obey.

use crate::flow_format::TableStyle;

/// An ANSI colour.
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

/// Names of links and processes may hold anything, also what a terminal obeys.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { '?' } else { char })
        .collect()
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
    use super::{printable, wrap};

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a longerthanthat b", 4), ["a", "longerthanthat", "b"]);
    }

    #[test]
    fn nothing_controls_the_terminal() {
        assert_eq!(printable("v\x1b[31m\x07"), "v?[31m?");
    }
}
