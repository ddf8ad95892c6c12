//! The binary: reads the command line, runs the command, and tells an error in one sentence.

use std::process::ExitCode;

use clap::Parser;
use probe_agent::{cli::Cli, error_text::with_causes};

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
