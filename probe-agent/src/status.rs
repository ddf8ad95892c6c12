//! The state of the captures, as any number of readers may see it without disturbing it.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use crate::{flow::FlowCounters, ledger::Ledger, source::Attachment};

/// State of one captured interface. All counts are since `started_at` and never go back.
#[derive(Clone, Debug)]
pub struct InterfaceStatus {
    /// Name of the interface.
    pub iface: Arc<str>,
    /// Index of the interface.
    pub ifindex: u32,
    /// How it is captured.
    pub attachment: Attachment,
    /// When capturing began.
    pub started_at: Timestamp,
    /// Where every packet went. Between rotations up to a ring's worth of packets is on the way
    /// and shows as a positive residue; the ledgers of the written intervals are exact.
    pub ledger: Ledger,
    /// Packets and octets that reached the flows.
    pub totals: FlowCounters,
    /// Flows in the log.
    pub flows: u64,
    /// Share of its largest local buffer that the interface has used, 0 to 1.
    pub local_buffer_usage: f64,
}

/// State of the whole agent.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// All captured interfaces by name.
    pub interfaces: BTreeMap<Arc<str>, InterfaceStatus>,
}

/// Where the metrics and the API get their numbers from, at the moment they are asked.
pub trait StatusReader: Send + Sync {
    /// Reads the state now. Changes nothing.
    fn status(&self) -> Status;
}
