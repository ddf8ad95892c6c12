//! `probe-agent status`: how capturing goes, and what to do where it does not.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::Args;

use super::{EXIT_TROUBLE, connect::ConnectArgs, print};
use crate::term::page::TableStyle;

pub(super) mod findings;
mod stores;
pub(super) mod table;
mod text;

use findings::Finding;

/// Time between the two readings that rates are computed from.
const WINDOW: Duration = Duration::from_millis(500);

/// Show how capturing goes: hooks, rates, losses, coverage, and what to do about trouble
///
/// Totals are since capturing began; rates are those of half a second. Asking changes nothing.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit status: 0 when all is well. 4 when the agent does not answer. 5 when it \
                  answers and something is wrong, as told under `trouble`."
)]
pub(super) struct StatusArgs {
    /// Show only these interfaces
    iface: Vec<String>,
    /// The answer of the agent as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Asks the agent for its status, and shows it.
pub(super) fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let client = args.connect.client()?;
    let first = client.status(&args.iface)?;
    if args.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&first)?))?;
        return Ok(code(&findings::compare(&first, None)));
    }
    let info = client.info()?;
    thread::sleep(WINDOW);
    let now = client.status(&args.iface)?;
    let findings = findings::compare(&now, Some(&first));
    let style = TableStyle::of_terminal(io::stdout().is_terminal());
    let mut out = Vec::new();
    text::write(&mut out, style, &info, [&first, &now], &findings)?;
    print(&String::from_utf8(out)?)?;
    Ok(code(&findings))
}

fn code(findings: &[Finding]) -> ExitCode {
    if findings.iter().any(|finding| finding.is_trouble) {
        ExitCode::from(EXIT_TROUBLE)
    } else {
        ExitCode::SUCCESS
    }
}
