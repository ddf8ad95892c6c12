//! `probe-agent plan -c FILE`: what would be attached where, how and why; touches nothing.

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use super::{CONFIG_FILE, EXIT_CONFIG, print};
use crate::{
    config::Config,
    plan::{Plan, write_text},
    term::page::{TableStyle, tell},
};
use probe_datapath::{inventory::HostInventory, map_memory, verify};

/// Tell what would be attached where, how and why; touches nothing
///
/// Checks every link of the host: which rule captures it, and which hooks would be tried in which
/// order and why. Shows which links share its packets, and which programs are attached to it now.
/// Changes nothing and needs no privileges, but sees more with those of the agent: it then asks the
/// kernel whether it takes the programs, and loads them for a moment.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit status: 0 when everything that is wanted can be attached, as far as can be \
                  known without trying. 1 when something cannot, also because this process lacks \
                  privileges. 2 when the configuration is wrong."
)]
pub(super) struct PlanArgs {
    /// Configuration file to read, in YAML
    #[arg(short, long, value_name = "FILE", default_value = CONFIG_FILE)]
    config: PathBuf,
    /// One JSON object instead of text; docs/PLAN.md describes it
    #[arg(long)]
    json: bool,
}

/// Works out the plan, and shows it.
pub(super) fn run(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let config = match Config::load_once(&args.config) {
        Ok(config) => config,
        Err(error) => {
            tell(error);
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    let selector = config.selector().map_err(anyhow::Error::msg)?;
    let mut inventory = HostInventory::take()?;
    let options = config.source_options().load_options();
    let host = &mut inventory.host;
    if host.obstacle.is_none() {
        match verify::refused_programs(options) {
            Ok(refused) => host.refused_programs = refused,
            Err(error) => host.obstacle = Some(error.to_string()),
        }
    }
    let map_memory = map_memory::of_embedded(options)?;
    let plan = Plan::from_inventory(&config, &selector, &inventory, &map_memory);
    if args.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&plan)?))?;
    } else {
        show(&plan)?;
    }
    Ok(if plan.can_attach {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show(plan: &Plan) -> io::Result<()> {
    let stdout = io::stdout();
    let style = TableStyle::of_terminal(stdout.is_terminal());
    let mut text = Vec::new();
    write_text(&mut text, style, plan)?;
    print(&String::from_utf8_lossy(&text))
}
