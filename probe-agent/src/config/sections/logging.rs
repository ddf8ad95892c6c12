//! The section `logging`: level and format.

use tracing::Level;

use super::super::{declare::section, value::Choice};

section! {
    /// What is logged on standard error, and how.
    #[derive(Clone, Debug, Eq, PartialEq)]
    pub struct LoggingConfig {
        /// Least severe level that is logged. The environment variable `RUST_LOG` overrides it.
        #[key("level", Live, Choice(&LEVELS))]
        pub level: Level = Level::INFO,

        /// Lines for people, or one JSON object a line.
        #[key("format", Restart, Choice(&FORMATS))]
        pub format: LogFormat = LogFormat::Text,
    }
}

/// Format of the log's lines.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// Lines for people and journald.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

const LEVELS: [(&str, Level); 5] = [
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
