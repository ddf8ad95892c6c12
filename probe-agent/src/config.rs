//! Configuration: the YAML file, its defaults and its rules.
//!
//! A file is read into a tree (`tree`), which `schema` walks section by section; whatever is
//! wrong is collected and told at once, each problem with its key and place.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

mod defaults;
mod endpoint;
mod interfaces;
mod keys;
mod problem;
pub mod reference;
mod schema;
mod section;
mod settings;
mod tree;
mod value;

pub use endpoint::Endpoint;
pub use interfaces::{Choice, InterfaceSelector};
pub use keys::{ApiKey, KeySource, MIN_KEY_LENGTH, Role, Secret, TlsConfig};
pub use problem::{ConfigError, Place, Problem, Problems};
pub use settings::{SettingChange, is_live};

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 512 << 10;

/// The whole configuration, after defaults and validation.
///
/// The default is what an empty file would mean, but for the interfaces, which every file must
/// choose: it captures nothing, writes Parquet to `/var/lib/probe/flows` every five minutes and
/// keeps 90 days or 20 GiB of it, listens on `/run/probe/probe.sock` and, for Prometheus, on port
/// 9478 of the loopback.
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
    /// When the file is read again.
    pub reload: ReloadConfig,
}

/// Settings of one interface (or of all that a regex matches).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
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
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
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
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Autodetection {
    /// Off by default.
    pub enabled: bool,
    /// Names or `/regex/`.
    pub exclude: Vec<String>,
}

/// Capture settings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CaptureConfig {
    /// Size of the rings between kernel and agent, all together; a power of two of at least 64 KiB.
    pub ring_buffer_bytes: u32,
    /// Records that the programs keep open.
    pub cache_slots: CacheSlots,
    /// How often those are handed over.
    pub flush_interval: Duration,
    /// Stores client ports of common services as 0.
    pub port_aggregation: bool,
    /// Flows per interface before new ones are folded into overflow flows.
    pub max_flows: usize,
    /// Flows over all interfaces before new ones are folded, likewise.
    pub max_flows_total: usize,
    /// Whether grace periods of RCU are expedited, for the whole machine, while many interfaces are
    /// attached or detached.
    pub expedite_attach: ExpediteAttach,
}

/// Whether the kernel is hurried while many interfaces are attached or detached.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ExpediteAttach {
    /// Where the owner of the host does not evidently mind, and where it can be done.
    #[default]
    Auto,
    /// Always; where it cannot be done that is a warning.
    Always,
    /// Never, and without a word about how long it takes.
    Never,
}

/// Size of the cache of open records in the kernel.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CacheSlots {
    /// As many as fit a budget for all CPUs.
    #[default]
    Auto,
    /// So many for each CPU: a power of two, or 0 for no cache.
    PerCpu(u32),
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
    /// Who may ask over TCP.
    pub keys: Vec<ApiKey>,
    /// Certificate and key of the TCP address; plain HTTP without.
    pub tls: Option<TlsConfig>,
}

/// Log settings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoggingConfig {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: tracing::Level,
    /// How lines look.
    pub format: LogFormat,
}

/// When a running agent reads its configuration again, besides being asked to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ReloadConfig {
    /// When the file has changed, and then not for two seconds.
    pub watch: bool,
}

/// Log format.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// For people and journald.
    #[default]
    Text,
    /// One object a line.
    Json,
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source: io::Error| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        let file = fs::File::open(path).map_err(read)?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(read)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(ConfigError::TooLarge {
                path: path.to_owned(),
                limit: MAX_FILE_BYTES,
            });
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            ConfigError::NotUtf8 {
                path: path.to_owned(),
                line: valid.split(|byte| *byte == b'\n').count(),
            }
        })?;
        Self::parse(&text).map_err(|problems| ConfigError::Invalid {
            path: path.to_owned(),
            problems,
        })
    }

    /// Reads and checks a document.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        let root = tree::parse(text).map_err(|error| Problems(vec![Problem::syntax(&error)]))?;
        if matches!(root.value, tree::Value::Null) {
            return Err(Problems(vec![Problem::empty()]));
        }
        let mut problems = section::Collector::default();
        let config = schema::config(&root, &mut problems);
        match problems.into_problems(text) {
            None => Ok(config),
            Some(problems) => Err(problems),
        }
    }
}

impl Retention {
    /// What a sink keeps unless the file says otherwise: a host must not fill up unattended.
    pub const STANDARD: Self = Self {
        max_age: Some(Duration::from_hours(90 * 24)),
        max_size_bytes: Some(20 << 30),
    };
}
