//! A configuration as a flat list of settings, and what differs between two of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use probe_api::{options::KeySource, reload::SettingChange};

use super::{Config, declare::Section, reference::is_live};

impl Config {
    /// All settings with their values, as a file would have them. Secrets are not among the values.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let mut settings = Settings::default();
        self.show("", &mut settings);
        settings.0
    }

    /// The settings that differ in `other`, by path.
    pub fn changes_to(&self, other: &Self) -> Vec<SettingChange> {
        let (before, after) = (self.settings(), other.settings());
        let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let differing = paths
            .into_iter()
            .filter(|path| before.get(*path) != after.get(*path));
        let mut changes: Vec<_> = differing
            .map(|path| SettingChange {
                setting: path.clone(),
                before: before.get(path).cloned(),
                after: after.get(path).cloned(),
                live: is_live(path),
            })
            .collect();
        // Keys are shown the same although they differ.
        let keys = self.api.keys.iter().zip(&other.api.keys).enumerate();
        let secrets = keys.filter(|(_, (before, after))| {
            let sources = (&before.source, &after.source);
            matches!(sources, (KeySource::Inline(a), KeySource::Inline(b)) if a != b)
        });
        changes.extend(secrets.map(|(position, _)| {
            let setting = format!("api.keys[{position}].key");
            SettingChange {
                before: before.get(&setting).cloned(),
                after: after.get(&setting).cloned(),
                live: is_live(&setting),
                setting,
            }
        }));
        changes
    }
}

/// Values by path, as a file would have them.
#[derive(Default)]
pub(super) struct Settings(BTreeMap<String, String>);

impl Settings {
    pub(super) fn add(&mut self, path: &str, value: impl fmt::Display) {
        self.0.insert(path.to_owned(), value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::{super::is_live, Config};

    fn config(text: &str) -> Config {
        Config::parse(text).expect("a good configuration")
    }

    #[test]
    fn each_difference_is_told_with_both_values() {
        let before = config(
            "interfaces: { eth0: {}, eth1: {} }\n\
             rotation: { interval: 5m }\n\
             writeout: [{ type: json, path: /a }]\n",
        );
        let after = config(
            "interfaces: { eth0: { hook: tc }, eth2: {} }\n\
             rotation: { interval: 60s }\n\
             capture: { ring_buffer: 32MiB, expedite_attach: false }\n\
             writeout: []\n\
             api: { addr: none }\n",
        );
        let changes = before.changes_to(&after);
        let told: Vec<_> = changes
            .iter()
            .map(|it| {
                let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
                let live = if it.live { "live" } else { "restart" };
                let (before, after) = (value(&it.before), value(&it.after));
                format!("{} {before} {after} {live}", it.setting)
            })
            .collect();
        assert_eq!(
            told,
            [
                "api.addr unix:/run/probe/probe.sock none restart",
                "capture.expedite_attach auto false restart",
                "capture.ring_buffer 16MiB 32MiB restart",
                "interfaces.eth0.hook auto tc live",
                "interfaces.eth1.disable false - live",
                "interfaces.eth1.hook auto - live",
                "interfaces.eth1.ignore_vlans false - live",
                "interfaces.eth1.promisc false - live",
                "interfaces.eth2.disable - false live",
                "interfaces.eth2.hook - auto live",
                "interfaces.eth2.ignore_vlans - false live",
                "interfaces.eth2.promisc - false live",
                "rotation.interval 5m 1m live",
                "writeout[0].compact true - restart",
                "writeout[0].path /a - restart",
                "writeout[0].retention.max_age 90d - restart",
                "writeout[0].retention.max_size 20GiB - restart",
                "writeout[0].retention.min_free none - restart",
                "writeout[0].type json - restart",
            ]
        );
        assert!(before.changes_to(&before).is_empty());
    }

    #[test]
    fn another_key_is_a_change_and_is_not_shown() {
        let with_key = |letter: &str| {
            let key = letter.repeat(40);
            config(&format!(
                "interfaces: {{ eth0: {{}} }}\n\
                 api: {{ addr: \"127.0.0.1:9479\", keys: [{{ role: read, key: {key} }}] }}\n"
            ))
        };
        let changes = with_key("a").changes_to(&with_key("b"));
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].setting, "api.keys[0].key");
        assert_eq!(changes[0].after.as_deref(), Some("(redacted)"));
        assert!(!changes[0].live);
    }

    #[test]
    fn only_what_is_applied_counts_as_live() {
        assert!(is_live("interfaces./^eth/.hook") && is_live("logging.level"));
        assert!(is_live("capture.max_flows_total") && !is_live("capture.max_flows"));
        assert!(!is_live("logging.format") && !is_live("rotation.local_buffers.num"));
    }
}
