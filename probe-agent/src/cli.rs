//! The command line: one file a subcommand below `cli/`.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::term::page::{TableStyle, tell};

#[cfg(test)]
mod captures;
mod check;
mod completions;
mod connect;
mod detach;
mod expedite;
mod flows;
pub mod group;
mod man;
mod plan;
mod query;
pub mod reference;
mod reload;
pub mod replay;
mod resolve;
mod retention;
mod run;
pub mod select;
mod selftest;
mod status;
mod top;
mod version;

use check::CheckArgs;
use completions::CompletionsArgs;
use expedite::ExpediteArgs;
use flows::FlowsArgs;
use man::ManArgs;
use plan::PlanArgs;
use query::QueryArgs;
use reload::ReloadArgs;
use replay::{ReplayArgs, ReplayError};
use retention::RetentionArgs;
use run::RunArgs;
use select::UsageError;
use selftest::SelftestArgs;
use status::StatusArgs;
use top::TopArgs;

/// Name of the binary.
const NAME: &str = "probe-agent";

/// Where the configuration is unless `--config` says otherwise; systemd's unit has it there.
const CONFIG_FILE: &str = "/etc/probe/probe.yaml";

/// Exit code when the command line or the configuration is wrong. clap uses the same for usage.
pub const EXIT_CONFIG: u8 = 2;

/// Exit code when the agent that is asked does not answer.
const EXIT_UNREACHABLE: u8 = 4;

/// Exit code of `status` when something is wrong with the capture, of `reload` when it went in part.
const EXIT_TROUBLE: u8 = 5;

/// Exit codes of all commands, and what they mean.
pub(crate) const EXIT_CODES: [(u8, &str); 6] = [
    (0, "done"),
    (1, "failed while running"),
    (EXIT_CONFIG, "wrong command line or configuration"),
    (
        replay::EXIT_INCOMPLETE,
        "`replay`: the capture file is cut or damaged, the packets before that place were counted",
    ),
    (
        EXIT_UNREACHABLE,
        "`status`, `flows`, `top`, `reload`, `retention`: no agent answers, or it refuses",
    ),
    (
        EXIT_TROUBLE,
        "`status`, `reload`: the agent answers, and something is wrong, as told",
    ),
];

fn exit_codes() -> String {
    let lines =
        EXIT_CODES.map(|(code, meaning)| format!("\n  {code}  {}", meaning.replace('`', "")));
    format!("Exit codes:{}", lines.concat())
}

/// Flow capture for Linux: who talked to whom, how much, and in which direction.
#[derive(Debug, Parser)]
#[command(name = NAME, version, after_help = exit_codes())]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What each does is said at its arguments.
#[derive(Debug, Subcommand)]
enum Command {
    Check(CheckArgs),
    Completions(CompletionsArgs),
    /// Undo what an agent that was killed has left: filters (kernels before 6.6), expedited RCU
    Detach,
    Expedite(ExpediteArgs),
    Flows(FlowsArgs),
    Man(ManArgs),
    Plan(PlanArgs),
    Query(QueryArgs),
    Reload(ReloadArgs),
    Replay(ReplayArgs),
    Retention(RetentionArgs),
    Run(RunArgs),
    Selftest(SelftestArgs),
    Status(StatusArgs),
    Top(TopArgs),
    /// Tell the version, the commit and the eBPF object
    Version,
}

impl Cli {
    /// What was typed. A word that is wrong is told in lines of the terminal's width, as all errors are.
    /// Asked for help or the version, it writes these, and the process ends.
    ///
    /// # Errors
    ///
    /// The exit code for a wrong command line, which has been told.
    pub fn of_command_line() -> Result<Self, ExitCode> {
        match Self::try_parse() {
            Ok(cli) => Ok(cli),
            Err(error) if error.use_stderr() && io::stderr().is_terminal() => {
                let text = error.render();
                if TableStyle::of_terminal(true).colour {
                    tell(text.ansi());
                } else {
                    tell(text);
                }
                Err(ExitCode::from(EXIT_CONFIG))
            }
            Err(error) => error.exit(),
        }
    }

    /// Runs the chosen command, and gives its exit code.
    ///
    /// # Errors
    ///
    /// A sentence for people: what kept the command from its work, and the remedy. An agent that
    /// does not answer is no error here, nor is a word of the command line that is wrong: these have
    /// exit codes of their own.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.run_command() {
            Err(error) if error.is::<UsageError>() => {
                tell(format_args!("error: {error}"));
                Ok(ExitCode::from(EXIT_CONFIG))
            }
            outcome => outcome,
        }
    }

    fn run_command(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Check(args) => check::run(&args),
            Command::Completions(args) => completions::run(&args),
            Command::Flows(args) => connect::outcome(flows::run(&args)),
            Command::Detach => detach::run(),
            Command::Expedite(args) => expedite::run(&args),
            Command::Man(args) => man::run(&args),
            Command::Plan(args) => plan::run(&args),
            Command::Query(args) => query::run(&args),
            Command::Reload(args) => connect::outcome(reload::run(&args)),
            Command::Replay(args) => replay::run(&args).map_err(|error| match error {
                ReplayError::Usage(error) => error.into(),
                error => error.into(),
            }),
            Command::Retention(args) => connect::outcome(retention::run(&args)),
            Command::Run(args) => run::run(&args),
            Command::Selftest(args) => selftest::run(&args),
            Command::Status(args) => connect::outcome(status::run(&args)),
            Command::Top(args) => connect::outcome(top::run(&args)),
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
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(io::Error::new(
            error.kind(),
            format!("cannot write to standard output: {error}"),
        )),
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
