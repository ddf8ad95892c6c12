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
    config::{Config, ConfigError, ConfigText, FileProblem},
    term::page::{TableStyle, padded, tell, wrap},
};
use probe_api::{SecretError, endpoint::Endpoint, secret_mistakes};
use probe_capture::selection::is_pattern;
use probe_store::examine::examine_sink;

mod kernel_files;
mod unknown_kinds;

/// Columns of what stands before an entry.
const LABEL: usize = 11;

/// As many links are called.
const USUAL_NAMES: [&str; 12] = [
    "lo",
    "eth0",
    "eno1",
    "enp3s0",
    "wlan0",
    "wlp2s0",
    "veth1a2b3c",
    "docker0",
    "br0",
    "bond0",
    "tun0",
    "wg0",
];

/// Check a configuration file and tell everything that is wrong with it
///
/// Looks at the directories of the sinks on this host, too, and at the files of keys and certificates,
/// and makes nothing. What `run` would refuse is an error. What this user may not read or write, and what
/// may be meant otherwise than it is read, is a warning. So is what is allowed and most likely a mistake: a
/// pattern where a name is wanted (`eth*`), a kind of links that no kernel has (`kind:vteh`), exclusions
/// that leave no usual name of an interface, or a limit of flows that another one makes useless.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// Configuration file to read, in YAML
    #[arg(short, long, value_name = "FILE", default_value = CONFIG_FILE)]
    config: PathBuf,
}

