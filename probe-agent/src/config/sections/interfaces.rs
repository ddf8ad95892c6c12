//! The section `interfaces`: settings by name of the interface.

use std::collections::BTreeMap;

use probe_capture::{
    interface::{Hook, InterfaceConfig},
    selection::{parse_rule, regexes},
};
use probe_common::control::MAX_INTERFACES;

use super::super::{
    declare::{Section, section},
    doubts,
    kind::{Kind, nested},
    mapping::{Collector, entries, join},
    reference::Row,
    settings::Settings,
    tree::Node,
    value::{Boolean, Choice},
};

section! {
    keys of InterfaceConfig {
        /// Where received packets are seen. `auto` takes native XDP where it costs the traffic
        /// nothing, else TC. Sent packets are always seen at TC.
        #[key("hook", Live, Choice(&HOOKS))]
        hook,

        /// Puts the interface into promiscuous mode while it is captured. The first interface of all that
        /// is to have it needs a restart, since without one the agent has given `CAP_NET_RAW` back at its
        /// start.
        #[key("promisc", Live, Boolean)]
        promisc,

        /// Leaves packets with a VLAN tag out of the flows; they are counted as the loss `filtered`.
        #[key("ignore_vlans", Live, Boolean)]
        ignore_vlans,

        /// Excludes the interface, also from what a regex or kind matches.
        #[key("disable", Live, Boolean)]
        disable,
    }
}

const HOOKS: [(&str, Hook); 5] = [
    ("auto", Hook::Auto),
    ("xdp", Hook::Xdp),
    ("xdp-native", Hook::XdpNative),
    ("xdp-generic", Hook::XdpGeneric),
    ("tc", Hook::Tc),
];

/// A mapping from names of interfaces, `/regex/` or `kind:KIND`, to their settings.
pub(in super::super) struct Interfaces;

impl Kind<BTreeMap<String, InterfaceConfig>> for Interfaces {
    fn read(
        &self,
        node: &Node,
        path: &str,
        problems: &mut Collector,
    ) -> Option<BTreeMap<String, InterfaceConfig>> {
        let mut interfaces = BTreeMap::new();
        let entries = entries(node, path, problems);
        if entries.len() > MAX_INTERFACES as usize {
            let message = format!(
                "has {} entries; at most {MAX_INTERFACES} interfaces can be captured",
                entries.len()
            );
            problems.refuse(node, path, message);
            return None;
        }
        let regexes = regexes(entries.iter().map(|(name, ..)| *name));
        for (name, key, value) in entries {
            let path = join(path, name);
            let rule = problems.check(key, &path, parse_rule(name, regexes));
            if let Some(doubt) = rule.and_then(|_| doubts::of_rule(name)) {
                problems.doubt(key, &path, doubt);
            }
            let config = nested().read(value, &path, problems);
            interfaces.insert(name.to_owned(), config.unwrap_or_default());
        }
        Some(interfaces)
    }

    fn show(
        &self,
        interfaces: &BTreeMap<String, InterfaceConfig>,
        path: &str,
        settings: &mut Settings,
    ) {
        for (name, interface) in interfaces {
            interface.show(&format!("{path}.{name}"), settings);
        }
    }

    fn describe(&self) -> String {
        "mapping".to_owned()
    }

    fn yaml(&self, _default: &BTreeMap<String, InterfaceConfig>) -> String {
        "{}".to_owned()
    }

    fn refer(&self, path: &str, rows: &mut Vec<Row>) {
        InterfaceConfig::refer(&format!("{path}.<name>"), rows);
    }
}
