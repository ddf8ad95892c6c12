//! `probe-agent man DIR`: the manual as pages for man(1), one a command.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, CommandFactory};

use super::{Cli, print};

/// Write the manual as pages for man(1)
///
/// For example `probe-agent man /usr/local/share/man/man1`, and then `man probe-agent-flows`.
#[derive(Args, Debug)]
pub(super) struct ManArgs {
    /// Folder for the pages; made if it does not exist
    dir: PathBuf,
}

/// Writes one manual page per command.
pub(super) fn run(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let dir = args.dir.display();
    fs::create_dir_all(&args.dir).with_context(|| format!("cannot make the folder {dir}"))?;
    // Without the pages for `help`, which are clap's.
    let command = Cli::command().disable_help_subcommand(true);
    let count = 1 + command.get_subcommands().count();
    clap_mangen::generate_to(command, &args.dir)
        .with_context(|| format!("cannot write the pages into {dir}"))?;
    print(&format!("{count} pages in {dir}\n"))?;
    Ok(ExitCode::SUCCESS)
}
