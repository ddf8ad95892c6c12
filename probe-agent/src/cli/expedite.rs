//! `probe-agent expedite`: what an agent that is not root cannot do for itself.

use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;
use clap::Args;

use super::{CONFIG_FILE, EXIT_CONFIG, print};
use crate::{config::Config, term::page::tell};
use probe_capture::selection;
use probe_datapath::{
    expedite::{self, Expedite, MANY, Obstacle},
    links,
};
use probe_flow::text::counted;

/// Expedite grace periods of RCU around the start or the stop of a service
///
/// For service managers, as root: an agent that is root does it itself. Sets
/// /sys/kernel/rcu_expedited as capture.expedite_attach says, if 16 or more links are to be
/// captured, and leaves it so until `--end`. A value of another program is left alone.
#[derive(Args, Debug)]
pub(super) struct ExpediteArgs {
    /// Configuration file to read, in YAML
    #[arg(short, long, value_name = "FILE", default_value = CONFIG_FILE)]
    config: PathBuf,
    /// Put back what this command has set before
    #[arg(long, conflicts_with = "config")]
    end: bool,
}

/// Says in a line what was done, or why nothing.
pub(super) fn run(args: &ExpediteArgs) -> anyhow::Result<ExitCode> {
    if args.end {
        return end();
    }
    let config = match Config::load_once(&args.config) {
        Ok(config) => config,
        Err(error) => {
            tell(error);
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    let selector = config.selector().map_err(anyhow::Error::msg)?;
    let interfaces = selection::select(&selector, &links::list()?.links)
        .wanted
        .len();
    let counted = counted(interfaces as u64, "interface");
    let text = match Expedite::new(config.capture.expedite_attach).begin(interfaces) {
        Ok(true) => format!("{counted}: grace periods of RCU are expedited\n"),
        Ok(false) if interfaces < MANY => format!("{counted}: nothing to do\n"),
        Ok(false) => "nothing to do: somebody has set it, or it is not wanted\n".to_owned(),
        Err(obstacle @ Obstacle::Objection(_)) => {
            format!("not done: {obstacle} ({})\n", obstacle.remedy())
        }
        Err(obstacle) => bail!("{obstacle}: {}", obstacle.remedy()),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn end() -> anyhow::Result<ExitCode> {
    let text = if expedite::end()? {
        "grace periods of RCU are as before\n"
    } else {
        "nothing to put back\n"
    };
    print(text)?;
    Ok(ExitCode::SUCCESS)
}
