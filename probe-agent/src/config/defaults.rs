//! What holds where the file says nothing. `config/probe.yaml` shows the same values.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::{
    ApiConfig, Autodetection, CacheSlots, CaptureConfig, Config, ExpediteAttach,
    LocalBuffersConfig, LogFormat, LoggingConfig, ReloadConfig, RotationConfig, SinkConfig,
};

use probe_store::options::Retention;

impl Default for Config {
    fn default() -> Self {
        Self {
            interfaces: BTreeMap::new(),
            autodetection: Autodetection::default(),
            capture: CaptureConfig::default(),
            rotation: RotationConfig::default(),
            writeout: vec![SinkConfig::Parquet {
                path: PathBuf::from("/var/lib/probe/flows"),
                retention: Retention::STANDARD,
            }],
            api: ApiConfig::default(),
            logging: LoggingConfig::default(),
            reload: ReloadConfig::default(),
        }
    }
}

impl Default for Autodetection {
    /// Off; without loopback and without veth ends, whose traffic is seen again on the bridge or
    /// the uplink.
    fn default() -> Self {
        Self {
            enabled: false,
            exclude: vec!["lo".to_owned(), "/^veth/".to_owned()],
        }
    }
}

impl Default for LoggingConfig {
    fn default() -> Self {
        Self {
            level: tracing::Level::INFO,
            format: LogFormat::Text,
        }
    }
}

impl Default for CaptureConfig {
    fn default() -> Self {
        Self {
            // Mapped twice (so that records never wrap), which the kernel counts as memory of ours.
            ring_buffer_bytes: 16 << 20,
            cache_slots: CacheSlots::Auto,
            flush_interval: Duration::from_secs(5),
            port_aggregation: true,
            max_flows: 1_000_000,
            max_flows_total: 4_000_000,
            expedite_attach: ExpediteAttach::Auto,
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