/// Says in a few lines what the file asks for, or everything that is wrong with it.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let (text, config) = match read(args) {
        Ok(read) => read,
        Err(error) => {
            tell(error);
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    let unknown_kinds = unknown_kinds::told(&config);
    let excludes_all = excludes_all(&config);
    let mistakes = name_patterns(&config).into_iter().chain(unknown_kinds);
    for warning in mistakes.chain(excludes_all).chain(more_than_all(&config)) {
        let path = args.config.display();
        tell(format_args!("warning: {path}: {warning}"));
    }
    let style = TableStyle::of_terminal(io::stdout().is_terminal());
    print(&summary(&config, style))?;
    for doubt in text.doubts() {
        tell(format_args!("warning: {}", located(&doubt)));
    }
    let are_usable = are_usable(&wrong_secrets(&config));
    let are_storable = are_storable(&config);
    if !are_usable || !are_storable {
        return Ok(ExitCode::from(EXIT_CONFIG));
    }
    print(&format!("{}: good\n", args.config.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn read(args: &CheckArgs) -> Result<(ConfigText, Config), ConfigError> {
    let text = ConfigText::read_once(&args.config)?;
    let config = text.config()?;
    Ok((text, config))
}

/// Tells of files of keys. What this user may not read the agent's user may.
fn are_usable(wrong: &[SecretError]) -> bool {
    for error in wrong {
        if error.is_permission_denied() {
            tell(format_args!("warning: as this user, {error}"));
        } else {
            tell(format_args!("error: {error}"));
        }
    }
    wrong.iter().all(SecretError::is_permission_denied)
}

/// Files for which `run` refuses to start, as far as this user can tell. It reads them for a TCP address
/// only.
fn wrong_secrets(config: &Config) -> Vec<SecretError> {
    let addr = config.api.addr.as_deref();
    match addr.map(Endpoint::parse) {
        Some(Ok(Endpoint::Tcp(_))) => secret_mistakes(&config.api),
        _ => Vec::new(),
    }
}

/// Tells of every sink that could not be opened now. What this user may not do the agent's user may,
/// so that is a warning.
fn are_storable(config: &Config) -> bool {
    let mut are_storable = true;
    for sink in &config.writeout {
        let Err(error) = examine_sink(sink) else {
            if let Some(of_kernel) = kernel_files::above(&sink.path) {
                are_storable = false;
                tell(format_args!(
                    "error: the {} sink cannot store files below {}: {} is of a file system of the \
                     kernel, which keeps none; choose a directory on a disk",
                    sink.format.name(),
                    sink.path.display(),
                    of_kernel.display()
                ));
            }
            continue;
        };
        if error.is_permission_denied() {
            tell(format_args!("warning: as this user, {error}"));
        } else {
            are_storable = false;
            tell(format_args!("error: {error}"));
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

/// Exclusions that in all likelihood leave nothing to capture: usual names are excluded, and names that have
/// nothing in common with each other.
fn excludes_all(config: &Config) -> Option<String> {
    if !config.autodetection.enabled {
        return None;
    }
    let selector = config.selector().ok()?;
    let letters = ('!'..='~').filter(|letter| !"./:".contains(*letter));
    let unlike = letters.flat_map(|letter| [1, 15].map(|times| letter.to_string().repeat(times)));
    let mut names = unlike.chain(USUAL_NAMES.map(str::to_owned));
    // Of a kind that no rule names.
    let is_captured = names.any(|name| selector.explain(&name, "").config().is_some());
    let exclude = config.autodetection.exclude.join(", ");
    (!is_captured)
        .then(|| format!("autodetection.exclude: {exclude} leaves no usual name of an interface"))
}

/// A limit of one interface that the limit of all does not let it reach.
fn more_than_all(config: &Config) -> Option<String> {
    let (one, all) = (config.capture.max_flows, config.capture.max_flows_total);
    (one > all).then(|| {
        format!(
            "capture.max_flows: {one} flows of one interface are above capture.max_flows_total, {all} over \
             all, so the latter comes first: raise it, or lower capture.max_flows"
        )
    })
}

/// What the file may say, and is surely a mistake: nothing would be captured.
fn name_patterns(config: &Config) -> Vec<String> {
    let named = config.interfaces.keys().map(|name| ("interfaces", name));
    let excluded = config.autodetection.exclude.iter();
    let excluded = excluded.map(|name| ("autodetection.exclude", name));
    let patterns = named.chain(excluded).filter_map(|(section, name)| {
        let meant = meant_by(name)?;
        Some(format!(
            "{section}: `{name}` is the name of one interface, as it is; {meant}"
        ))
    });
    patterns.collect()
}

/// What a name with signs that no interface has in practice was meant to be. The kernel allows all
/// but `/`, `:` and spaces (`dev_valid_name` in net/core/dev.c).
fn meant_by(name: &str) -> Option<String> {
    if is_pattern(name) {
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
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::{excludes_all, more_than_all, name_patterns, summary, wrong_secrets};
    use crate::{config::Config, term::page::TableStyle};

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
                let told = name_patterns(&config);
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
            wrong_secrets(&config)
        };
        assert!(mode(0o600).is_empty());
        let told = mode(0o644)[0].to_string();
        assert!(told.contains("mode 644"), "{told}");
        fs::write(&file, "short").expect("written");
        assert_eq!(mode(0o600).len(), 1);
        fs::remove_file(&file).expect("removed");
        let told = wrong_secrets(&config)[0].to_string();
        assert!(told.contains("cannot read api.keys[].file"), "{told}");
        // No address that asks for a key, so no file is read.
        let text = text.replace("127.0.0.1:9479", "none");
        let config = Config::parse(&text).expect("good");
        assert!(wrong_secrets(&config).is_empty());
    }

    #[test]
    fn exclusions_that_leave_nothing_are_told() {
        for (exclude, is_told) in [
            ("\"/.*/\"", true),
            ("lo, \"/^./\"", true),
            ("\"/[a-z]/\"", false),
            ("\"/^(eth|en|wl)/\"", false),
            ("\"/^[^v]/\"", false),
            ("\"/^[^v]|^v[^e]|^ve[^t]/\"", false),
            ("", false),
        ] {
            let text = format!("autodetection: {{ enabled: true, exclude: [ {exclude} ] }}\n");
            let config = Config::parse(&text).expect("good");
            assert_eq!(excludes_all(&config).is_some(), is_told, "{exclude}");
        }
    }

    #[test]
    fn a_limit_that_is_never_reached_is_told() {
        for (limits, is_told) in [
            ("max_flows: 9, max_flows_total: 8", true),
            ("max_flows_total: 999999", true),
            ("max_flows: 8, max_flows_total: 8", false),
            ("", false),
        ] {
            let text = format!("interfaces: {{ eth0: {{}} }}\ncapture: {{ {limits} }}\n");
            let config = Config::parse(&text).expect("good");
            assert_eq!(more_than_all(&config).is_some(), is_told, "{limits}");
        }
    }

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
