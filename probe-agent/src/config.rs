//! Configuration: the YAML file, its defaults and its rules.
//!
//! A file is read into a tree (`tree`), which `schema` walks section by section; whatever is
//! wrong is collected and told at once, each problem with its key and place.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::Path,
    time::Duration,
};

mod defaults;
mod problem;
pub mod reference;
mod schema;
mod section;
mod settings;
mod tree;
mod value;

pub use problem::{ConfigError, Place, Problem, Problems};
pub use settings::is_live;

use probe_api::options::ApiConfig;
use probe_capture::{interface::InterfaceConfig, selection::InterfaceSelector};
use probe_common::control::MAX_INTERFACES;
use probe_datapath::options::{CacheSlots, ExpediteAttach, SourceOptions};
use probe_flow::local_buffer::LocalBuffersConfig;
use probe_store::options::SinkConfig;

/// Slots for a configuration with few interfaces; 38 KiB per CPU.
const LEAST_INTERFACES: u32 = 64;

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

/// Rotation settings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RotationConfig {
    /// Writeouts happen on wall-clock multiples of this.
    pub interval: Duration,
    /// Buffers for records that arrive during a rotation.
    pub local_buffers: LocalBuffersConfig,
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

    /// The rules by which links are captured.
    ///
    /// # Errors
    ///
    /// A rule that no file can have, since files are checked: a sentence that names the rule.
    pub fn selector(&self) -> Result<InterfaceSelector, String> {
        let Autodetection { enabled, exclude } = &self.autodetection;
        InterfaceSelector::new(&self.interfaces, enabled.then_some(exclude))
    }

    /// Sizes that the programs are loaded with.
    pub fn source_options(&self) -> SourceOptions {
        SourceOptions {
            ring_buffer_bytes: self.capture.ring_buffer_bytes,
            cache_slots: self.capture.cache_slots,
            interfaces: self.interface_slots(),
        }
    }

    /// Interfaces that may be captured at a time. Named ones are counted, with room for those that a
    /// reload adds; a pattern may match any number.
    fn interface_slots(&self) -> u32 {
        let has_pattern = self
            .interfaces
            .keys()
            .any(|name| name.starts_with('/') && name.ends_with('/'));
        if self.autodetection.enabled || has_pattern {
            return MAX_INTERFACES;
        }
        let named = u32::try_from(self.interfaces.len()).unwrap_or(MAX_INTERFACES);
        named
            .saturating_mul(2)
            .clamp(LEAST_INTERFACES, MAX_INTERFACES)
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
