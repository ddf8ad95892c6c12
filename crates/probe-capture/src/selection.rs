//! Which links are captured, and by which rule.

use std::{collections::BTreeMap, fmt};

use probe_flow::{
    bounded_regex::{self, RegexBudget},
    text::quoted,
};
use regex::Regex;

use crate::interface::{Interface, InterfaceConfig};

/// Longest name of a link: `IFNAMSIZ` is 16 with the final 0 (linux/if.h).
const MAX_NAME_LEN: usize = 15;

/// What the regexes of a list may take.
const REGEX_BUDGET: RegexBudget = RegexBudget {
    together_bytes: 8 << 20,
    cache_bytes: 64 << 10,
};

/// How many of these rules are regexes, or meant to be.
pub fn regexes<'a>(rules: impl IntoIterator<Item = &'a str>) -> usize {
    rules
        .into_iter()
        .filter(|rule| rule.starts_with('/'))
        .count()
}

/// Checks a key of `interfaces` or an entry of `autodetection.exclude`: a name that the kernel
/// would accept, or a `/regex/`. All [`regexes`] of the list share the memory that they may take. The
/// error is the end of a sentence: "is …".
///
/// # Errors
///
/// The rule is empty, is longer than 15 bytes, has a character that the kernel refuses, lacks the
/// final `/`, is no regular expression, or is one that is too large once it is compiled.
pub fn parse_rule(rule: &str, regexes: usize) -> Result<Option<Regex>, String> {
    if rule.is_empty() {
        return Err("is empty; give an interface name or a /regex/".to_owned());
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
        return compiled.map(Some).map_err(|error| error.to_string());
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
    Ok(None)
}

/// A `/regex/` with the text it was written as.
#[derive(Clone, Debug)]
struct Pattern<T> {
    rule: String,
    regex: Regex,
    settings: T,
}

/// Decides for every link of the host whether it is captured.
///
/// An exact name beats every regex. Among regexes one with `disable: true` beats the others, and
/// otherwise the first in the order of their text counts. Regexes match anywhere in a name unless
/// they are anchored: `/eth/` matches `veth0`.
#[derive(Clone, Debug)]
pub struct InterfaceSelector {
    names: BTreeMap<String, InterfaceConfig>,
    patterns: Vec<Pattern<InterfaceConfig>>,
    /// Present if auto-detection is on.
    exclusions: Option<(Vec<String>, Vec<Pattern<()>>)>,
    detected: InterfaceConfig,
}

/// What the selector decided for a link, and why.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Choice<'a> {
    /// Captured: it is configured by name.
    Named(&'a InterfaceConfig),
    /// Captured: the regex matches it.
    Matched(&'a str, &'a InterfaceConfig),
    /// Captured: auto-detection takes every link that is not excluded.
    Detected(&'a InterfaceConfig),
    /// Not captured: the rule says `disable: true`.
    Disabled(&'a str),
    /// Not captured: the rule in `autodetection.exclude` matches it.
    Excluded(&'a str),
    /// Not captured: no rule matches it.
    Unmatched,
}

impl<'a> Choice<'a> {
    /// The settings to capture the link with, if it is captured.
    pub const fn config(self) -> Option<&'a InterfaceConfig> {
        match self {
            Self::Named(config) | Self::Matched(_, config) | Self::Detected(config) => Some(config),
            Self::Disabled(_) | Self::Excluded(_) | Self::Unmatched => None,
        }
    }
}

impl fmt::Display for Choice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(_) => f.write_str("captured: configured by name"),
            Self::Matched(rule, _) => write!(f, "captured: matched by {rule}"),
            Self::Detected(_) => f.write_str("captured: found by auto-detection"),
            Self::Disabled(rule) => write!(f, "not captured: disabled by {rule}"),
            Self::Excluded(rule) => {
                write!(f, "not captured: excluded from auto-detection by {rule}")
            }
            Self::Unmatched => f.write_str("not captured: no rule matches"),
        }
    }
}

