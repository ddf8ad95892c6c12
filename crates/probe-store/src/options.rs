//! What sinks there are, and what they keep.

use std::{path::PathBuf, time::Duration};

/// One sink, and where it stores intervals.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SinkConfig {
    /// Hive-partitioned Parquet files below `path`.
    Parquet {
        /// Root directory of the store.
        path: PathBuf,
        /// What is deleted when.
        retention: Retention,
    },
    /// JSON lines, one file per interface and day below `path`.
    Json {
        /// Root directory of the store.
        path: PathBuf,
        /// What is deleted when.
        retention: Retention,
    },
}

/// Bounds of what a sink keeps; `None` keeps everything.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Retention {
    /// Age at which an interval is deleted; `None`: never.
    pub max_age: Option<Duration>,
    /// Most bytes kept, oldest intervals going first.
    pub max_size_bytes: Option<u64>,
}

impl Retention {
    /// What a sink keeps unless the file says otherwise: a host must not fill up unattended.
    pub const STANDARD: Self = Self {
        max_age: Some(Duration::from_hours(90 * 24)),
        max_size_bytes: Some(20 << 30),
    };
}
