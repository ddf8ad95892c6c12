//! A configuration as a flat list of settings, and what differs between two of them.
//!
//! Every structure is taken apart field by field: a new one that is forgotten here does not
//! compile, so no change of a configuration can go unnoticed.

use std::collections::{BTreeMap, BTreeSet};

use probe_api::{
    options::{ApiKey, KeySource, TlsConfig},
    reload::SettingChange,
};
use probe_capture::interface::Hook;
use probe_store::options::Retention;

use super::{
    ApiConfig, Autodetection, CacheSlots, CaptureConfig, Config, ExpediteAttach, InterfaceConfig,
    LocalBuffersConfig, LogFormat, LoggingConfig, ReloadConfig, RotationConfig, SinkConfig,
    value::{duration_text, size_text},
};

/// Settings that a running agent takes over; all others need a restart. A name ending with `.`
/// stands for everything below it.
const LIVE: [&str; 6] = [
    "interfaces.",
    "autodetection.",
    "capture.max_flows_total",
    "rotation.interval",
    "logging.level",
    "reload.",
];

/// Whether a running agent takes a change of this setting over.
pub fn is_live(setting: &str) -> bool {
    LIVE.iter().any(|live| {
        if live.ends_with('.') {
            setting.starts_with(live)
        } else {
            setting == *live
        }
    })
}

impl Config {
    /// All settings with their values, as a file would have them. Secrets are not among the values.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let mut settings = Settings::default();
        settings.config(self);
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

#[derive(Default)]
struct Settings(BTreeMap<String, String>);

impl Settings {
    fn add(&mut self, path: impl Into<String>, value: impl std::fmt::Display) {
        self.0.insert(path.into(), value.to_string());
    }

    fn config(&mut self, config: &Config) {
        let Config {
            interfaces,
            autodetection,
            capture,
            rotation,
            writeout,
            api,
            logging,
            reload,
        } = config;
        for (name, interface) in interfaces {
            self.interface(name, interface);
        }
        let Autodetection { enabled, exclude } = autodetection;
        self.add("autodetection.enabled", enabled);
        self.add(
            "autodetection.exclude",
            format_args!("[{}]", exclude.join(", ")),
        );
        let CaptureConfig {
            ring_buffer_bytes,
            cache_slots,
            flush_interval,
            port_aggregation,
            max_flows,
            max_flows_total,
            expedite_attach,
        } = capture;
        let ring_buffer = size_text(u64::from(*ring_buffer_bytes));
        self.add("capture.ring_buffer", ring_buffer);
        match cache_slots {
            CacheSlots::Auto => self.add("capture.cache_slots", "auto"),
            CacheSlots::PerCpu(slots) => self.add("capture.cache_slots", slots),
        }
        self.add("capture.flush_interval", duration_text(*flush_interval));
        self.add("capture.port_aggregation", port_aggregation);
        self.add("capture.max_flows", max_flows);
        self.add("capture.max_flows_total", max_flows_total);
        let expedite_attach = match expedite_attach {
            ExpediteAttach::Auto => "auto",
            ExpediteAttach::Always => "true",
            ExpediteAttach::Never => "false",
        };
        self.add("capture.expedite_attach", expedite_attach);
        self.rotation(rotation);
        for (position, sink) in writeout.iter().enumerate() {
            self.sink(position, sink);
        }
        self.api(api);
        let LoggingConfig { level, format } = logging;
        self.add("logging.level", level.as_str().to_lowercase());
        let format = match format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        self.add("logging.format", format);
        let ReloadConfig { watch } = reload;
        self.add("reload.watch", watch);
    }

    fn interface(&mut self, name: &str, interface: &InterfaceConfig) {
        let InterfaceConfig {
            hook,
            promisc,
            ignore_vlans,
            disable,
        } = interface;
        let hook = match hook {
            Hook::Auto => "auto",
            Hook::Xdp => "xdp",
            Hook::XdpNative => "xdp-native",
            Hook::XdpGeneric => "xdp-generic",
            Hook::Tc => "tc",
        };
        self.add(format!("interfaces.{name}.hook"), hook);
        self.add(format!("interfaces.{name}.promisc"), promisc);
        self.add(format!("interfaces.{name}.ignore_vlans"), ignore_vlans);
        self.add(format!("interfaces.{name}.disable"), disable);
    }

    fn rotation(&mut self, rotation: &RotationConfig) {
        let RotationConfig {
            interval,
            local_buffers,
        } = rotation;
        let LocalBuffersConfig {
            num,
            size_limit_bytes,
        } = local_buffers;
        self.add("rotation.interval", duration_text(*interval));
        self.add("rotation.local_buffers.num", num);
        let size_limit = size_text(*size_limit_bytes as u64);
        self.add("rotation.local_buffers.size_limit", size_limit);
    }

    fn sink(&mut self, position: usize, sink: &SinkConfig) {
        let (kind, path, retention) = match sink {
            SinkConfig::Parquet { path, retention } => ("parquet", path, retention),
            SinkConfig::Json { path, retention } => ("json", path, retention),
        };
        let Retention {
            max_age,
            max_size_bytes,
        } = retention;
        let none = || "none".to_owned();
        let at = format!("writeout[{position}]");
        self.add(format!("{at}.type"), kind);
        self.add(format!("{at}.path"), path.display());
        let max_age = max_age.map_or_else(none, duration_text);
        self.add(format!("{at}.retention.max_age"), max_age);
        let max_size = max_size_bytes.map_or_else(none, size_text);
        self.add(format!("{at}.retention.max_size"), max_size);
    }

    fn api(&mut self, api: &ApiConfig) {
        let ApiConfig {
            addr,
            metrics_addr,
            disable_iface_metrics,
            keys,
            tls,
        } = api;
        for (position, ApiKey { role, source }) in keys.iter().enumerate() {
            let at = format!("api.keys[{position}]");
            self.add(format!("{at}.role"), role.name());
            match source {
                KeySource::Inline(_) => self.add(format!("{at}.key"), "(redacted)"),
                KeySource::File(path) => self.add(format!("{at}.file"), path.display()),
            }
        }
        if let Some(TlsConfig { cert, key }) = tls {
            self.add("api.tls.cert", cert.display());
            self.add("api.tls.key", key.display());
        }
        let none = || "none".to_owned();
        self.add("api.addr", addr.clone().unwrap_or_else(none));
        self.add(
            "api.metrics_addr",
            metrics_addr.clone().unwrap_or_else(none),
        );
        self.add("api.disable_iface_metrics", disable_iface_metrics);
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, is_live};

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
                "writeout[0].path /a - restart",
                "writeout[0].retention.max_age 90d - restart",
                "writeout[0].retention.max_size 20GiB - restart",
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
