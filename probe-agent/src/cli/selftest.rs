//! `probe-agent selftest`: whether the programs do on this kernel what the parser does on the host.

use std::{
    fs,
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;

use super::{EXIT_CONFIG, print};
use crate::{
    config::Config,
    selftest::{self, Report, write_text},
    term::page::{TableStyle, tell},
};

/// Test the eBPF programs on this kernel with a built-in set of packets
///
/// Loads the eBPF programs, attaches them to nothing, and runs each on a built-in set of packets
/// with known answers (BPF_PROG_TEST_RUN). Records and counters must be those of the host's parser,
/// byte for byte. An agent that is running is not disturbed.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit status: 0 when every run agrees. 1 when one differs or the programs cannot \
                  be loaded or run. 2 when the configuration is wrong."
)]
pub(super) struct SelftestArgs {
    /// One JSON object instead of text; docs/PLAN.md describes it
    #[arg(long)]
    json: bool,
    /// Load the programs with the sizes of this configuration file too, as `run` does; by default
    /// with those of an empty file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Test this eBPF object in the place of the embedded one
    #[arg(long, value_name = "FILE")]
    object: Option<PathBuf>,
}

/// Runs the test and shows the report.
pub(super) fn run(args: &SelftestArgs) -> anyhow::Result<ExitCode> {
    let config = match &args.config {
        None => Config::default(),
        Some(path) => match Config::load_once(path) {
            Ok(config) => config,
            Err(error) => {
                tell(error);
                return Ok(ExitCode::from(EXIT_CONFIG));
            }
        },
    };
    let as_run = config.source_options().load_options();
    let report = match &args.object {
        Some(path) => {
            let shown = path.display().to_string();
            let object =
                fs::read(path).with_context(|| format!("cannot read the object {shown}"))?;
            selftest::run(Some(&object), shown, as_run)
        }
        None => selftest::run(None, "embedded".to_owned(), as_run),
    }?;
    if args.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&report)?))?;
    } else {
        show(&report)?;
    }
    Ok(if report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show(report: &Report) -> io::Result<()> {
    let stdout = io::stdout();
    let style = TableStyle::of_terminal(stdout.is_terminal());
    let mut text = Vec::new();
    write_text(&mut text, style, report)?;
    print(&String::from_utf8_lossy(&text))
}
