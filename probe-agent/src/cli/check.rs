//! `probe-agent check -c FILE`: reads a configuration and looks at the directories of its sinks.
//! Touches nothing.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{CONFIG_FILE, EXIT_CONFIG, print};
use crate::config::{Config, FileProblem};
use probe_store::examine::examine_sink;

/// Check a configuration file and tell everything that is wrong with it
///
/// Looks at the directories of the sinks on this host, too, and makes nothing. What this user may not
/// write, and what may be meant otherwise than it is read, is a warning.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// Configuration file to read, in YAML
    #[arg(short, long, value_name = "FILE", default_value = CONFIG_FILE)]
    config: PathBuf,
}

/// Says in a few lines what the file asks for, or everything that is wrong with it.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    match Config::load(&args.config) {
        Ok(config) => {
            print(&summary(&config))?;
            let text = std::fs::read_to_string(&args.config)?;
            for doubt in Config::doubts(&text) {
                eprintln!("warning: {}", located(&doubt));
            }
            if !are_storable(&config) {
                return Ok(ExitCode::from(EXIT_CONFIG));
            }
            print(&format!("{}: good\n", args.config.display()))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("{error}");
            Ok(ExitCode::from(EXIT_CONFIG))
        }
    }
}

/// Tells of every sink that could not be opened now. What this user may not do the agent's user may,
/// so that is a warning.
fn are_storable(config: &Config) -> bool {
    let mut are_storable = true;
    for sink in &config.writeout {
        let Err(error) = examine_sink(sink) else {
            continue;
        };
        if error.is_permission_denied() {
            eprintln!("warning: as this user, {error}");
        } else {
            are_storable = false;
            eprintln!("error: {error}");
        }
    }
    are_storable
}

fn located(doubt: &FileProblem) -> String {
    let FileProblem {
        key,
        place,
        message,
    } = doubt;
    let place = place.map_or_else(String::new, |it| format!("{}:{}: ", it.line, it.column));
    format!("{place}{key}: {message}")
}

fn summary(config: &Config) -> String {
    let captured = if config.autodetection.enabled {
        let exclude = &config.autodetection.exclude;
        match exclude.as_slice() {
            [] => "every link".to_owned(),
            exclude => format!("every link but {}", exclude.join(", ")),
        }
    } else {
        let wanted = config.interfaces.iter().filter(|(_, it)| !it.disable);
        let names: Vec<_> = wanted.map(|(name, _)| name.as_str()).collect();
        names.join(", ")
    };
    let interval = humantime::format_duration(config.rotation.interval);
    let sinks = config.writeout.iter();
    let sinks = sinks.map(|sink| format!("{} in {}", sink.format.name(), sink.path.display()));
    let sinks = or_nothing(&sinks.collect::<Vec<_>>());
    let api = &config.api;
    let served = [&api.addr, &api.metrics_addr].into_iter().flatten();
    let served = or_nothing(&served.cloned().collect::<Vec<_>>());
    format!("captures   {captured}\nwrites     every {interval}: {sinks}\nserves on  {served}\n")
}

fn or_nothing(list: &[String]) -> String {
    if list.is_empty() {
        return "nothing".to_owned();
    }
    list.join(", ")
}

#[cfg(test)]
mod tests {
    use super::summary;
    use crate::config::Config;

    #[test]
    fn the_summary_says_what_is_captured_written_and_served() {
        let text = "interfaces: { eth0: {}, lo: { disable: true }, /^en/: {} }\n\
                    api: { addr: none }\n";
        let config = Config::parse(text).expect("good");
        assert_eq!(
            summary(&config),
            "captures   /^en/, eth0\n\
             writes     every 5m: parquet in /var/lib/probe/flows\n\
             serves on  127.0.0.1:9478\n"
        );
        let text = "autodetection: { enabled: true }\nwriteout: []\n";
        let config = Config::parse(text).expect("good");
        assert!(summary(&config).starts_with("captures   every link but lo, /^veth/\n"));
        assert!(summary(&config).contains("every 5m: nothing\n"));
    }
}
