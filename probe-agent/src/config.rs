//! Configuration: the YAML file, its defaults and its rules.
//!
//! Each key is declared once, in the module of its section under `sections`; `declare` says how.
//! A file is read into a tree (`tree`), which those declarations walk; whatever is wrong is
//! collected and told at once, each problem with its key and place.

use std::{collections::BTreeMap, path::Path};

mod declare;
mod doubts;
mod file;
mod kind;
mod mapping;
mod on_host;
mod problem;
mod reading;
pub mod reference;
mod sections;
mod settings;
mod tree;
mod value;

pub use declare::Change;
pub use file::ConfigText;
pub use on_host::{Named, OnHost};
pub use problem::{ConfigError, FileProblem, FileProblems, Place, Severity};
pub use reading::Reading;
pub use reference::is_live;
pub use sections::{
    autodetection::Autodetection,
    capture::CaptureConfig,
    logging::{LogFormat, LoggingConfig},
    reload::ReloadConfig,
    rotation::RotationConfig,
};
pub(crate) use value::did_you_mean;

use probe_api::options::ApiConfig;
use probe_capture::{
    interface::InterfaceConfig,
    selection::{InterfaceSelector, is_pattern},
};
use probe_common::control::MAX_INTERFACES;
use probe_datapath::options::SourceOptions;
use probe_store::options::SinkConfig;

use declare::section;
use kind::{nested, nested_with};
use mapping::Mapping;
use sections::{
    api, capture,
    interfaces::Interfaces,
    writeout::{self, Sinks},
};

/// Slots for a configuration with few interfaces; 38 KiB per CPU.
const LEAST_INTERFACES: u32 = 64;

section! {
    /// The whole configuration, after defaults and validation.
    ///
    /// The default is what an empty file would mean, but for the interfaces, which every file must
    /// choose: it captures nothing, writes Parquet to `/var/lib/probe/flows` every five minutes and
    /// keeps 90 days or 20 GiB of it, listens on `/run/probe/probe.sock` and, for Prometheus, on port
    /// 9478 of the loopback.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Config {
        /// The interfaces to capture, by name, `/regex/` or `kind:KIND`. Either this or
        /// `autodetection`.
        #[key("interfaces", OfItsKeys, Interfaces)]
        pub interfaces: BTreeMap<String, InterfaceConfig> = BTreeMap::new(),

        /// Captures every link of the host but the excluded ones. Either this or `interfaces`.
        #[key("autodetection", OfItsKeys, nested())]
        pub autodetection: Autodetection = Autodetection::default(),

        /// How packets become flows, on all interfaces.
        #[key("capture", OfItsKeys, nested_with(capture::check))]
        pub capture: CaptureConfig = CaptureConfig::default(),

        /// When flows are handed to the sinks.
        #[key("rotation", OfItsKeys, nested())]
        pub rotation: RotationConfig = RotationConfig::default(),

        /// The sinks. Each has a queue of its own; a slow or dead one holds up no other sink. With `[]`
        /// nothing is stored.
        #[key("writeout", OfItsKeys, Sinks)]
        pub writeout: Vec<SinkConfig> = writeout::standard(),

        /// Where the API listens, and which clients may use it.
        #[key("api", OfItsKeys, nested_with(api::check))]
        pub api: ApiConfig = ApiConfig::default(),

        /// What is logged, on standard error.
        #[key("logging", OfItsKeys, nested())]
        pub logging: LoggingConfig = LoggingConfig::default(),

        /// When a running agent reads this file again, besides being asked to (SIGHUP).
        #[key("reload", OfItsKeys, nested())]
        pub reload: ReloadConfig = ReloadConfig::default(),
    }
}

impl Config {
    /// Reads and checks a file that is read again at each reload: no pipe.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Read`]: the file cannot be read. [`ConfigError::TooLarge`],
    /// [`ConfigError::NotUtf8`]: it is too large, or no text. [`ConfigError::Invalid`]: everything that
    /// is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        ConfigText::read(path)?.config()
    }

    /// Reads and checks a file for a command that reads it once: a pipe will do, as of `-c <(…)`.
    ///
    /// # Errors
    ///
    /// As [`Self::load`]. [`ConfigError::Read`], too: nothing comes out of the pipe for ten seconds.
    pub fn load_once(path: &Path) -> Result<Self, ConfigError> {
        ConfigText::read_once(path)?.config()
    }

    /// The rules by which links are captured.
    ///
    /// # Errors
    ///
    /// A rule that no file can have, since files are checked: a sentence that names the rule.
    pub fn selector(&self) -> Result<InterfaceSelector, String> {
        let Autodetection {
            enabled,
            exclude,
            stacked,
        } = &self.autodetection;
        let selector = InterfaceSelector::new(&self.interfaces, enabled.then_some(exclude))?;
        Ok(selector.with_stacked(*stacked))
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
        let has_pattern = self.interfaces.keys().any(|name| is_pattern(name));
        if self.autodetection.enabled || has_pattern {
            return MAX_INTERFACES;
        }
        let named = u32::try_from(self.interfaces.len()).unwrap_or(MAX_INTERFACES);
        named
            .saturating_mul(2)
            .clamp(LEAST_INTERFACES, MAX_INTERFACES)
    }

    /// Reads and checks a document (YAML).
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, in its order, each with its key and place.
    pub fn parse(text: &str) -> Result<Self, FileProblems> {
        Reading::of(text).into_config()
    }
}

/// Interfaces come from one place: the list or auto-detection.
fn one_source(config: &Config, document: &Mapping<'_>, problems: &mut mapping::Collector) {
    // By what the file has, not by what could be read: a wrong entry is one problem, not two.
    let listed = document
        .node("interfaces")
        .filter(|node| !matches!(&node.value, tree::Value::Map(map) if map.is_empty()))
        .filter(|node| !matches!(node.value, tree::Value::Null));
    // A wrong or misspelt `autodetection.enabled` is one problem, too.
    let is_unclear = problems.refused().any(|key| {
        let rest = key.strip_prefix("autodetection");
        rest.is_some_and(|rest| !rest.starts_with(".exclude") && !rest.starts_with(".stacked"))
    });
    match (listed, config.autodetection.enabled) {
        (Some(node), true) => problems.refuse(
            node,
            "interfaces",
            "and autodetection.enabled are two sources of interfaces at once; \
             remove the list, or set autodetection.enabled to false",
        ),
        (None, false) if is_unclear => {}
        (None, false) => problems.refuse(
            document.node("interfaces").unwrap_or(document.as_node()),
            "interfaces",
            "no interface to capture; list some, or set autodetection.enabled to true",
        ),
        (Some(node), false)
            if !config.interfaces.is_empty()
                && config
                    .interfaces
                    .values()
                    .all(|interface| interface.disable) =>
        {
            problems.refuse(
                node,
                "interfaces",
                "no interface to capture: all are disabled; enable one, or add another",
            );
        }
        _ => {}
    }
}
