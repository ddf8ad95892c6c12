//! The flow log: the flows of one interface, counted record by record and handed out at rotation.
//!
//! Sans-IO: it knows no clock, no runtime and no kernel. It is driven by [`FlowLog::handle_records`]
//! and read by [`FlowLog::rotate`] and [`FlowLog::aggregate`].

mod aggregation;
mod buckets;
mod budget;
mod family;
mod fragments;
mod hash;
mod key;
mod overflow;
mod prefetch;
mod record;
mod table;
mod table_flow;
mod yielding;

use std::sync::Arc;

use probe_common::{
    classify::{classify_v4, classify_v6},
    ephash::EpHash,
    record::{Record, RecordHead, RecordV4, RecordV6},
};

pub use self::budget::FlowBudget;
use self::{
    budget::Room,
    family::FamilyLog,
    key::{FlowKey, PackedKey as _},
    table::Packed,
    yielding::Yielding,
};
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

impl FlowLogOptions {
    #[inline]
    fn flow_key<const N: usize>(&self, key: &EpHash<N>) -> Packed<N>
    where
        EpHash<N>: FlowKey,
    {
        Packed::<N>::pack(key, self.port_aggregation)
    }
}

/// Flows that are fetched at once: more than any processor has fetches under way.
const AHEAD: usize = 32;

/// A record if it is of IPv4, or else that of IPv6. (An `Option` of a reference would be asked twice.)
const fn as_v4<'a>(record: &Record<'a>) -> Result<&'a RecordV4, &'a RecordV6> {
    match record {
        Record::V4(record) => Ok(record),
        Record::V6(record) => Err(record),
    }
}

/// The other way round.
const fn as_v6<'a>(record: &Record<'a>) -> Result<&'a RecordV6, &'a RecordV4> {
    match record {
        Record::V6(record) => Ok(record),
        Record::V4(record) => Err(record),
    }
}

/// What the flows of both IP versions share.
#[derive(Debug)]
struct Shared {
    options: FlowLogOptions,
    room: Room,
    /// Everything since the log was made; unlike the flows', never reset.
    totals: FlowCounters,
}

/// The flows of one interface. Not thread-safe: its owner locks it.
#[derive(Debug)]
pub struct FlowLog {
    v4: FamilyLog<4>,
    v6: FamilyLog<16>,
    shared: Shared,
}

impl FlowLog {
    /// An empty log, bounded by its own `max_flows` alone.
    pub fn new(options: FlowLogOptions) -> Self {
        Self::with_budget(options, Arc::default())
    }

    /// An empty log that shares a budget with others.
    pub fn with_budget(options: FlowLogOptions, budget: Arc<FlowBudget>) -> Self {
        Self {
            v4: FamilyLog::new(classify_v4, options.bidirectional),
            v6: FamilyLog::new(classify_v6, options.bidirectional),
            shared: Shared {
                options,
                room: Room::new(budget),
                totals: FlowCounters::default(),
            },
        }
    }

    /// Counts records, as [`Self::handle_record`] does one by one, but fetches the flows of many from
    /// memory at once.
    pub fn handle_records(&mut self, records: &[Record<'_>]) {
        if let [record] = records {
            return self.handle_record(*record);
        }
        for records in records.chunks(AHEAD) {
            let handled = self.handle_run(records);
            if handled < records.len() {
                self.handle_mixed(&records[handled..]);
            }
        }
    }

    /// Counts one record. A fragment without ports is counted when its flow is known: at the latest
    /// at the end of the interval.
    pub fn handle_record(&mut self, record: Record<'_>) {
        let Self { v4, v6, shared } = self;
        match record {
            Record::V4(record) => v4.handle_one(record, v6.len(), shared),
            Record::V6(record) => v6.handle_one(record, v4.len(), shared),
        }
    }

    /// Counts the records up to the first of the other IP version, [`AHEAD`] at most. Returns how many
    /// they are.
    fn handle_run(&mut self, records: &[Record<'_>]) -> usize {
        let Self { v4, v6, shared } = self;
        match records.first() {
            Some(Record::V4(_)) => v4.handle_run(records, as_v4, v6.len(), shared),
            Some(Record::V6(_)) => v6.handle_run(records, as_v6, v4.len(), shared),
            None => 0,
        }
    }

    /// Counts records of both IP versions in their order, since both take from the same room. Runs of
    /// one may be short, so the flows of all are fetched first.
    #[cold]
    fn handle_mixed(&mut self, mut records: &[Record<'_>]) {
        for record in records {
            match record {
                Record::V4(record) => self.v4.prefetch(*record, &self.shared.options),
                Record::V6(record) => self.v6.prefetch(*record, &self.shared.options),
            }
        }
        while !records.is_empty() {
            records = &records[self.handle_run(records)..];
        }
    }

    /// Flows in the log, idle ones included, overflow flows not.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Memory of the flows in bytes, with the room that is kept for more; that of overflow flows and
    /// fragments, which are bounded, aside.
    pub fn memory_bytes(&self) -> usize {
        self.v4.memory_bytes() + self.v6.memory_bytes()
    }

    /// Whether no flow is in the log.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sums over all records since the log was made. Never goes back.
    pub const fn totals(&self) -> FlowCounters {
        self.shared.totals
    }

    /// Fragments whose first one was not seen in the same interval, or too long before or after
    /// them: they are in flows, but without ports. Since the log was made; never goes back.
    pub const fn unattributed_fragments(&self) -> u64 {
        self.v4.unattributed_fragments() + self.v6.unattributed_fragments()
    }

    /// Packets in overflow flows, since the log was made; never goes back.
    pub const fn overflow_packets(&self) -> u64 {
        self.v4.overflow_packets() + self.v6.overflow_packets()
    }

    /// Ends the interval: returns the flows that had traffic in it and the sums over them. Their
    /// counters go to 0 and they stay, so that their direction is remembered; flows that were idle
    /// for the whole interval are dropped.
    pub fn rotate(&mut self) -> (FlowMap, FlowCounters) {
        let mut flows = FlowMap::default();
        self.v4.settle_fragments(self.v6.len(), &mut self.shared);
        self.v6.settle_fragments(self.v4.len(), &mut self.shared);
        self.v4.rotate_into(&mut flows.v4);
        self.v6.rotate_into(&mut flows.v6);
        self.shared.room.shrink(self.len());
        let totals = sum(&flows);
        (flows, totals)
    }

    /// The view that `rotate` would return, without changing anything. If other logs take from a
    /// shared budget meanwhile, or give back, then fragments that wait may come to be in overflow
    /// flows here and in flows of their own there, or the other way round; the totals are the same.
    pub fn aggregate(&self) -> (FlowMap, FlowCounters) {
        let mut flows = FlowMap::default();
        let options = &FlowLogOptions {
            max_flows: self.shared.room.reach(self.shared.options.max_flows),
            ..self.shared.options
        };
        let v4_len = self.v4.copy_into(&mut flows.v4, options, self.v6.len());
        self.v6.copy_into(&mut flows.v6, options, v4_len);
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
    let mut yielding = Yielding::default();
    let v4 = flows.v4.iter().map(|(_, flow)| flow);
    for flow in v4.chain(flows.v6.iter().map(|(_, flow)| flow)) {
        totals += flow.counters;
        yielding.flow();
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
