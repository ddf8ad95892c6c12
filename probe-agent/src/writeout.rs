//! Writing rotated intervals to where they are kept.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    flow::{FlowCounters, FlowMap},
    ledger::Ledger,
};

/// The flows of one interface between two rotations, with the ledger that says what they miss.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Name of the interface.
    pub iface: Arc<str>,
    /// Start of the interval (the previous rotation, or when capturing began).
    pub start: Timestamp,
    /// End of the interval (the rotation).
    pub end: Timestamp,
    /// Flows that had traffic.
    pub flows: FlowMap,
    /// Sums over `flows`.
    pub totals: FlowCounters,
    /// Where every packet of the interval went.
    pub ledger: Ledger,
}

/// Errors of a sink, each a sentence that names the operation, the object and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum WriteoutError {
    /// A file operation failed.
    #[error("cannot {operation} {path}: {source}", path = path.display())]
    File {
        /// What was tried, as a verb: "create", "write", "rename".
        operation: &'static str,
        /// On what.
        path: std::path::PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The interval could not be encoded.
    #[error("cannot encode the flows of {iface}: {reason}")]
    Encode {
        /// Interface of the interval.
        iface: Arc<str>,
        /// What the encoder said.
        reason: String,
    },
}

/// A sink: keeps intervals. Called from a thread of its own, so it may block.
pub trait WriteoutHandler: Send {
    /// Short name for logs and metrics, such as `parquet`.
    fn name(&self) -> &'static str;

    /// Stores one interval, durably, or not at all.
    fn write(&mut self, interval: &Interval) -> Result<(), WriteoutError>;
}
