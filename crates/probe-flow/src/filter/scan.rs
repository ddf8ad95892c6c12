//! From text to words and signs.

use std::ops::Range;

use super::{FilterError, ast::Comparison};

/// A word or sign of the language.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// A keyword, a name, a number, an address.
    Word(&'a str),
    /// What stands between double quotes: a name and nothing else.
    Quoted(&'a str),
    /// What stands between slashes.
    Regex(&'a str),
    /// A sign of comparison.
    Compare(Comparison),
    NotEqual,
    And,
    Or,
    Not,
    Comma,
    Open,
    Close,
    End,
}

/// A token and the bytes of the text that it is.
#[derive(Clone, Debug)]
pub(super) struct Found<'a> {
    pub(super) token: Token<'a>,
    pub(super) at: Range<usize>,
}

/// Reads a text token by token. A clone of it is a way back.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    position: usize,
}

const fn ends_word(char: char) -> bool {
    char.is_whitespace()
        || matches!(
            char,
            '(' | ')' | '!' | '=' | '<' | '>' | '&' | '|' | ',' | '"'
        )
}

impl<'a> Scanner<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, position: 0 }
    }

    pub(super) const fn text(&self) -> &'a str {
        self.text
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    /// The next token; [`Token::End`] for ever once there is none.
    pub(super) fn next(&mut self) -> Result<Found<'a>, FilterError> {
        let trimmed = self.skip_space();
        let start = self.position;
        let Some(first) = trimmed.chars().next() else {
            return Ok(self.found(start, Token::End, 0));
        };
        if let Some((sign, token)) = SIGNS.iter().find(|(sign, _)| trimmed.starts_with(sign)) {
            return Ok(self.found(start, *token, sign.len()));
        }
        match first {
            '"' | '/' => self.delimited(start, first),
            _ => {
                let len = trimmed.find(ends_word).unwrap_or(trimmed.len());
                let word = trimmed.get(..len).unwrap_or_default();
                let token = match word.to_ascii_lowercase().as_str() {
                    "and" => Token::And,
                    "or" => Token::Or,
                    "not" => Token::Not,
                    _ => Token::Word(word),
                };
                Ok(self.found(start, token, len))
            }
        }
    }

    /// What follows behind spaces and comments, which last from `#` to the end of the line.
    fn skip_space(&mut self) -> &'a str {
        let mut rest = self.rest().trim_start();
        while rest.starts_with('#') {
            rest = rest.find('\n').map_or("", |end| &rest[end..]).trim_start();
        }
        self.position = self.text.len() - rest.len();
        rest
    }

    fn found(&mut self, start: usize, token: Token<'a>, len: usize) -> Found<'a> {
        self.position = start + len;
        Found {
            token,
            at: start..self.position,
        }
    }

    /// `"…"`, or `/…/` in which `\/` is no end.
    fn delimited(&mut self, start: usize, delimiter: char) -> Result<Found<'a>, FilterError> {
        let body = self.text.get(start + 1..).unwrap_or_default();
        let mut is_escaped = false;
        for (len, char) in body.char_indices() {
            if char == delimiter && !is_escaped {
                let inner = body.get(..len).unwrap_or_default();
                let token = match delimiter {
                    '"' => Token::Quoted(inner),
                    _ => Token::Regex(inner),
                };
                return Ok(self.found(start, token, len + 2));
            }
            is_escaped = delimiter == '/' && char == '\\' && !is_escaped;
        }
        let message = format!("expected a second {delimiter} further on, found the end");
        Err(FilterError::new(self.text, start..self.text.len(), message))
    }
}

/// Longer ones before those that they begin with.
const SIGNS: [(&str, Token<'static>); 16] = [
    ("&&", Token::And),
    ("&", Token::And),
    ("||", Token::Or),
    ("|", Token::Or),
    ("!=", Token::NotEqual),
    ("!", Token::Not),
    ("<>", Token::NotEqual),
    ("<=", Token::Compare(Comparison::AtMost)),
    ("<", Token::Compare(Comparison::Less)),
    (">=", Token::Compare(Comparison::AtLeast)),
    (">", Token::Compare(Comparison::Greater)),
    ("==", Token::Compare(Comparison::Equal)),
    ("=", Token::Compare(Comparison::Equal)),
    (",", Token::Comma),
    ("(", Token::Open),
    (")", Token::Close),
];