impl InterfaceSelector {
    /// Compiles the rules: settings by name or `/regex/`, and, where auto-detection is on, the names
    /// and `/regex/`es that it leaves out.
    ///
    /// # Errors
    ///
    /// A rule is neither a name nor a `/regex/` ([`parse_rule`]): a sentence that names the rule.
    pub fn new(
        interfaces: &BTreeMap<String, InterfaceConfig>,
        excluded: Option<&[String]>,
    ) -> Result<Self, String> {
        let mut names = BTreeMap::new();
        let mut patterns = Vec::new();
        let count = regexes(interfaces.keys().map(String::as_str));
        for (rule, settings) in interfaces {
            match compile(rule, count)? {
                Some(regex) => patterns.push(Pattern {
                    rule: rule.clone(),
                    regex,
                    settings: settings.clone(),
                }),
                None => {
                    names.insert(rule.clone(), settings.clone());
                }
            }
        }
        let exclusions = excluded.map(compile_exclusions).transpose()?;
        Ok(Self {
            names,
            patterns,
            exclusions,
            detected: InterfaceConfig::default(),
        })
    }

    /// The settings to capture a link of this name with; `None` if it is not to be captured.
    pub fn matches(&self, name: &str) -> Option<&InterfaceConfig> {
        self.explain(name).config()
    }

    /// What is decided for a link of this name, and by which rule.
    pub fn explain(&self, name: &str) -> Choice<'_> {
        if let Some((rule, config)) = self.names.get_key_value(name) {
            return if config.disable {
                Choice::Disabled(rule)
            } else {
                Choice::Named(config)
            };
        }
        let matching = || self.patterns.iter().filter(|it| it.regex.is_match(name));
        if let Some(pattern) = matching().find(|pattern| pattern.settings.disable) {
            return Choice::Disabled(&pattern.rule);
        }
        if let Some(pattern) = matching().next() {
            return Choice::Matched(&pattern.rule, &pattern.settings);
        }
        let Some((names, patterns)) = &self.exclusions else {
            return Choice::Unmatched;
        };
        if let Some(rule) = names.iter().find(|rule| *rule == name) {
            return Choice::Excluded(rule);
        }
        match patterns.iter().find(|it| it.regex.is_match(name)) {
            Some(pattern) => Choice::Excluded(&pattern.rule),
            None => Choice::Detected(&self.detected),
        }
    }

    /// The names that are configured to be captured, so that those without a link can be told.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let wanted = self.names.iter().filter(|(_, config)| !config.disable);
        wanted.map(|(name, _)| name.as_str())
    }
}

fn compile(rule: &str, regexes: usize) -> Result<Option<Regex>, String> {
    parse_rule(rule, regexes)
        .map_err(|message| format!("interface rule {} {message}", quoted(rule)))
}

fn compile_exclusions(rules: &[String]) -> Result<(Vec<String>, Vec<Pattern<()>>), String> {
    let mut names = Vec::new();
    let mut patterns = Vec::new();
    let count = regexes(rules.iter().map(String::as_str));
    for rule in rules {
        match compile(rule, count)? {
            Some(regex) => patterns.push(Pattern {
                rule: rule.clone(),
                regex,
                settings: (),
            }),
            None => names.push(rule.clone()),
        }
    }
    Ok((names, patterns))
}

/// What a selector makes of a list of links.
#[derive(Debug, Default)]
pub struct Selection {
    /// Links to capture, with their settings.
    pub wanted: Vec<(Interface, InterfaceConfig)>,
    /// Names in the configuration that no link has.
    pub missing: Vec<String>,
}

/// Chooses the links to capture, and lists the configured names that no link has.
pub fn select(selector: &InterfaceSelector, links: &[Interface]) -> Selection {
    let wanted = links.iter().filter_map(|link| {
        selector
            .matches(&link.name)
            .map(|config| (link.clone(), config.clone()))
    });
    let is_missing = |name: &&str| !links.iter().any(|link| *link.name == **name);
    Selection {
        wanted: wanted.collect(),
        missing: selector
            .names()
            .filter(is_missing)
            .map(str::to_owned)
            .collect(),
    }
}
