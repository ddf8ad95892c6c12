//! What a document may say, and is most likely a mistake.

use super::{Config, did_you_mean, mapping::Collector, tree::Node};
use probe_capture::selection::{KNOWN_KINDS, kind_rule, pattern_meant, unknown_kind};

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

/// What a rule about links was most likely meant to be: a pattern that is written as a name, or a kind
/// that no kernel is known to have.
pub(super) fn of_rule(rule: &str) -> Option<String> {
    if let Some(kind) = unknown_kind(rule) {
        let hint = match did_you_mean(kind, KNOWN_KINDS) {
            Some(close) => format!("did you mean `{}`?", kind_rule(close)),
            None => "`probe-agent plan` tells the kind of each link".to_owned(),
        };
        let told = format!("`{rule}`: no kernel up to Linux 6.18 has links of this kind; {hint}");
        return Some(told);
    }
    let meant = pattern_meant(rule)?;
    Some(format!(
        "`{rule}` is the name of one interface, as it is; {meant}"
    ))
}

/// Exclusions that in all likelihood leave nothing to capture: usual names are excluded, and names that have
/// nothing in common with each other.
pub(super) fn excludes_all(root: &Node, config: &Config, problems: &mut Collector) {
    if !config.autodetection.enabled {
        return;
    }
    let Ok(selector) = config.selector() else {
        return;
    };
    let letters = ('!'..='~').filter(|letter| !"./:".contains(*letter));
    let unlike = letters.flat_map(|letter| [1, 15].map(|times| letter.to_string().repeat(times)));
    let mut names = unlike.chain(USUAL_NAMES.map(str::to_owned));
    // Of a kind that no rule names.
    let is_captured = names.any(|name| selector.explain(&name, "").config().is_some());
    if !is_captured {
        let section = root.entry("autodetection");
        let at = section.and_then(|section| section.entry("exclude"));
        let exclude = config.autodetection.exclude.join(", ");
        let message = format!("{exclude} leaves no usual name of an interface");
        problems.doubt(at.unwrap_or(root), "autodetection.exclude", message);
    }
}
