//! Foreign text in messages: nothing that a terminal would obey, and never too much of it.

/// The text with `?` in the place of control characters. Names of links and processes may hold
/// anything, also what a terminal obeys.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { '?' } else { char })
        .collect()
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
    use super::{printable, quoted};

    #[test]
    fn nothing_controls_the_terminal() {
        assert_eq!(printable("v\x1b[31m\x07"), "v?[31m?");
    }

    #[test]
    fn quoted_text_is_short_and_escaped() {
        assert_eq!(quoted("a\tb"), "`a\\tb`");
        assert_eq!(quoted(&"x".repeat(61)).chars().count(), 63);
    }
}
