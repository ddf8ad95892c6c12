//! `probe-agent run -c FILE`: captures until it is told to stop.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use tokio::task::spawn_blocking;

use super::{CONFIG_FILE, EXIT_CONFIG};
use crate::{
    agent::{self, RunSummary},
    config::Config,
    error_text::with_causes,
    lifecycle::{
        instance::Instance,
        open_files,
        shutdown::{KeptBack, Request, Signals},
    },
    privileges::Privileges,
    reload::ConfigFile,
    telemetry,
    term::page::tell,
};
use probe_capture::source::SourceError;
use probe_datapath::{map_memory, source::EbpfSource};
use probe_store::SinkReport;

/// Capture until told to stop (SIGTERM, Ctrl-C)
#[derive(Args, Debug)]
pub(super) struct RunArgs {
    /// Configuration file to read, in YAML
    #[arg(short, long, value_name = "FILE", default_value = CONFIG_FILE)]
    config: PathBuf,
}

/// Runs the agent in the foreground. Its last line says how it ended.
pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let kept_back = KeptBack::new();
    let (file, config) = match ConfigFile::load(&args.config) {
        Ok(read) => read,
        Err(error) => {
            tell(error);
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    telemetry::init(&config.logging)?;
    tracing::info!(version = crate::VERSION, config = %args.config.display(), "starting");
    open_files::raise_limit();
    // First of all, and while this is the only thread: see the module.
    Privileges::compare(&config)?.drop_others(&args.config)?;
    let _log = telemetry::write_in_background();
    let instance = Instance::claim(config.api.addr.as_deref());
    let is_alone = is_alone(&instance);
    let maps = map_memory::of_embedded(config.source_options().load_options());
    let bound = agent::bind_with_file(
        config,
        Some(file),
        Box::new(move |config| Ok(Box::new(load(config, is_alone)?))),
    )?
    .with_config_path(args.config.clone())
    .with_maps_bytes(maps.ok().map(|maps| maps.bytes()));
    let reloader = bound.reloader();
    let outcome = bound.run(|| {
        // Taken over here and not when the future is first polled, which is after `/readyz`.
        let signals = Signals::new().and_then(|signals| {
            kept_back?.release()?;
            Ok(signals)
        });
        async move {
            match signals {
                Ok(mut signals) => {
                    while signals.request().await == Request::Reload {
                        let reloader = reloader.clone();
                        // Not waited for: a signal to stop must be heard meanwhile.
                        spawn_blocking(move || reloader.reload_and_log("SIGHUP"));
                    }
                    signals.exit_on_next();
                }
                Err(error) => tracing::error!(%error, "cannot listen for signals"),
            }
        }
    })?;
    Ok(report(&outcome))
}

/// Logs whether another agent is there. Without an answer one may be.
fn is_alone(instance: &std::io::Result<Instance>) -> bool {
    match instance {
        Ok(Instance::First { .. }) => true,
        Ok(Instance::Beside { other, .. }) => {
            tracing::warn!(
                "another agent captures in this network namespace already: {other}. Packets of \
                 interfaces that both capture are counted by both: stop one of them, or give them \
                 different `interfaces`"
            );
            false
        }
        Err(error) => {
            tracing::warn!(
                %error,
                "whether another agent captures here is not known, so what a dead one may have left \
                 attached stays; `probe-agent detach` removes it"
            );
            false
        }
    }
}

/// What a killed agent has left behind is removed, but nothing of one that lives.
fn load(config: &Config, is_alone: bool) -> Result<EbpfSource, SourceError> {
    let options = config.source_options();
    if is_alone {
        EbpfSource::load(options)
    } else {
        EbpfSource::with_options(options.load_options()).map_err(SourceError::unusable)
    }
}

fn report(outcome: &RunSummary) -> ExitCode {
    for sink in &outcome.sinks {
        if sink.is_complete() {
            tracing::info!("{sink}");
        } else {
            tracing::error!("{sink}");
        }
    }
    let is_complete = outcome.drain.is_clean() && outcome.sinks.iter().all(SinkReport::is_complete);
    match &outcome.failure {
        Some(error) => {
            let error = with_causes(error);
            tracing::error!(error, drain = %outcome.drain, "stopped by a failure");
        }
        None if is_complete => tracing::info!(drain = %outcome.drain, "stopped, all flows written"),
        None => tracing::error!(drain = %outcome.drain, "stopped, some flows were lost"),
    }
    if is_complete && outcome.failure.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::is_alone;

    /// Filters of an agent that lives must not be taken for those of a dead one.
    #[test]
    fn without_an_answer_another_agent_may_be_there() {
        assert!(!is_alone(&Err(io::ErrorKind::PermissionDenied.into())));
    }
}
