//! Which links are captured, and by which rule.

mod rule;
mod stacked;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use probe_flow::text::quoted;

use self::stacked::Stack;
pub use self::{
    rule::{
        KNOWN_KINDS, Rule, is_pattern, kind_rule, not_a_pattern, parse_rule, pattern_meant,
        regexes, unknown_kind,
    },
    stacked::CountedTwice,
};
use crate::interface::{HostLink, Interface, InterfaceConfig};

/// Names that are told of those that count the packets of a link.
const NAMES_TOLD: usize = 3;

/// A `/regex/` or `kind:KIND` with the text it was written as.
#[derive(Clone, Debug)]
struct Pattern<T> {
    text: String,
    rule: Rule,
    settings: T,
}

/// Decides for every link of the host whether it is captured.
///
/// An exact name beats every pattern, which is a regex or a kind. Among patterns one with `disable:
/// true` beats the others, and otherwise the first in the order of their text counts: a regex beats
/// a kind. Regexes match anywhere in a name unless they are anchored: `/eth/` matches `veth0`.
///
/// Auto-detection leaves out links whose packets captured ones below count, too.
#[derive(Clone, Debug)]
pub struct InterfaceSelector {
    names: BTreeMap<String, InterfaceConfig>,
    patterns: Vec<Pattern<InterfaceConfig>>,
    /// Present if auto-detection is on.
    exclusions: Option<(Vec<String>, Vec<Pattern<()>>)>,
    detected: InterfaceConfig,
    detects_stacked: bool,
}

