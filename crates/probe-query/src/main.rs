//! The binary: reads the command line, and answers.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, parser::ValueSource};
use probe_query::cli::Cli;

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let is_since_given = matches.value_source("since") == Some(ValueSource::CommandLine);
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.run(is_since_given),
        Err(error) => error.exit(),
    }
}
