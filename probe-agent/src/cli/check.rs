//! `probe-agent check -c FILE`: reads a configuration and looks at the directories of its sinks, and
//! at the files of its keys. Touches nothing.

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use super::{CONFIG_FILE, EXIT_CONFIG, print};
use crate::{
    config::{Config, ConfigError, ConfigText, FileProblem, Severity},
    term::page::{TableStyle, padded, tell, wrap},
};
use probe_flow::text::counted;

mod host;
mod kernel_files;

/// Columns of what stands before an entry.
const LABEL: usize = 11;

/// Check a configuration file and tell everything that is wrong with it
///
/// Each has a line: `FILE:LINE:COLUMN: KEY: what is wrong`. Looks at the directories of the sinks on this
/// host, too, and at the files of keys and certificates, whatever else is wrong, and makes nothing. What
/// `run` would refuse is an error, and the exit code is 2. What this user may not read or write, and what
/// may be meant otherwise than it is read, is a warning (`FILE:LINE:COLUMN: warning: …`), and the exit code
/// is 0. So is what is allowed and most likely a mistake: a pattern where a name is wanted (`eth*`), a kind
/// of links that no kernel has (`kind:vteh`), exclusions that leave no usual name of an interface, a limit
/// of flows that another one makes useless, or a `max_size` above the size of the whole file system.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// Configuration file to read, in YAML
    #[arg(short, long, value_name = "FILE", default_value = CONFIG_FILE)]
    config: PathBuf,
}

/// Says in a few lines what the file asks for, and everything that is wrong with it.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let (problems, config) = match judged(args) {
        Ok(judged) => judged,
        Err(error) => {
            tell(error);
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    for problem in &problems {
        tell(problem.in_file(&args.config));
    }
    let is_error = |problem: &&FileProblem| problem.severity == Severity::Error;
    let errors = problems.iter().filter(is_error).count();
    let warnings = counted((problems.len() - errors) as u64, "warning");
    let Some(config) = config.filter(|_| errors == 0) else {
        let errors = counted(errors as u64, "problem");
        let more = if problems.iter().all(|problem| is_error(&problem)) {
            String::new()
        } else {
            format!(", and {warnings}")
        };
        tell(format_args!("{errors} in the configuration{more}"));
        return Ok(ExitCode::from(EXIT_CONFIG));
    };
    let style = TableStyle::of_terminal(io::stdout().is_terminal());
    print(&summary(&config, style))?;
    let verdict = if problems.is_empty() {
        "good".to_owned()
    } else {
        format!("no errors, {warnings}")
    };
    print(&format!("{}: {verdict}\n", args.config.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Everything that is wrong, and the configuration as far as it could be read.
fn judged(args: &CheckArgs) -> Result<(Vec<FileProblem>, Option<Config>), ConfigError> {
    let text = ConfigText::read_once(&args.config)?;
    let mut reading = text.reading();
    host::judge(&mut reading);
    let config = reading.config().cloned();
    Ok((reading.problems(), config))
}

/// One entry each, in as many lines as the terminal needs for it.
pub(super) fn summary(config: &Config, style: TableStyle) -> String {
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
    let width = style.sentence_width().saturating_sub(LABEL);
    let entries = [
        ("captures", captured),
        ("writes", format!("every {interval}: {sinks}")),
        ("serves on", served),
    ];
    let entry = |(label, text): (&str, String)| {
        let labels = std::iter::once(label).chain(std::iter::repeat(""));
        let lines = labels.zip(wrap(&text, width));
        let lines = lines.map(|(label, line)| padded(label, LABEL) + &line + "\n");
        lines.collect::<String>()
    };
    entries.map(entry).concat()
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
    use crate::{config::Config, term::page::TableStyle};

    #[test]
    fn the_summary_says_what_is_captured_written_and_served() {
        let text = "interfaces: { eth0: {}, lo: { disable: true }, /^en/: {} }\n\
                    api: { addr: none }\n";
        let config = Config::parse(text).expect("good");
        assert_eq!(
            summary(&config, TableStyle::default()),
            "captures   /^en/, eth0\n\
             writes     every 5m: parquet in /var/lib/probe/flows\n\
             serves on  127.0.0.1:9478\n"
        );
        let text = "autodetection: { enabled: true }\nwriteout: []\n";
        let config = Config::parse(text).expect("good");
        let captured =
            "captures   every link but kind:loopback, kind:veth, kind:netkit, kind:ifb\n";
        assert!(summary(&config, TableStyle::default()).starts_with(captured));
        assert!(summary(&config, TableStyle::default()).contains("every 5m: nothing\n"));
    }
}
