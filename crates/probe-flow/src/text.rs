//! Foreign text in messages: nothing that a terminal would obey, and never too much of it.

use std::fmt::Write as _;

/// A text from outside as the agent shows it everywhere: octets that are no UTF-8, and characters that a
/// terminal obeys or that turn the reading direction, are written as `\xfc`. Names of links, programs and
/// processes may hold any of them. Applied once, where the text is read.
pub fn escaped(octets: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in octets.utf8_chunks() {
        for char in chunk.valid().chars() {
            if is_obeyed(char) {
                escape(&mut shown, char.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                shown.push(char);
            }
        }
        escape(&mut shown, chunk.invalid());
    }
    shown
}

/// Controls, line and paragraph separators, and the bidirectional controls of Unicode (UAX #9,
/// section 2).
fn is_obeyed(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(shown: &mut String, octets: &[u8]) {
    for octet in octets {
        // Writing to a string cannot fail.
        let _ = write!(shown, "\\x{octet:02x}");
    }
}

/// The text with `?` in the place of each character that [`escaped`] escapes. It is as long as before,
/// so marks below it stay in their places. Names from outside were escaped where they were read: here
/// nothing is left to replace, unless that was forgotten.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|char| if is_obeyed(char) { '?' } else { char })
        .collect()
}

/// A number with what it counts: `1 packet`, `7 packets`.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", plural(number))
}

/// What a noun ends with behind this number.
pub const fn plural(number: u64) -> &'static str {
    if number == 1 { "" } else { "s" }
}

/// Text from a file as a message shows it: in backquotes, at most 60 characters, and without
/// control characters.
pub fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    let shown: String = text.chars().take(SHOWN).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("`{}{more}`", shown.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::{escaped, printable, quoted};

    #[test]
    fn texts_from_outside_are_escaped_octet_by_octet() {
        assert_eq!(escaped(b"eth0"), "eth0");
        assert_eq!(escaped("café 網".as_bytes()), "café 網");
        assert_eq!(escaped(b"v\x1b[31m\n"), r"v\x1b[31m\x0a");
        assert_eq!(escaped(b"B\xfcro\xc3"), r"B\xfcro\xc3");
        assert_eq!(
            escaped("a\u{9b}b\u{202e}c".as_bytes()),
            r"a\xc2\x9bb\xe2\x80\xaec"
        );
    }

    #[test]
    fn nothing_controls_the_terminal() {
        assert_eq!(printable("v\x1b[31m\x07"), "v?[31m?");
        assert_eq!(
            printable("a\u{202e}b\u{2028}c\u{2069}d\u{200f}é"),
            "a?b?c?d?é"
        );
    }

    #[test]
    fn quoted_text_is_short_and_escaped() {
        assert_eq!(quoted("a\tb"), "`a\\tb`");
        assert_eq!(quoted(&"x".repeat(61)).chars().count(), 63);
    }
}
