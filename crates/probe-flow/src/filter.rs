//! The flow filter language: one for `flows`, `top`, `replay` and the API.
//!
//! What a user of tcpdump or goQuery types: `src net 10.0.0.0/8 and tcp port https`. Text becomes
//! an [`Expr`], which knows nothing but flows: no clock, no resolver, no privileges. The text may
//! come from anybody who may ask, so its length, its depth, and the size and number of its regexes are bounded.
//! docs/FILTER.md is the manual.

mod ast;
mod display;
mod error;
mod keyword;
mod matching;
mod parse;
mod scan;
mod value;

use std::{fmt, str::FromStr};

pub use self::{
    ast::{Comparison, Expr, IfacePattern, IpVersion, Measure, Net, Side, Test, Traffic},
    error::FilterError,
    keyword::markdown,
    parse::{MAX_DEPTH, MAX_LENGTH},
};
use crate::flow::FlowRow;

/// Which flows a reader wants. The default, like the empty text, is all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    expr: Option<Expr>,
}

impl Filter {
    /// The filter of an expression.
    pub const fn new(expr: Expr) -> Self {
        Self { expr: Some(expr) }
    }

    /// What it asks for; `None` asks for everything.
    pub const fn expr(&self) -> Option<&Expr> {
        self.expr.as_ref()
    }

    /// Whether it lets everything pass.
    pub const fn is_empty(&self) -> bool {
        self.expr.is_none()
    }

    /// The filter for the flows of one interface: what it asks of the name is decided, so that no
    /// regex is run for each flow. It is not to be shown.
    #[must_use]
    pub fn of_iface(&self, iface: &str) -> Self {
        Self {
            expr: self.expr.as_ref().map(|expr| expr.of_iface(iface)),
        }
    }

    /// Whether a flow of this interface passes.
    pub fn matches(&self, iface: &str, row: &FlowRow) -> bool {
        self.expr
            .as_ref()
            .is_none_or(|expr| expr.matches(iface, row))
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        parse::parse(text).map(|expr| Self { expr })
    }
}

impl fmt::Display for Filter {
    /// In a form that reads back as the same filter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.as_ref().map_or(Ok(()), |expr| expr.fmt(f))
    }
}

/// A word that is no network. Ends with what was expected.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected {0}")]
pub struct NetError(String);

impl FromStr for Net {
    type Err = NetError;

    /// Reads what may stand behind `net` in a filter: `192.0.2.1`, `fd00::1`, `10.0.0.0/8`, and as
    /// in tcpdump `10/8`.
    fn from_str(word: &str) -> Result<Self, NetError> {
        value::net(word).map_err(NetError)
    }
}

#[cfg(test)]
mod tests;
