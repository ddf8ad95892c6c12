//! Regexes from outside, which may take only so much memory.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// What one compiled regex may take: a few characters could ask for gigabytes.
const REGEX_BYTES: usize = 1 << 20;

/// What the regexes of a list may take, besides a bound of 1 MiB for each.
#[derive(Clone, Copy, Debug)]
pub struct RegexBudget {
    /// All compiled regexes of the list together, in bytes. Each has its part.
    pub together_bytes: usize,
    /// Each of them while it runs, in bytes.
    pub cache_bytes: usize,
}

/// Why a text is no regex of a list. Each message follows on the text, without a name for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RegexError {
    /// It is no regex: what is wrong with it, in one line.
    Syntax(String),
    /// It is one that is too large once it is compiled.
    TooLarge {
        /// What it may take, in bytes.
        limit_bytes: usize,
        /// How many regexes share the budget.
        of: usize,
    },
}

impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(reason) => write!(f, "is not a regex: {reason}"),
            Self::TooLarge {
                limit_bytes,
                of: 0 | 1,
            } => write!(
                f,
                "takes more than the {limit_bytes} bytes that a regex may take; make it simpler"
            ),
            Self::TooLarge { limit_bytes, of } => write!(
                f,
                "takes more than the {limit_bytes} bytes that each of {of} regexes may take; make \
                 it simpler, or write fewer of them"
            ),
        }
    }
}

impl std::error::Error for RegexError {}

/// Compiles one of so many regexes.
///
/// # Errors
///
/// [`RegexError::Syntax`]: it is no regex. [`RegexError::TooLarge`]: compiled, it takes more than its
/// part of the budget.
pub fn compile(pattern: &str, budget: RegexBudget, of: usize) -> Result<Regex, RegexError> {
    let built = RegexBuilder::new(pattern)
        .size_limit(REGEX_BYTES.min(budget.together_bytes / of.max(1)))
        .dfa_size_limit(budget.cache_bytes)
        .build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(limit_bytes) => RegexError::TooLarge { limit_bytes, of },
        error => RegexError::Syntax(last_line(&error)),
    })
}

/// The regex crate draws the place with `^` below the pattern; its last line says what is wrong.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::{RegexBudget, compile};

    #[test]
    fn what_is_no_regex_and_what_is_too_large_is_said_in_one_line() {
        let budget = RegexBudget {
            together_bytes: 2 << 20,
            cache_bytes: 64 << 10,
        };
        let refused = |pattern, of| compile(pattern, budget, of).unwrap_err().to_string();
        assert_eq!(refused("a\n(", 1), "is not a regex: unclosed group");
        assert_eq!(
            refused(r"(\w{100}){100}", 1),
            "takes more than the 1048576 bytes that a regex may take; make it simpler"
        );
        assert_eq!(
            refused(r"\w{9}", 16),
            "takes more than the 131072 bytes that each of 16 regexes may take; make it simpler, or \
             write fewer of them"
        );
        assert!(compile(r"\w{9}", budget, 1).is_ok());
    }
}
