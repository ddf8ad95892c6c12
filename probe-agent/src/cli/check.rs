//! `probe-agent check -c FILE`: reads a configuration and looks at the directories of its sinks.
//! Touches nothing.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{CONFIG_FILE, EXIT_CONFIG, print};
use crate::config::{Config, FileProblem};
use probe_api::certain_mistakes;
use probe_store::examine::examine_sink;

/// Check a configuration file and tell everything that is wrong with it
///
/// Looks at the directories of the sinks on this host, too, and makes nothing. What this user may not
/// write, and what may be meant otherwise than it is read, is a warning. So is what is allowed and
/// surely a mistake: a pattern where a name is wanted (`eth*`), a file with a key that others can read.
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
            for warning in warnings(&config) {
                eprintln!("warning: {}: {warning}", args.config.display());
            }
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

/// What the file may say, and is surely a mistake: nothing would be captured, or `run` would refuse.
fn warnings(config: &Config) -> Vec<String> {
    let named = config.interfaces.keys().map(|name| ("interfaces", name));
    let excluded = config.autodetection.exclude.iter();
    let excluded = excluded.map(|name| ("autodetection.exclude", name));
    let names = named.chain(excluded).filter_map(|(section, name)| {
        let meant = meant_by(name)?;
        Some(format!(
            "{section}: `{name}` is the name of one interface, as it is; {meant}"
        ))
    });
    let secrets = certain_mistakes(&config.api).into_iter();
    names.chain(secrets.map(|it| it.to_string())).collect()
}

/// What a name with signs that no interface has in practice was meant to be. The kernel allows all
/// but `/`, `:` and spaces (`dev_valid_name` in net/core/dev.c).
fn meant_by(name: &str) -> Option<String> {
    if name.starts_with('/') {
        return None;
    }
    if name.contains(',') {
        return Some("give each interface a key of its own".to_owned());
    }
    let is_anchored = name.starts_with('^') || name.ends_with('$');
    let is_glob = name.contains(['*', '?', '[']);
    let is_group = name.contains(['(', '|', '\\', '+']);
    if is_anchored || is_group {
        return Some(format!("a regex stands between slashes: `/{name}/`"));
    }
    is_glob.then(|| {
        let regex = name
            .replace('.', "\\.")
            .replace('*', ".*")
            .replace('?', ".");
        let regex = format!("^{regex}$");
        let regex = regex.strip_suffix(".*$").unwrap_or(&regex);
        format!("patterns are regexes between slashes: `/{regex}/`")
    })
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
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::{summary, warnings};
    use crate::config::Config;

    #[test]
    fn names_that_are_patterns_are_told_with_the_pattern() {
        for (name, meant) in [
            ("eth*", Some("`/^eth/`")),
            ("en?s[01]", Some("`/^en.s[01]$/`")),
            ("^eth", Some("`/^eth/`")),
            ("eth0|eth1", Some("`/eth0|eth1/`")),
            ("eth0,eth1", Some("a key of its own")),
            ("eth0", None),
            ("eth0.100", None),
            ("br-lan@x_1", None),
            ("/^eth/", None),
        ] {
            let listed = format!("interfaces: {{ \"{name}\": {{}} }}\n");
            let excluded = format!("autodetection: {{ enabled: true, exclude: [ \"{name}\" ] }}\n");
            for text in [listed, excluded] {
                let config = Config::parse(&text).expect("it may be the name of an interface");
                let told = warnings(&config);
                assert_eq!(told.len(), usize::from(meant.is_some()), "{text}{told:?}");
                assert!(
                    told.iter()
                        .all(|it| it.ends_with(meant.unwrap_or_default())),
                    "{told:?}"
                );
            }
        }
    }

    #[test]
    fn key_files_that_run_refuses_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        fs::write(&file, "0123456789abcdef0123456789abcdef\n").expect("written");
        let text = format!(
            "interfaces: {{ eth0: {{}} }}\napi: {{ addr: \"127.0.0.1:9479\", keys: [ {{ file: {} }} ] }}\n",
            file.display()
        );
        let config = Config::parse(&text).expect("good");
        let mode = |mode| {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("changed");
            warnings(&config)
        };
        assert!(mode(0o600).is_empty());
        assert!(mode(0o644)[0].contains("mode 644"), "{:?}", mode(0o644));
        fs::write(&file, "short").expect("written");
        assert_eq!(mode(0o600).len(), 1);
        fs::remove_file(&file).expect("removed");
        assert!(warnings(&config)[0].contains("cannot read api.keys[].file"));
    }

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