/// What the selector decided for a link, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Choice<'a> {
    /// Captured: it is configured by name.
    Named(&'a InterfaceConfig),
    /// Captured: the regex or kind matches it.
    Matched(&'a str, &'a InterfaceConfig),
    /// Captured: auto-detection takes every link that is not excluded.
    Detected(&'a InterfaceConfig),
    /// Not captured: the rule says `disable: true`.
    Disabled(&'a str),
    /// Not captured: the rule in `autodetection.exclude` matches it.
    Excluded(&'a str),
    /// Not captured: auto-detection takes these links, which count its packets.
    Stacked(Vec<&'a str>),
    /// Not captured: no rule matches it.
    Unmatched,
}

impl<'a> Choice<'a> {
    /// The settings to capture the link with, if it is captured.
    pub const fn config(&self) -> Option<&'a InterfaceConfig> {
        match self {
            Self::Named(config) | Self::Matched(_, config) | Self::Detected(config) => Some(config),
            Self::Disabled(_) | Self::Excluded(_) | Self::Stacked(_) | Self::Unmatched => None,
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
            Self::Stacked(on) => {
                let told = on.iter().take(NAMES_TOLD).copied().collect::<Vec<_>>();
                write!(f, "not captured: its packets count on {}", told.join(", "))?;
                match on.len().saturating_sub(NAMES_TOLD) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Self::Unmatched => f.write_str("not captured: no rule matches"),
        }
    }
}

impl InterfaceSelector {
    /// Compiles the rules: settings by name, `/regex/` or `kind:KIND`, and, where auto-detection is on,
    /// the rules about what it leaves out.
    ///
    /// # Errors
    ///
    /// A rule is none ([`parse_rule`]): a sentence that names it.
    pub fn new(
        interfaces: &BTreeMap<String, InterfaceConfig>,
        excluded: Option<&[String]>,
    ) -> Result<Self, String> {
        let mut names = BTreeMap::new();
        let mut patterns = Vec::new();
        let count = regexes(interfaces.keys().map(String::as_str));
        for (text, settings) in interfaces {
            match compile(text, count)? {
                Rule::Name => {
                    names.insert(text.clone(), settings.clone());
                }
                rule => patterns.push(Pattern {
                    text: text.clone(),
                    rule,
                    settings: settings.clone(),
                }),
            }
        }
        let exclusions = excluded.map(compile_exclusions).transpose()?;
        Ok(Self {
            names,
            patterns,
            exclusions,
            detected: InterfaceConfig::default(),
            detects_stacked: false,
        })
    }

    /// Whether auto-detection takes links whose packets captured ones below count, too.
    #[must_use]
    pub const fn with_stacked(mut self, detects_stacked: bool) -> Self {
        self.detects_stacked = detects_stacked;
        self
    }

    /// What is decided for each of a host's links, in their order.
    pub fn choices<'a>(&'a self, links: &'a [HostLink]) -> Vec<Choice<'a>> {
        self.choices_in(&Stack::new(links), links)
    }

    fn choices_in<'a>(&'a self, stack: &Stack<'a>, links: &'a [HostLink]) -> Vec<Choice<'a>> {
        let by_rules = links
            .iter()
            .map(|link| self.explain(&link.interface.name, &link.kind));
        let mut choices = by_rules.collect::<Vec<_>>();
        if !self.detects_stacked {
            stack.leave_out(&mut choices);
        }
        choices
    }

    /// What the rules say of a link of this name and kind, wherever it stands, and which rule.
    pub fn explain(&self, name: &str, kind: &str) -> Choice<'_> {
        if let Some((rule, config)) = self.names.get_key_value(name) {
            return if config.disable {
                Choice::Disabled(rule)
            } else {
                Choice::Named(config)
            };
        }
        let matching = || {
            let patterns = self.patterns.iter();
            patterns.filter(|it| it.rule.matches(name, kind))
        };
        if let Some(pattern) = matching().find(|pattern| pattern.settings.disable) {
            return Choice::Disabled(&pattern.text);
        }
        if let Some(pattern) = matching().next() {
            return Choice::Matched(&pattern.text, &pattern.settings);
        }
        let Some((names, patterns)) = &self.exclusions else {
            return Choice::Unmatched;
        };
        if let Some(rule) = names.iter().find(|rule| *rule == name) {
            return Choice::Excluded(rule);
        }
        match patterns.iter().find(|it| it.rule.matches(name, kind)) {
            Some(pattern) => Choice::Excluded(&pattern.text),
            None => Choice::Detected(&self.detected),
        }
    }

    /// The names that are configured to be captured, so that those without a link can be told.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let wanted = self.names.iter().filter(|(_, config)| !config.disable);
        wanted.map(|(name, _)| name.as_str())
    }
}

fn compile(rule: &str, regexes: usize) -> Result<Rule, String> {
    parse_rule(rule, regexes)
        .map_err(|message| format!("interface rule {} {message}", quoted(rule)))
}

fn compile_exclusions(rules: &[String]) -> Result<(Vec<String>, Vec<Pattern<()>>), String> {
    let mut names = Vec::new();
    let mut patterns = Vec::new();
    let count = regexes(rules.iter().map(String::as_str));
    for text in rules {
        match compile(text, count)? {
            Rule::Name => names.push(text.clone()),
            rule => patterns.push(Pattern {
                text: text.clone(),
                rule,
                settings: (),
            }),
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
    /// Links among the wanted ones whose packets others of them count, too.
    pub counted_twice: Vec<CountedTwice>,
}

/// Chooses the links to capture, and lists the configured names that no link has.
pub fn select(selector: &InterfaceSelector, links: &[HostLink]) -> Selection {
    let stack = Stack::new(links);
    let choices = selector.choices_in(&stack, links);
    let wanted = links.iter().zip(&choices).filter_map(|(link, choice)| {
        let config = choice.config()?;
        Some((link.interface.clone(), config.clone()))
    });
    let is_missing = |name: &&str| !links.iter().any(|link| *link.interface.name == **name);
    Selection {
        wanted: wanted.collect(),
        missing: selector
            .names()
            .filter(is_missing)
            .map(str::to_owned)
            .collect(),
        counted_twice: stack.counted_twice(&choices),
    }
}
