//! `probe-agent completions SHELL`: a script that completes commands and options.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, NAME, print};

/// Print a script that completes commands and options in a shell
///
/// For bash: `probe-agent completions bash > /etc/bash_completion.d/probe-agent`; for zsh a file
/// `_probe-agent` in a folder of `$fpath`; for fish
/// `~/.config/fish/completions/probe-agent.fish`.
#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// Shell to write the completions for
    shell: Shell,
}

/// Prints the completion script of a shell.
pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    print(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}
