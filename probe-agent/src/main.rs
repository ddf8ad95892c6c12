//! The binary: reads the command line, runs the command, and tells an error in one sentence.

use std::process::ExitCode;

use clap::Parser;
use probe_agent::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// The whole chain in one line: what was tried, on what, and why it failed. A cause that an error
/// tells itself is not told again.
fn one_line(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
