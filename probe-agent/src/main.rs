//! The binary: reads the command line, runs the command, and tells an error in one sentence.

use std::process::ExitCode;

use probe_agent::{cli::Cli, error_text::with_causes, term::page::tell};

fn main() -> ExitCode {
    let cli = match Cli::of_command_line() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            tell(format_args!("error: {}", with_causes(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}
