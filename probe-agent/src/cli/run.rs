//! `probe-agent run -c FILE`: captures until it is told to stop.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::EXIT_CONFIG;
use crate::{
    agent::{self, Outcome},
    config::Config,
    shutdown::Signals,
    source::ebpf::EbpfSource,
    telemetry,
    writeout::SinkReport,
};

/// Arguments of `run`.
#[derive(Args, Debug)]
pub(super) struct RunArgs {
    /// Configuration file (YAML)
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

/// Runs the agent in the foreground. Its last line says how it ended.
pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    telemetry::init(&config.logging)?;
    tracing::info!(version = crate::VERSION, config = %args.config.display(), "starting");
    let bound = agent::bind(
        config,
        Box::new(|config| Ok(Box::new(EbpfSource::load(config)?))),
    )?;
    let outcome = bound.run(|| {
        // Taken over here and not when the future is first polled, which is after `/readyz`.
        let signals = Signals::new();
        async {
            match signals {
                Ok(mut signals) => {
                    signals.stop().await;
                    signals.exit_on_next();
                }
                Err(error) => tracing::error!(%error, "cannot listen for signals"),
            }
        }
    })?;
    Ok(report(&outcome))
}

fn report(outcome: &Outcome) -> ExitCode {
    for sink in &outcome.sinks {
        if sink.is_complete() {
            tracing::info!("{sink}");
        } else {
            tracing::error!("{sink}");
        }
    }
    let is_complete = outcome.drain.is_clean() && outcome.sinks.iter().all(SinkReport::is_complete);
    match &outcome.failure {
        Some(error) => tracing::error!(%error, drain = %outcome.drain, "stopped by a failure"),
        None if is_complete => tracing::info!(drain = %outcome.drain, "stopped, all flows written"),
        None => tracing::error!(drain = %outcome.drain, "stopped, some flows were lost"),
    }
    if is_complete && outcome.failure.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
