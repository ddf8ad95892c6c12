//! The binary: reads the command line, runs the command, and tells an error in one sentence.

use std::process::ExitCode;

use clap::Parser;
use probe_agent::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            // The whole chain in one line: what was tried, on what, and why it failed.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
