//! Configuration: the YAML file, its defaults and its rules.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::Deserialize;

/// The whole configuration, after defaults and validation.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Interfaces by name or `/regex/`; empty if `autodetection` is enabled.
    pub interfaces: BTreeMap<String, InterfaceConfig>,
    /// Instead of `interfaces`.
    pub autodetection: Autodetection,
    /// Capture settings of all interfaces.
    pub capture: CaptureConfig,
    /// Interval and local buffers.
    pub rotation: RotationConfig,
    /// Sinks.
    pub writeout: Vec<SinkConfig>,
    /// HTTP endpoints.
    pub api: ApiConfig,
    /// Log level and format.
    pub logging: LoggingConfig,
}

/// Settings of one interface (or of all that a regex matches).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct InterfaceConfig {
    /// Which hook to use.
    pub hook: Hook,
    /// Puts the interface into promiscuous mode while it is captured.
    pub promisc: bool,
    /// Leaves packets with a VLAN tag out of the flows (they are counted as a loss by name).
    pub ignore_vlans: bool,
    /// Excludes the interface although a regex or auto-detection matches it.
    pub disable: bool,
}

/// Hook selection.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// By link kind: see the documentation of `plan`.
    #[default]
    Auto,
    /// XDP, native if the driver has it, else generic.
    Xdp,
    /// XDP in the driver, or an error.
    XdpNative,
    /// XDP in the network stack.
    XdpGeneric,
    /// TC: TCX where the kernel has it, else clsact.
    Tc,
}

/// Auto-detection: all links but the excluded ones.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Autodetection {
    /// Off by default.
    pub enabled: bool,
    /// Names or `/regex/`.
    pub exclude: Vec<String>,
}

/// Capture settings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CaptureConfig {
    /// Size of the ring between kernel and agent; a power of two of at least one page.
    pub ring_buffer_bytes: u32,
    /// Stores client ports of common services as 0.
    pub port_aggregation: bool,
    /// Flows per interface before new ones are folded into overflow flows.
    pub max_flows: usize,
}

/// Rotation settings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RotationConfig {
    /// Writeouts happen on wall-clock multiples of this.
    pub interval: Duration,
    /// Buffers for records that arrive during a rotation.
    pub local_buffers: LocalBuffersConfig,
}

/// Bounds of the local buffers: together they take at most `num * size_limit` bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LocalBuffersConfig {
    /// How many buffers of `size_limit_bytes` the budget holds.
    pub num: usize,
    /// Largest buffer of one interface.
    pub size_limit_bytes: usize,
}

/// A sink.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SinkConfig {
    /// Hive-partitioned Parquet files below `path`.
    Parquet {
        /// Root directory.
        path: PathBuf,
        /// What is deleted when.
        retention: Retention,
    },
    /// JSON lines, one file per interface and day below `path`.
    Json {
        /// Root directory.
        path: PathBuf,
        /// What is deleted when.
        retention: Retention,
    },
}

/// Bounds of what a sink keeps; `None` keeps everything.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Retention {
    /// Oldest interval kept.
    pub max_age: Option<Duration>,
    /// Most bytes kept, oldest intervals going first.
    pub max_size_bytes: Option<u64>,
}

/// HTTP endpoints.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiConfig {
    /// `unix:/path` or `host:port`; `None` switches it off.
    pub addr: Option<String>,
    /// `host:port` of `/metrics`, `/healthz` and `/readyz`; `None` switches it off.
    pub metrics_addr: Option<String>,
    /// Leaves the `iface` label out of the metrics.
    pub disable_iface_metrics: bool,
}

/// Log settings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoggingConfig {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: tracing::Level,
    /// How lines look.
    pub format: LogFormat,
}

/// Log format.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people and journald.
    #[default]
    Text,
    /// One object a line.
    Json,
}

impl Default for CaptureConfig {
    fn default() -> Self {
        Self {
            ring_buffer_bytes: 16 << 20,
            port_aggregation: true,
            max_flows: 1_000_000,
        }
    }
}

impl Default for RotationConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(5),
            local_buffers: LocalBuffersConfig::default(),
        }
    }
}

impl Default for LocalBuffersConfig {
    fn default() -> Self {
        Self {
            num: 1,
            size_limit_bytes: 64 << 20,
        }
    }
}
