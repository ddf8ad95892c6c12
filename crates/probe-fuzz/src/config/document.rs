//! A configuration file from the flat list of settings that the API shows.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::{Map, Value};

/// In the place of keys, which are never shown.
const SOME_KEY: &str = "0123456789abcdef0123456789abcdef";

/// The document that says the same as these settings.
pub(super) fn from_settings(settings: &BTreeMap<String, String>) -> String {
    let mut root = Value::Object(Map::new());
    // No sink at all is no setting, and the default is one sink.
    root["writeout"] = Value::Array(Vec::new());
    for (path, text) in settings {
        let mut node = &mut root;
        for step in steps(path) {
            node = match step {
                Step::Key(key) => &mut node[key],
                Step::Item(position) => item(node, position),
            };
        }
        *node = value(path, text);
    }
    let mut document = String::new();
    write(&mut document, &root);
    document
}

enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

/// `interfaces.eth0.100.hook` has three steps: names of interfaces may hold dots.
fn steps(path: &str) -> Vec<Step<'_>> {
    let interface = path.strip_prefix("interfaces.");
    if let Some((name, key)) = interface.and_then(|rest| rest.rsplit_once('.')) {
        return vec![Step::Key("interfaces"), Step::Key(name), Step::Key(key)];
    }
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (key, position) = part.split_once('[').unwrap_or((part, ""));
        steps.push(Step::Key(key));
        let position = position.strip_suffix(']').map(str::parse);
        steps.extend(position.and_then(Result::ok).map(Step::Item));
    }
    steps
}

/// The settings are sorted as text, so that item 10 may come before item 2.
fn item(node: &mut Value, position: usize) -> &mut Value {
    if !node.is_array() {
        *node = Value::Array(Vec::new());
    }
    let items = node.as_array_mut().expect("it was made one");
    if items.len() <= position {
        items.resize(position + 1, Value::Null);
    }
    &mut items[position]
}

fn value(path: &str, text: &str) -> Value {
    let key = path.rsplit(['.', ']']).next().unwrap_or_default();
    match (key, text) {
        ("key", "(redacted)") => SOME_KEY.into(),
        ("exclude", list) => {
            let items = list.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
            let items = items.expect("a list").split(", ");
            items.filter(|it| !it.is_empty()).map(Value::from).collect()
        }
        (_, "true") => true.into(),
        (_, "false") => false.into(),
        (_, text) => match text.parse::<u64>() {
            Ok(number) => number.into(),
            Err(_) => text.into(),
        },
    }
}

/// YAML in its flow style, with all that is not plain ASCII escaped.
fn write(document: &mut String, value: &Value) {
    match value {
        Value::Object(map) => {
            document.push('{');
            for (key, value) in map {
                // Without the sign a key has 1024 characters at most, and an escape here has ten.
                document.push_str("? ");
                write_text(document, key);
                document.push_str(": ");
                write(document, value);
                document.push_str(", ");
            }
            document.push_str("}\n");
        }
        Value::Array(items) => {
            document.push('[');
            for item in items {
                write(document, item);
                document.push_str(", ");
            }
            document.push(']');
        }
        Value::String(text) => write_text(document, text),
        other => document.push_str(&other.to_string()),
    }
}

fn write_text(document: &mut String, text: &str) {
    document.push('"');
    for char in text.chars() {
        if char.is_ascii_alphanumeric() || "-_./:@^$*() ".contains(char) {
            document.push(char);
        } else {
            write!(document, "\\U{:08x}", u32::from(char)).expect("a string takes all");
        }
    }
    document.push('"');
}
