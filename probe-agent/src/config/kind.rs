//! What the value of a key may be.

use super::{
    declare::Section,
    mapping::{Collector, Mapping},
    reference::Row,
    settings::Settings,
    tree::{Node, Value},
};

/// What a value of type `V` may be, how it is read and how it is shown.
pub(super) trait Kind<V> {
    /// Reads the value of the key with this path. `None` if it is wrong, which is booked.
    fn read(&self, node: &Node, path: &str, problems: &mut Collector) -> Option<V>;

    /// Adds the value, or what is in it, to the settings.
    fn show(&self, value: &V, path: &str, settings: &mut Settings);

    /// Type and range, for the manual.
    fn describe(&self) -> String;

    /// The default as YAML, for the manual; empty if there is none.
    fn yaml(&self, default: &V) -> String;

    /// Adds the keys in it to the manual.
    fn refer(&self, _path: &str, _rows: &mut Vec<Row>) {}

    /// Whether a mapping without the key is wrong.
    fn is_required(&self) -> bool {
        false
    }
}

/// A kind of one word, number or the like.
pub(super) trait Scalar {
    /// Its type in the configuration.
    type Value;

    /// Reads it. The error is the end of a sentence that starts with the key: "must be …".
    fn parse(&self, value: &Value) -> Result<Self::Value, String>;

    /// What an accepted value may be meant as instead: the end of a sentence that starts with the key.
    fn doubt(&self, _value: &Value) -> Option<String> {
        None
    }

    /// As the file has it, unless it is a secret.
    fn text(&self, value: &Self::Value) -> String;

    /// Type and range, for the manual.
    fn range(&self) -> String;
}

impl<K: Scalar> Kind<K::Value> for K {
    fn read(&self, node: &Node, path: &str, problems: &mut Collector) -> Option<K::Value> {
        let outcome = match &node.value {
            Value::Null => Err("has no value; give one, or remove the line".to_owned()),
            value => self.parse(value),
        };
        let doubt = outcome.is_ok().then(|| self.doubt(&node.value)).flatten();
        if let Some(doubt) = doubt {
            problems.doubt(node, path, doubt);
        }
        problems.check(node, path, outcome)
    }

    fn show(&self, value: &K::Value, path: &str, settings: &mut Settings) {
        settings.add(path, self.text(value));
    }

    fn describe(&self) -> String {
        self.range()
    }

    fn yaml(&self, default: &K::Value) -> String {
        self.text(default)
    }
}

/// The value, or the word `none`.
pub(super) struct OrNone<K>(pub(super) K);

impl<K: Scalar> Scalar for OrNone<K> {
    type Value = Option<K::Value>;

    fn parse(&self, value: &Value) -> Result<Option<K::Value>, String> {
        match value {
            Value::Text(text) if text == "none" => Ok(None),
            value => self.0.parse(value).map(Some),
        }
    }

    fn doubt(&self, value: &Value) -> Option<String> {
        self.0.doubt(value)
    }

    fn text(&self, value: &Option<K::Value>) -> String {
        let none = || "none".to_owned();
        value.as_ref().map_or_else(none, |value| self.0.text(value))
    }

    fn range(&self) -> String {
        format!("{}, or `none`", self.0.range())
    }
}

/// A value without default.
pub(super) struct NoDefault<K> {
    kind: K,
    is_required: bool,
}

/// The key must be there.
pub(super) const fn required<K>(kind: K) -> NoDefault<K> {
    NoDefault {
        kind,
        is_required: true,
    }
}

/// This key must be there, or another that means the same, which the section checks.
pub(super) const fn either<K>(kind: K) -> NoDefault<K> {
    NoDefault {
        kind,
        is_required: false,
    }
}

impl<K: Scalar> Kind<Option<K::Value>> for NoDefault<K> {
    fn read(&self, node: &Node, path: &str, problems: &mut Collector) -> Option<Option<K::Value>> {
        self.kind.read(node, path, problems).map(Some)
    }

    fn show(&self, value: &Option<K::Value>, path: &str, settings: &mut Settings) {
        if let Some(value) = value {
            self.kind.show(value, path, settings);
        }
    }

    fn describe(&self) -> String {
        self.kind.range()
    }

    fn yaml(&self, _default: &Option<K::Value>) -> String {
        String::new()
    }

    fn is_required(&self) -> bool {
        self.is_required
    }
}

/// A section in a section.
pub(super) struct Nested<S> {
    check: fn(&S, &Mapping<'_>, &mut Collector),
}

/// A section whose keys are independent of each other.
pub(super) const fn nested<S>() -> Nested<S> {
    nested_with(|_, _, _| ())
}

/// A section in which `check` compares keys with each other.
pub(super) const fn nested_with<S>(check: fn(&S, &Mapping<'_>, &mut Collector)) -> Nested<S> {
    Nested { check }
}

impl<S: Section> Kind<S> for Nested<S> {
    fn read(&self, node: &Node, path: &str, problems: &mut Collector) -> Option<S> {
        let mapping = Mapping::open::<S>(node, path, problems);
        let section = S::read(&mapping, problems);
        (self.check)(&section, &mapping, problems);
        Some(section)
    }

    fn show(&self, section: &S, path: &str, settings: &mut Settings) {
        section.show(path, settings);
    }

    fn describe(&self) -> String {
        "mapping".to_owned()
    }

    fn yaml(&self, _default: &S) -> String {
        "{}".to_owned()
    }

    fn refer(&self, path: &str, rows: &mut Vec<Row>) {
        S::refer(path, rows);
    }
}
