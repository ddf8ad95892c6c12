//! `probe-agent status`: how capturing goes, and what to do where it does not.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::Args;

use super::{
    EXIT_TROUBLE,
    connect::ConnectArgs,
    print,
    select::{UsageError, not_captured},
};
use crate::term::page::TableStyle;
use probe_api::{
    Problem,
    client::{Client, ClientError},
};

pub(super) mod findings;
mod stores;
pub(super) mod table;
pub(super) mod text;

use findings::Finding;

/// Time between the two readings that rates are computed from, and whether losses grow.
const WINDOW: Duration = Duration::from_millis(500);

/// The status of HTTP for what is not there.
const NOT_FOUND: u16 = 404;

/// Show how capturing goes: hooks, rates, losses, coverage, and what to do about trouble
///
/// Asking changes nothing. "Every packet seen has an address" means that each is in a flow, or in one loss by
/// its name (docs/LEDGER.md).
#[derive(Args, Debug)]
#[command(
    after_help = "Columns: rcvd and sent are rates of half a second. packets are in flows, and lost are in none \
                  since the agent did not keep up, both since capturing began; packets that belong to no \
                  flow (non_ip, invalid_ip_header …) are not lost. flows are those of the running interval \
                  and the one before. coverage is the share of the link's packets that was seen of late.\n\n\
                  Exit status: 0 when all is well. 2 when an interface is not captured. 4 when the agent does not answer. 5 when it \
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
    let first = match client.status(&args.iface) {
        Err(ClientError::Problem(problem)) if problem.status == NOT_FOUND => {
            return Err(not_there(&client, &args.iface, problem)?);
        }
        first => first?,
    };
    thread::sleep(WINDOW);
    let now = client.status(&args.iface)?;
    let findings = findings::compare(&now, Some(&first));
    if args.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&now)?))?;
        return Ok(code(&findings));
    }
    let info = client.info()?;
    let style = TableStyle::of_terminal(io::stdout().is_terminal());
    let mut out = Vec::new();
    text::write(&mut out, style, &info, [&first, &now], &findings)?;
    print(&String::from_utf8(out)?)?;
    Ok(code(&findings))
}

/// Names the interfaces that there are, instead of where the API lists them.
fn not_there(
    client: &Client,
    wanted: &[String],
    problem: Problem,
) -> Result<anyhow::Error, ClientError> {
    let interfaces = client.interfaces(&[])?.interfaces;
    let captured: Vec<_> = interfaces.into_iter().map(|it| it.iface).collect();
    let unknown = wanted.iter().find(|name| !captured.contains(name));
    Ok(match unknown {
        Some(name) => UsageError(not_captured(name, &captured)).into(),
        None => ClientError::Problem(problem).into(),
    })
}

fn code(findings: &[Finding]) -> ExitCode {
    if findings.iter().any(|finding| finding.is_trouble) {
        ExitCode::from(EXIT_TROUBLE)
    } else {
        ExitCode::SUCCESS
    }
}
