//! The section `autodetection`: which links are captured that `interfaces` does not name.

use std::borrow::Cow;

use probe_capture::selection::{kind_rule, parse_rule, regexes};
use probe_common::control::MAX_INTERFACES;

use super::super::{
    declare::section,
    doubts,
    kind::Kind,
    mapping::{Collector, items},
    settings::Settings,
    tree::{Node, Value},
    value::{Boolean, text},
};

section! {
    /// Auto-detection: all links but the excluded ones.
    #[derive(Clone, Debug, Eq, PartialEq)]
    pub struct Autodetection {
        /// Whether links are captured that `interfaces` does not name.
        #[key("enabled", Live, Boolean)]
        pub enabled: bool = false,

        /// Links to leave out. By default loopback, the ends of containers, whose traffic is seen
        /// again on the bridge or the uplink, and ifb, which only repeats what others receive.
        #[key("exclude", Live, Rules)]
        pub exclude: Vec<String> = ["loopback", "veth", "netkit", "ifb"].map(kind_rule).to_vec(),

        /// Whether links are captured, too, whose packets captured links below count: a VLAN beside
        /// its parent, a bond beside its members, a bridge beside its ports, a macvlan …
        #[key("stacked", Live, Boolean)]
        pub stacked: bool = false,
    }
}

/// Names of interfaces, `/regex/` or `kind:KIND`.
struct Rules;

/// A rule, which may also be written as a mapping: `kind: veth`.
fn rule(value: &Value) -> Result<Cow<'_, str>, String> {
    let Value::Map(map) = value else {
        return text(value).map(Cow::Borrowed);
    };
    match map.as_slice() {
        [(key, kind)] if matches!(&key.value, Value::Text(key) if key == "kind") => {
            text(&kind.value).map(|kind| kind_rule(kind).into())
        }
        _ => Err("must be a name, a /regex/ or kind:KIND, found another mapping".to_owned()),
    }
}

impl Kind<Vec<String>> for Rules {
    fn read(&self, list: &Node, path: &str, problems: &mut Collector) -> Option<Vec<String>> {
        let mut rules = Vec::new();
        let items = items(list, path, problems);
        if items.len() > MAX_INTERFACES as usize {
            let message = format!(
                "has {} rules; at most {MAX_INTERFACES} are taken",
                items.len()
            );
            problems.refuse(list, path, message);
            return None;
        }
        let texts = items.iter().filter_map(|(_, item)| text(&item.value).ok());
        let regexes = regexes(texts);
        for (path, item) in items {
            let rule = problems.check(item, &path, rule(&item.value));
            let Some(rule) = rule else { continue };
            let parsed = problems.check(item, &path, parse_rule(&rule, regexes));
            if let Some(doubt) = parsed.and_then(|_| doubts::of_rule(&rule)) {
                problems.doubt(item, &path, doubt);
            }
            rules.push(rule.into_owned());
        }
        Some(rules)
    }

    fn show(&self, rules: &Vec<String>, path: &str, settings: &mut Settings) {
        settings.add(path, format_args!("[{}]", rules.join(", ")));
    }

    fn describe(&self) -> String {
        "list of names, `/regex/` and `kind:KIND`".to_owned()
    }

    fn yaml(&self, default: &Vec<String>) -> String {
        let rules = default.iter().map(|rule| {
            let is_regex = rule.starts_with('/');
            if is_regex {
                format!("\"{rule}\"")
            } else {
                rule.clone()
            }
        });
        format!("[{}]", rules.collect::<Vec<_>>().join(", "))
    }
}
