//! Walking the tree: mappings with known keys, and the list of what is wrong.

use std::collections::HashSet;

use probe_flow::text::quoted;

use super::{
    declare::Section,
    on_host::OnHost,
    problem::{FileProblem, Severity},
    reference,
    tree::{self, Node, Value},
    value::did_you_mean,
};

/// Problems of a file that get a line and column. Each costs a pass over the file.
const MAX_LOCATED: usize = 100;

/// Octets that all these passes read: large files with errors have fewer places.
const LOCATED_OCTETS: usize = 4 << 20;

/// Problems of a file that are told, besides their number: so many errors, and so many warnings.
const MAX_TOLD: usize = 1000;

/// Characters of a name that a path shows.
const NAME_SHOWN: usize = 100;

/// Collects what is wrong, so that everything is told at once.
#[derive(Clone, Debug, Default)]
pub(super) struct Collector {
    errors: Found,
    warnings: Found,
    on_host: Vec<OnHost>,
}

/// Problems of one severity: number of the node, key and message.
#[derive(Clone, Debug, Default)]
struct Found {
    told: Vec<(usize, String, String)>,
    /// How many there were after [`MAX_TOLD`].
    untold: usize,
}

impl Found {
    fn add(&mut self, number: usize, key: &str, message: String) {
        if self.told.len() < MAX_TOLD {
            self.told.push((number, key.to_owned(), message));
        } else {
            self.untold += 1;
        }
    }
}

impl Collector {
    /// Records a problem of the node, under the name of its key.
    pub(super) fn refuse(&mut self, node: &Node, key: &str, message: impl Into<String>) {
        self.errors.add(node.number, key, message.into());
    }

    /// Records what is allowed, and most likely a mistake.
    pub(super) fn doubt(&mut self, node: &Node, key: &str, message: impl Into<String>) {
        self.warnings.add(node.number, key, message.into());
    }

    /// Records a problem of what the document names on the host.
    pub(super) fn judge(&mut self, severity: Severity, named: (usize, &str), message: String) {
        let (number, key) = named;
        match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        }
        .add(number, key, message);
    }

    /// Records a file or directory that the document names, for those who may look at the host.
    pub(super) fn names(&mut self, named: OnHost) {
        self.on_host.push(named);
    }

    /// What [`Self::names`] has recorded.
    pub(super) fn named(&self) -> &[OnHost] {
        &self.on_host
    }

    /// Whether the value of a key is wrong. What holds instead says nothing about other keys then.
    pub(super) fn is_refused(&self, key: &str) -> bool {
        self.refused().any(|refused| refused == key)
    }

    /// The keys that are wrong, unknown ones among them.
    pub(super) fn refused(&self) -> impl Iterator<Item = &str> {
        self.errors.told.iter().map(|(_, key, _)| key.as_str())
    }

    /// The value, if `outcome` has one; else records why not.
    pub(super) fn check<T>(
        &mut self,
        node: &Node,
        key: &str,
        outcome: Result<T, String>,
    ) -> Option<T> {
        outcome
            .map_err(|message| self.refuse(node, key, message))
            .ok()
    }

    /// All errors in the order of the document, each with its place.
    pub(super) fn errors(&self, text: &str) -> Vec<FileProblem> {
        located(text, [(Severity::Error, &self.errors)])
    }

    /// All errors and warnings in the order of the document, each with its place.
    pub(super) fn problems(&self, text: &str) -> Vec<FileProblem> {
        let errors = (Severity::Error, &self.errors);
        located(text, [errors, (Severity::Warning, &self.warnings)])
    }
}

/// In the order of the document, the first with their places, and how many more there are.
fn located<const N: usize>(text: &str, found: [(Severity, &Found); N]) -> Vec<FileProblem> {
    let told = found.iter().flat_map(|(severity, found)| {
        let told = found.told.iter();
        told.map(|(number, key, message)| (*number, *severity, key, message))
    });
    let mut told: Vec<_> = told.collect();
    told.sort_by_key(|(number, ..)| *number);
    let with_place = (LOCATED_OCTETS / text.len().max(1)).clamp(1, MAX_LOCATED);
    let problems = told.into_iter().enumerate();
    let problems = problems.map(|(position, (number, severity, key, message))| FileProblem {
        severity,
        key: key.clone(),
        place: (position < with_place)
            .then(|| tree::locate(text, number))
            .flatten(),
        message: message.clone(),
    });
    let untold = found.iter().filter(|(_, found)| found.untold > 0);
    let untold = untold.map(|(severity, found)| FileProblem::untold(*severity, found.untold));
    problems.chain(untold).collect()
}

