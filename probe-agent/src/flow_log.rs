//! The flow log: the flows of one interface, counted record by record and handed out at rotation.
//!
//! Sans-IO: it knows no clock, no runtime and no kernel. It is driven by [`FlowLog::handle_record`]
//! and read by [`FlowLog::rotate`] and [`FlowLog::aggregate`].

mod overflow;
mod table;

use probe_common::{
    classify::{classify_v4, classify_v6},
    record::{Record, RecordHead},
};

use self::{overflow::OverflowTable, table::FlowTable};
use crate::flow::{FlowCounters, FlowMap};

/// How a flow log keeps its flows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FlowLogOptions {
    /// Stores the client's port of common services as 0, so that all connections of a host to one
    /// service are one flow.
    pub port_aggregation: bool,
    /// Counts both directions of a conversation in one flow.
    pub bidirectional: bool,
    /// Flows kept apart; what comes on top is folded into overflow flows, so that memory stays
    /// bounded and totals exact.
    pub max_flows: usize,
}

impl Default for FlowLogOptions {
    fn default() -> Self {
        Self {
            port_aggregation: true,
            bidirectional: true,
            max_flows: 1_000_000,
        }
    }
}

/// The flows of one interface. Not thread-safe: whoever owns it locks it.
#[derive(Debug)]
pub struct FlowLog {
    options: FlowLogOptions,
    v4: FlowTable<4>,
    v6: FlowTable<16>,
    overflow_v4: OverflowTable<4>,
    overflow_v6: OverflowTable<16>,
    /// Everything since the log was made; unlike the flows', never reset.
    totals: FlowCounters,
}

impl FlowLog {
    /// An empty log.
    pub fn new(options: FlowLogOptions) -> Self {
        Self {
            options,
            v4: FlowTable::new(classify_v4),
            v6: FlowTable::new(classify_v6),
            overflow_v4: OverflowTable::default(),
            overflow_v6: OverflowTable::default(),
            totals: FlowCounters::default(),
        }
    }

    /// Counts one record.
    #[inline]
    pub fn handle_record(&mut self, record: Record<'_>) {
        self.totals.on_record(record.head());
        let is_full = self.len() >= self.options.max_flows;
        match record {
            Record::V4(record) => {
                let key = self.flow_key(record.key);
                if let Err(key) = self.v4.count(key, &record.head, &self.options, is_full) {
                    self.overflow_v4.count(key, &record.head);
                }
            }
            Record::V6(record) => {
                let key = self.flow_key(record.key);
                if let Err(key) = self.v6.count(key, &record.head, &self.options, is_full) {
                    self.overflow_v6.count(key, &record.head);
                }
            }
        }
    }

    fn flow_key<const N: usize>(
        &self,
        key: probe_common::ephash::EpHash<N>,
    ) -> probe_common::ephash::EpHash<N> {
        if self.options.port_aggregation {
            key.aggregate_ports()
        } else {
            key
        }
    }

    /// Flows in the log, idle ones included, overflow flows not.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether no flow is in the log.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sums over all records since the log was made. Never goes back.
    pub const fn totals(&self) -> FlowCounters {
        self.totals
    }

    /// Ends the interval: returns the flows that had traffic in it and the sums over them. Their
    /// counters go to 0 and they stay, so that their direction is remembered; flows that were idle
    /// for the whole interval are dropped.
    pub fn rotate(&mut self) -> (FlowMap, FlowCounters) {
        let mut flows = FlowMap::default();
        self.v4.rotate_into(&mut flows.v4);
        self.v6.rotate_into(&mut flows.v6);
        self.overflow_v4.drain_into(&mut flows.v4);
        self.overflow_v6.drain_into(&mut flows.v6);
        let totals = sum(&flows);
        (flows, totals)
    }

    /// The view that `rotate` would return, without changing anything.
    pub fn aggregate(&self) -> (FlowMap, FlowCounters) {
        let mut flows = FlowMap::default();
        self.v4.copy_into(&mut flows.v4);
        self.v6.copy_into(&mut flows.v6);
        self.overflow_v4.copy_into(&mut flows.v4);
        self.overflow_v6.copy_into(&mut flows.v6);
        let totals = sum(&flows);
        (flows, totals)
    }

    /// All flows, idle ones included, as people are shown them.
    pub fn all_flows(&self) -> FlowMap {
        FlowMap {
            v4: self.v4.to_vec(),
            v6: self.v6.to_vec(),
        }
    }
}

/// Summed from what is handed out and not from the running totals, so that the ledger's residue
/// would show a flow that got lost in the tables.
fn sum(flows: &FlowMap) -> FlowCounters {
    let mut totals = FlowCounters::default();
    for (_, flow) in &flows.v4 {
        totals += flow.counters;
    }
    for (_, flow) in &flows.v6 {
        totals += flow.counters;
    }
    totals
}

/// The packet's TCP flags that may carry a handshake: those of the record's first packet, since
/// or-ed flags of several packets would mix up SYN and SYN+ACK.
const fn first_tcp_flags(head: &RecordHead) -> u8 {
    if head.tcp_flags == 0 { 0 } else { head.aux }
}

#[cfg(test)]
mod tests;
