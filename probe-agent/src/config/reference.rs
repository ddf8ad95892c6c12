//! The manual of the configuration file, made from the declarations of its keys.

use std::sync::LazyLock;

use super::{
    Config,
    declare::{Change, Section},
};

/// A key as the manual has it.
#[derive(Clone, Debug)]
pub struct Row {
    /// Where it stands; `<name>` is an interface name or `/regex/`, `[]` an entry of a list.
    pub path: String,
    /// Type and range of its value.
    pub kind: String,
    /// What holds without it, as YAML; empty if it must be given.
    pub default: String,
    /// What a change of it takes.
    pub change: Change,
    /// What the key does, in sentences.
    pub meaning: &'static str,
}

/// All keys, in the order of the manual.
pub fn keys() -> &'static [Row] {
    static KEYS: LazyLock<Vec<Row>> = LazyLock::new(|| {
        let mut rows = Vec::new();
        Config::refer("", &mut rows);
        rows
    });
    &KEYS
}

impl Row {
    /// Whether this setting of a configuration, such as `interfaces.eth0.hook`, is a value of the key.
    fn has_setting(&self, setting: &str) -> bool {
        let parts = self.path.split_once("<name>").or_else(|| {
            let (list, rest) = self.path.split_once("[]")?;
            // The number of the entry stands between the brackets.
            setting
                .strip_prefix(list)?
                .starts_with('[')
                .then_some((list, rest))
        });
        match parts {
            Some((before, after)) => setting.starts_with(before) && setting.ends_with(after),
            None => self.path == setting,
        }
    }
}

/// Whether a running agent takes a change of this setting over, such as one of
/// `interfaces.eth0.hook`.
pub fn is_live(setting: &str) -> bool {
    let mut live = keys().iter().filter(|key| key.change == Change::Live);
    live.any(|key| key.has_setting(setting))
}

/// The path of a key that stands in the wrong section.
pub(super) fn home_of(name: &str) -> Option<&'static str> {
    let mut paths = keys().iter().map(|key| key.path.as_str());
    paths.find(|path| path.rsplit('.').next() == Some(name))
}

/// The table of the manual.
pub fn markdown() -> String {
    let head = "| key | type | default | change | meaning |\n\
                | --- | --- | --- | --- | --- |\n"
        .to_owned();
    let rows = keys().iter().map(|key| {
        let default = match key.default.as_str() {
            "" => "required".to_owned(),
            default => format!("`{default}`"),
        };
        let change = match key.change {
            Change::Live => "reload",
            Change::Restart => "restart",
            Change::OfItsKeys => "",
        };
        let (path, kind, meaning) = (&key.path, &key.kind, key.meaning);
        format!("| `{path}` | {kind} | {default} | {change} | {meaning} |\n")
    });
    [head].into_iter().chain(rows).collect()
}