/// The entries of a mapping whose keys are text and occur once. Nothing (`capture:`, with all its
/// keys commented out) is an empty mapping.
pub(super) fn entries<'a>(
    node: &'a Node,
    path: &str,
    problems: &mut Collector,
) -> Vec<(&'a str, &'a Node, &'a Node)> {
    let map = match &node.value {
        Value::Map(map) => map.as_slice(),
        Value::Null => &[],
        other => {
            problems.refuse(node, path, format!("must be a mapping, found {other}"));
            &[]
        }
    };
    let mut taken = HashSet::new();
    let mut entries = Vec::with_capacity(map.len());
    for (key, value) in map {
        let Value::Text(name) = &key.value else {
            let message = format!("a key must be text, found {}; quote it", key.value);
            problems.refuse(key, path, message);
            continue;
        };
        if taken.insert(name) {
            entries.push((name.as_str(), key, value));
        } else {
            let message = "is given twice; keep one of the two";
            problems.refuse(key, &join(path, name), message);
        }
    }
    entries
}

/// `path.name`, quoted where it would be hard to read otherwise.
pub(super) fn join(path: &str, name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-@".contains(c);
    let (name, more) = match name.char_indices().nth(NAME_SHOWN) {
        Some((end, _)) => (name.get(..end).unwrap_or_default(), "…"),
        None => (name, ""),
    };
    let name = if !name.is_empty() && more.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("\"{}{more}\"", name.escape_debug())
    };
    if path.is_empty() {
        name
    } else {
        format!("{path}.{name}")
    }
}

/// The items of a list, each with its path.
pub(super) fn items<'a>(
    node: &'a Node,
    path: &str,
    problems: &mut Collector,
) -> Vec<(String, &'a Node)> {
    let Value::List(list) = &node.value else {
        problems.refuse(
            node,
            path,
            format!("must be a list, found {}; write [] for none", node.value),
        );
        return Vec::new();
    };
    let numbered = list.iter().enumerate();
    numbered
        .map(|(position, item)| (format!("{path}[{position}]"), item))
        .collect()
}

/// A mapping of which all keys are known.
pub(super) struct Mapping<'a> {
    node: &'a Node,
    path: String,
    entries: Vec<(&'a str, &'a Node)>,
}

impl<'a> Mapping<'a> {
    /// Opens the mapping, and refuses every key that the section does not declare.
    pub(super) fn open<S: Section>(
        node: &'a Node,
        path: impl Into<String>,
        problems: &mut Collector,
    ) -> Self {
        let path = path.into();
        let known: Vec<_> = S::KEYS.iter().map(|key| key.name).collect();
        let mut kept = Vec::new();
        for (name, key, value) in entries(node, &path, problems) {
            if known.contains(&name) {
                kept.push((name, value));
            } else {
                problems.refuse(key, &join(&path, name), unknown(name, &known));
            }
        }
        Self {
            node,
            path,
            entries: kept,
        }
    }

    /// The mapping itself, for problems about all of it.
    pub(super) const fn as_node(&self) -> &'a Node {
        self.node
    }

    /// The value of a key, if the file has it.
    pub(super) fn node(&self, name: &str) -> Option<&'a Node> {
        let mut entries = self.entries.iter();
        entries
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    }

    /// The path of a key.
    pub(super) fn path(&self, name: &str) -> String {
        join(&self.path, name)
    }
}

fn unknown(name: &str, known: &[&str]) -> String {
    if let Some(home) = reference::home_of(name) {
        return format!("unknown key; did you mean {home}?");
    }
    match did_you_mean(name, known.iter().copied()) {
        Some(close) => format!("unknown key; did you mean {}?", quoted(close)),
        None => format!("unknown key; allowed are {}", known.join(", ")),
    }
}
