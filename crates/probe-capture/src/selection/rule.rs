//! One rule: a name, a `/regex/` or a `kind:KIND`.

use probe_flow::{
    bounded_regex::{self, RegexBudget},
    text::quoted,
};
use regex::Regex;

use crate::interface::{LOOPBACK, PHYSICAL};

/// Longest name of a link: `IFNAMSIZ` is 16 with the final 0 (linux/if.h).
const MAX_NAME_LEN: usize = 15;

/// Longest kind: that of a module, from which the kernel loads it (`MODULE_NAME_LEN`).
const MAX_KIND_LEN: usize = 55;

/// No name of a link has a colon, so this begins none.
const KIND: &str = "kind:";

/// Kinds of links up to Linux 6.18 (`rtnl_link_ops` in drivers/net and net), and those that the agent
/// tells where the kernel tells none.
pub const KNOWN_KINDS: [&str; 54] = [
    PHYSICAL,
    LOOPBACK,
    "amt",
    "bareudp",
    "batadv",
    "bond",
    "bridge",
    "caif",
    "can",
    "dsa",
    "dummy",
    "erspan",
    "geneve",
    "gre",
    "gretap",
    "gtp",
    "hsr",
    "ifb",
    "ip6erspan",
    "ip6gre",
    "ip6gretap",
    "ip6tnl",
    "ipip",
    "ipoib",
    "ipvlan",
    "ipvtap",
    "lowpan",
    "macsec",
    "macvlan",
    "macvtap",
    "netdevsim",
    "netkit",
    "nlmon",
    "openvswitch",
    "ovpn",
    "pfcp",
    "ppp",
    "rmnet",
    "sit",
    "team",
    "tun",
    "vcan",
    "veth",
    "virt_wifi",
    "vlan",
    "vrf",
    "vsockmon",
    "vti",
    "vti6",
    "vxcan",
    "vxlan",
    "wireguard",
    "wwan",
    "xfrm",
];

/// What the regexes of a list may take.
const REGEX_BUDGET: RegexBudget = RegexBudget {
    together_bytes: 8 << 20,
    cache_bytes: 64 << 10,
};

/// Which links a rule is about.
#[derive(Clone, Debug)]
pub enum Rule {
    /// The one whose name is the text of the rule.
    Name,
    /// Those whose name the regex matches.
    Regex(Regex),
    /// Those of this kind.
    Kind(Box<str>),
}

impl Rule {
    /// Whether a pattern is about a link of this name and kind.
    pub(super) fn matches(&self, name: &str, kind: &str) -> bool {
        match self {
            Self::Name => false,
            Self::Regex(regex) => regex.is_match(name),
            Self::Kind(wanted) => **wanted == *kind,
        }
    }
}

/// How many of these rules are regexes, or meant to be.
pub fn regexes<'a>(rules: impl IntoIterator<Item = &'a str>) -> usize {
    rules
        .into_iter()
        .filter(|rule| rule.starts_with('/'))
        .count()
}

/// Whether a rule may be about any number of links: it is no name.
pub fn is_pattern(rule: &str) -> bool {
    rule.starts_with('/') || rule.starts_with(KIND)
}

/// The kind that a rule is about, if no kernel is known to have it: newer ones may.
pub fn unknown_kind(rule: &str) -> Option<&str> {
    let kind = rule.strip_prefix(KIND)?;
    (!KNOWN_KINDS.contains(&kind)).then_some(kind)
}

/// What a name with signs that no interface has in practice was meant to be, as the end of a sentence. The
/// kernel allows all but `/`, `:` and spaces (`dev_valid_name` in net/core/dev.c).
pub fn pattern_meant(name: &str) -> Option<String> {
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

/// Behind the sentence that there is no link of this name: what was meant, if it looks like a pattern. Else
/// nothing.
pub fn not_a_pattern(name: &str) -> String {
    let meant = pattern_meant(name);
    meant.map_or_else(String::new, |meant| {
        format!(" (a name is taken as it is: {meant})")
    })
}

/// The text of a rule about links of this kind.
pub fn kind_rule(kind: &str) -> String {
    format!("{KIND}{kind}")
}

/// Checks a key of `interfaces` or an entry of `autodetection.exclude`: a name that the kernel
/// would accept, a `/regex/` or a `kind:KIND`. All [`regexes`] of the list share the memory that they
/// may take. The error is the end of a sentence: "is …".
///
/// # Errors
///
/// The rule is empty, is longer than 15 bytes, has a character that the kernel refuses, lacks the
/// final `/`, is no regular expression, or is one that is too large once it is compiled. Or it
/// begins with `kind:`, and a kind does not follow.
pub fn parse_rule(rule: &str, regexes: usize) -> Result<Rule, String> {
    if rule.is_empty() {
        return Err("is empty; give an interface name, a /regex/ or kind:KIND".to_owned());
    }
    if let Some(rest) = rule.strip_prefix('/') {
        let Some(pattern) = rest.strip_suffix('/') else {
            return Err(format!(
                "{} starts like a regex; end it with `/`",
                quoted(rule)
            ));
        };
        if pattern.is_empty() {
            return Err("is an empty regex; write /.*/ for every interface".to_owned());
        }
        let compiled = bounded_regex::compile(pattern, REGEX_BUDGET, regexes);
        return compiled.map(Rule::Regex).map_err(|error| error.to_string());
    }
    if let Some(kind) = rule.strip_prefix(KIND) {
        let may_be_in_one = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if kind.is_empty() || kind.len() > MAX_KIND_LEN || !kind.chars().all(may_be_in_one) {
            return Err(format!(
                "{} names no kind of links; write one such as kind:veth",
                quoted(rule)
            ));
        }
        return Ok(Rule::Kind(kind.into()));
    }
    if rule.len() > MAX_NAME_LEN {
        return Err(format!(
            "is {} bytes long; names of interfaces have at most {MAX_NAME_LEN}",
            rule.len()
        ));
    }
    // As dev_valid_name() in net/core/dev.c.
    let refused = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if rule == "." || rule == ".." || rule.contains(refused) {
        return Err(format!(
            "{} cannot be the name of an interface; write /regex/ for a pattern",
            quoted(rule)
        ));
    }
    Ok(Rule::Name)
}

#[cfg(test)]
mod tests {
    use super::{KNOWN_KINDS, Rule, kind_rule, parse_rule, pattern_meant, unknown_kind};

    #[test]
    fn a_kind_is_a_rule_and_unknown_ones_may_be_of_later_kernels() {
        for kind in KNOWN_KINDS {
            let rule = kind_rule(kind);
            let parsed = parse_rule(&rule, 0).unwrap();
            assert!(matches!(parsed, Rule::Kind(read) if *read == *kind));
            assert_eq!(unknown_kind(&rule), None);
        }
        assert!(KNOWN_KINDS[2..].is_sorted());
        assert!(parse_rule("kind:of-later", 0).is_ok());
        assert_eq!(unknown_kind("kind:vteh"), Some("vteh"));
        assert_eq!(unknown_kind("vteh"), None);
        for wrong in ["kind:", "kind: veth", "kind:/veth/", "kind:a,b"] {
            let error = parse_rule(wrong, 0).unwrap_err();
            assert!(error.contains("names no kind of links"), "{error}");
        }
    }

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
            ("kind:veth", None),
        ] {
            let told = pattern_meant(name);
            assert_eq!(told.is_some(), meant.is_some(), "{name}: {told:?}");
            let told = told.unwrap_or_default();
            assert!(told.ends_with(meant.unwrap_or_default()), "{name}: {told}");
        }
    }
}
