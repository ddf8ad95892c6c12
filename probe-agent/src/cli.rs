//! The command line: one file a subcommand below `cli/`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

mod check;
mod plan;
pub mod replay;
mod run;
mod selftest;
mod version;

use check::CheckArgs;
use plan::PlanArgs;
use replay::ReplayArgs;
use run::RunArgs;
use selftest::SelftestArgs;

/// Exit code when the command line or the configuration is wrong. clap uses the same for usage.
pub const EXIT_CONFIG: u8 = 2;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed while running
  2  wrong command line or configuration
  3  replay: the capture file is cut or damaged, the packets before that place were counted";

/// Flow capture for Linux: who talked to whom, how much, and in which direction.
#[derive(Debug, Parser)]
#[command(name = "probe-agent", version, after_help = EXIT_CODES)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a configuration file and tell everything that is wrong with it
    Check(CheckArgs),
    /// Tell what would be attached where, how and why; touches nothing
    Plan(PlanArgs),
    /// Show the flows of a capture file (pcap, pcapng), through the same pipeline without a kernel
    Replay(ReplayArgs),
    /// Capture until told to stop (SIGTERM, Ctrl-C)
    Run(RunArgs),
    /// Test the eBPF programs on this kernel with a built-in set of packets
    Selftest(SelftestArgs),
    /// Tell the version, the commit and the eBPF object
    Version,
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Check(args) => check::run(&args),
            Command::Plan(args) => plan::run(&args),
            Command::Replay(args) => Ok(replay::run(&args)?),
            Command::Run(args) => run::run(&args),
            Command::Selftest(args) => selftest::run(&args),
            Command::Version => version::run(),
        }
    }
}

/// Writes to standard output. A reader that has gone (`probe-agent … | head`) is no error.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn exit_codes_are_in_the_help() {
        let help = Cli::command().render_help().to_string();
        assert!(
            help.contains("2  wrong command line or configuration"),
            "{help}"
        );
    }
}
