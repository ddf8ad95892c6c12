//! What the fuzz targets check: one function each, which takes any bytes and panics where something
//! is wrong.
//!
//! The functions need no fuzzer. The package `fuzz` gives them to libFuzzer (`cargo xtask fuzz`),
//! and the test `replay` of this crate runs the committed corpus and mutations of it through them
//! on stable Rust. The crate never reads the network and never touches the kernel's programs; only
//! those two callers use it.

#![deny(unsafe_code)]
#![expect(
    clippy::missing_panics_doc,
    reason = "each check panics where its text says that something must be"
)]

pub mod api_query;
pub mod capture_file;
pub mod config;
pub mod filter;
pub mod parser;

/// A target of the fuzzer.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name of its folder in `fuzz/corpus`, of its file in `fuzz/targets` and on the command line.
    pub name: &'static str,
    /// Takes an input of any length. Panics if what must hold does not.
    pub check: fn(&[u8]),
}

/// All targets, one for each kind of input that comes from outside.
pub const TARGETS: [Target; 5] = [
    Target {
        name: "api_query",
        check: api_query::check,
    },
    Target {
        name: "capture_file",
        check: capture_file::check,
    },
    Target {
        name: "config",
        check: config::check,
    },
    Target {
        name: "filter",
        check: filter::check,
    },
    Target {
        name: "parser",
        check: parser::check,
    },
];

/// Panics if a message for people would move their cursor or ring their bell.
fn assert_printable(message: &str) {
    assert!(!message.is_empty(), "an empty message");
    assert!(
        !message.contains(char::is_control),
        "a control character in {message:?}"
    );
}
