//! The section `autodetection`: which links are captured that `interfaces` does not name.

use probe_capture::selection::{parse_rule, regexes};
use probe_common::control::MAX_INTERFACES;

use super::super::{
    declare::section,
    kind::Kind,
    mapping::{Collector, items},
    settings::Settings,
    tree::Node,
    value::{Boolean, text},
};

section! {
    /// Auto-detection: all links but the excluded ones.
    #[derive(Clone, Debug, Eq, PartialEq)]
    pub struct Autodetection {
        /// Whether links are captured that `interfaces` does not name.
        #[key("enabled", Live, Boolean)]
        pub enabled: bool = false,

        /// Links to leave out. By default loopback, and veth ends, whose traffic is seen again on
        /// the bridge or the uplink.
        #[key("exclude", Live, Rules)]
        pub exclude: Vec<String> = vec!["lo".to_owned(), "/^veth/".to_owned()],
    }
}

/// Names of interfaces, or `/regex/`.
struct Rules;

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
            let rule = problems.check(item, &path, text(&item.value));
            let Some(rule) = rule else { continue };
            problems.check(item, &path, parse_rule(rule, regexes).map(drop));
            rules.push(rule.to_owned());
        }
        Some(rules)
    }

    fn show(&self, rules: &Vec<String>, path: &str, settings: &mut Settings) {
        settings.add(path, format_args!("[{}]", rules.join(", ")));
    }

    fn describe(&self) -> String {
        "list of names and `/regex/`".to_owned()
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
