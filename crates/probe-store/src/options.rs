//! The sinks that a configuration may have, and what they keep.

use std::{path::PathBuf, time::Duration};

/// One sink: files of a format below a directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SinkConfig {
    /// Format of the files.
    pub format: SinkFormat,
    /// Root directory of the store, whose files are partitioned by interface and day.
    pub path: PathBuf,
    /// Age, size and free space beyond which the oldest intervals are deleted.
    pub retention: Retention,
    /// Whether the files of closed days become one. Parquet only.
    pub compact: bool,
}

/// Format of a sink's files, one per interface and interval.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SinkFormat {
    /// Parquet, with the ledger in its metadata.
    Parquet,
    /// JSON lines, with the ledger as the last line.
    Json,
}

impl SinkFormat {
    /// Every format with its name in the configuration, in metrics and in the log.
    pub const ALL: [(&str, Self); 2] = [("parquet", Self::Parquet), ("json", Self::Json)];

    /// Name in the configuration, in metrics and in the log.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, format)| *format == self);
        found.map_or("", |(name, _)| name)
    }
}

/// Bounds of what a sink keeps; `None` keeps everything.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Retention {
    /// Age at which an interval is deleted; `None`: never.
    pub max_age: Option<Duration>,
    /// Most bytes kept on disk, oldest intervals going first.
    pub max_size_bytes: Option<u64>,
    /// Least space left free, oldest intervals going first.
    pub min_free: Option<MinFree>,
}

/// Space that is to be left free on the file system of a store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MinFree {
    /// Number of bytes, whatever the size.
    Bytes(u64),
    /// Share of the file system's size, 0 to 100.
    Percent(u8),
}

impl MinFree {
    /// In bytes, on a file system of `total_bytes`.
    pub const fn of(self, total_bytes: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => (total_bytes / 100).saturating_mul(percent as u64),
        }
    }
}

impl Retention {
    /// What a sink keeps unless the file says otherwise: a host must not fill up unattended.
    pub const STANDARD: Self = Self {
        max_age: Some(Duration::from_hours(90 * 24)),
        max_size_bytes: Some(20 << 30),
        min_free: None,
    };
}
