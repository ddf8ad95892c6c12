//! Walking the tree: mappings with known keys, and the list of what is wrong.

use std::collections::HashSet;

use probe_flow::text::quoted;

use super::{
    problem::{Problem, Problems},
    reference,
    tree::{self, Node, Value},
    value::did_you_mean,
};

/// Problems whose place is looked up. Each costs a pass over the file.
const MAX_LOCATED: usize = 100;

/// Collects what is wrong, so that everything is told at once.
#[derive(Default)]
pub(super) struct Collector {
    found: Vec<(usize, String, String)>,
}

impl Collector {
    /// Books a problem of the node, under the name of its key.
    pub(super) fn refuse(&mut self, node: &Node, key: &str, message: impl Into<String>) {
        self.found
            .push((node.number, key.to_owned(), message.into()));
    }

    /// The value, if `outcome` has one; else books why not.
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

    /// All problems in the order of the document, each with its place.
    pub(super) fn into_problems(mut self, text: &str) -> Option<Problems> {
        if self.found.is_empty() {
            return None;
        }
        self.found.sort_by_key(|(number, ..)| *number);
        let located = self.found.into_iter().enumerate();
        let problems = located.map(|(position, (number, key, message))| Problem {
            key,
            place: (position < MAX_LOCATED)
                .then(|| tree::locate(text, number))
                .flatten(),
            message,
        });
        Some(Problems(problems.collect()))
    }
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
    let name = if !name.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.escape_debug())
    };
    if path.is_empty() {
        name
    } else {
        format!("{path}.{name}")
    }
}

/// A mapping of which all keys are known.
pub(super) struct Section<'a> {
    node: &'a Node,
    path: String,
    entries: Vec<(&'a str, &'a Node)>,
}

impl<'a> Section<'a> {
    /// Opens the mapping, and refuses every key that the reference does not list for `schema`
    /// (the path with `<name>` and `[]` for what the file may choose).
    pub(super) fn open(
        node: &'a Node,
        path: impl Into<String>,
        schema: &str,
        problems: &mut Collector,
    ) -> Self {
        let path = path.into();
        let known: Vec<_> = reference::keys_of(schema).collect();
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

    /// Reads the value of a key; `None` if the file has none, or a wrong one, which is booked.
    pub(super) fn read<T>(
        &self,
        name: &str,
        problems: &mut Collector,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.node(name)?;
        let outcome = match &node.value {
            Value::Null => Err("has no value; give one, or remove the line".to_owned()),
            value => parse(value),
        };
        problems.check(node, &self.path(name), outcome)
    }

    /// Reads the value of a key that must be there.
    pub(super) fn require<T>(
        &self,
        name: &str,
        problems: &mut Collector,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        if self.node(name).is_none() {
            problems.refuse(self.node, &self.path(name), "is missing");
        }
        self.read(name, problems, parse)
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
