//! The binary: reads the command line, and answers.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, parser::ValueSource};
use probe_query::{
    cli::Cli,
    plot,
    serve::{COMMAND, ServeCli},
};

fn main() -> ExitCode {
    let mut words: Vec<_> = std::env::args_os().collect();
    // No filter begins with the word.
    if words.get(1).is_some_and(|word| word == COMMAND) {
        words.remove(1);
        return ServeCli::parse_from(words).run();
    }
    let matches = Cli::command().get_matches_from(plot::joined(words));
    let is_since_given = matches.value_source("since") == Some(ValueSource::CommandLine);
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.run(is_since_given),
        Err(error) => error.exit(),
    }
}
