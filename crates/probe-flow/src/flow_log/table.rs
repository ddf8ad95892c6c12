//! The flows of one IP version.

use probe_common::{
    classify::{Direction, Evidence, classify_handshake},
    ephash::EpHash,
    headers::ip_protocol::{ICMP, ICMPV6, TCP},
    record::{FLAG_LATER_FRAGMENT, RecordHead},
};

use super::{
    buckets::{Buckets, Entry},
    first_tcp_flags,
    key::{EitherWay, FlowKey, Hashed, PackedKey as _},
    record::FlowRecord,
    table_flow::TableFlow,
    yielding::Yielding,
};
use crate::flow::Flow;

/// Key of a flow of this IP version, in words.
pub(super) type Packed<const N: usize> = <EpHash<N> as FlowKey>::Packed;

/// Flows by key, in the orientation that the evidence gave them.
#[derive(Debug)]
pub(super) struct FlowTable<const N: usize>
where
    EpHash<N>: FlowKey,
{
    flows: Buckets<Packed<N>>,
    classify: fn(&EpHash<N>, u8) -> Direction,
    /// Both directions of a conversation are one flow.
    either_way: EitherWay,
}

impl<const N: usize> FlowTable<N>
where
    EpHash<N>: FlowKey,
{
    pub(super) fn new(classify: fn(&EpHash<N>, u8) -> Direction, bidirectional: bool) -> Self {
        Self {
            flows: Buckets::new(),
            classify,
            either_way: EitherWay::new(bidirectional),
        }
    }

    /// A table without flows that classifies as this one does.
    pub(super) fn empty(&self) -> Self {
        Self::new(self.classify, self.either_way.is())
    }

    /// Copies the flow that packets of this key belong to, if `other` has it and this one does not.
    pub(super) fn adopt(&mut self, other: &Self, key: Packed<N>) {
        if let Some(entry) = other.flows.get(key, self.either_way)
            && self.flows.get(key, self.either_way).is_none()
        {
            self.flows.insert(self.flows.hash(key), *entry);
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.flows.len()
    }

    pub(super) const fn memory_bytes(&self) -> usize {
        self.flows.memory_bytes()
    }

    /// Hashes a key and begins to fetch its flow, which is about to be counted.
    #[inline(always)]
    pub(super) fn look_ahead(&self, key: Packed<N>) -> Hashed<Packed<N>> {
        let hash = self.flows.hash(key);
        self.flows.prefetch(hash);
        Hashed { key, hash }
    }

    /// Counts a record under its flow. Returns whether there is one.
    pub(super) fn count_any(&mut self, of: &Hashed<Packed<N>>, head: &RecordHead) -> bool {
        let Some(entry) = self.flows.find(of, self.either_way) else {
            return false;
        };
        count_telling(entry, of.key, head, self.either_way, self.classify);
        true
    }

    /// The same, fast, for a record that is no fragment. Returns what was counted, if there is a flow.
    ///
    /// The few records that may say something about the direction of their flow, and those that begin one,
    /// are told from all others first, by one question after the other: each is a branch that can be
    /// predicted, and what follows keeps nothing in memory on account of them.
    #[inline(always)]
    pub(super) fn count_known(
        &mut self,
        of: &Hashed<Packed<N>>,
        record: &impl FlowRecord<N>,
    ) -> Option<RecordHead> {
        let entry = self.flows.find(of, self.either_way)?;
        let head = record.head();
        if entry.flow.is_begun_by(head.first)
            || classify_handshake(head.aux).is_some()
            || may_be_icmp(of.key.ip_protocol())
        {
            count_telling(
                entry,
                of.key,
                &record.head(),
                self.either_way,
                self.classify,
            );
            return Some(record.head());
        }
        entry.flow.on_later_record(&head, head.last_or_fragment_id);
        Some(head)
    }

    /// The key of a new flow in the orientation that its first packet gives it, and why.
    pub(super) fn orient(&self, key: Packed<N>, head: &RecordHead) -> (Packed<N>, Evidence) {
        let Direction { reverse, evidence } = (self.classify)(&key.unpack(), head.aux);
        let is_turned = reverse && self.either_way.is();
        (if is_turned { key.reverse() } else { key }, evidence)
    }

    /// Adds a flow, which is not there yet, with its first record.
    pub(super) fn add(&mut self, key: Packed<N>, head: &RecordHead) {
        let (key, evidence) = self.orient(key, head);
        let flow = TableFlow::new(evidence, head);
        self.flows.insert(self.flows.hash(key), Entry { flow, key });
    }

    pub(super) fn rotate_into(&mut self, out: &mut Vec<(EpHash<N>, Flow)>) {
        out.reserve(self.flows.len());
        let mut yielding = Yielding::default();
        self.flows.retain(|Entry { key, flow }| {
            yielding.flow();
            if flow.is_idle() {
                return false;
            }
            out.push((key.unpack(), flow.flow()));
            flow.begin_interval();
            true
        });
    }

    /// Copies the flows that had traffic, but for those that `except` has.
    pub(super) fn copy_into(&self, out: &mut Vec<(EpHash<N>, Flow)>, except: &Self) {
        let mut yielding = Yielding::default();
        let active = self
            .flows
            .iter()
            .inspect(|_| yielding.flow())
            .filter(|entry| {
                !entry.flow.is_idle()
                    && except.flows.get(entry.key, EitherWay::new(false)).is_none()
            });
        out.extend(active.map(|entry| (entry.key.unpack(), entry.flow.flow())));
    }

    pub(super) fn to_vec(&self) -> Vec<(EpHash<N>, Flow)> {
        let entries = self.flows.iter();
        entries
            .map(|entry| (entry.key.unpack(), entry.flow.flow()))
            .collect()
    }
}

/// Whether a record may be of ICMP. Asked for each, so protocols 64, 128 and 192 further on pass for ICMP here.
#[inline(always)]
const fn may_be_icmp(ip_protocol: u8) -> bool {
    const ICMP_BITS: u64 = 1 << ICMP | 1 << ICMPV6;
    ICMP_BITS >> (ip_protocol % 64) & 1 != 0
}

/// Counts a record of a flow that may say something about its direction.
#[cold]
fn count_telling<const N: usize>(
    entry: &mut Entry<Packed<N>>,
    key: Packed<N>,
    head: &RecordHead,
    either_way: EitherWay,
    classify: fn(&EpHash<N>, u8) -> Direction,
) where
    EpHash<N>: FlowKey,
{
    let is_overtaking = entry.flow.on_record(head);
    if either_way.is() {
        correct_direction(entry, key, head, is_overtaking, classify);
    }
}

/// Replaces a guess by what a handshake or an ICMP type says, turning the flow round if the guess was
/// wrong. (Before a first ping over IPv6 the neighbours find each other, and the answer to that says
/// nothing about which side is the client.)
///
/// Where nothing else tells the direction, the source is the end that sent first, by the ticks: records may
/// come in another order than their packets. In one tick, the record that came first counts.
fn correct_direction<const N: usize>(
    entry: &mut Entry<Packed<N>>,
    key: Packed<N>,
    head: &RecordHead,
    is_overtaking: bool,
    classify: fn(&EpHash<N>, u8) -> Direction,
) where
    EpHash<N>: FlowKey,
{
    let evidence = entry.flow.evidence();
    if evidence.is_high_confidence() {
        return;
    }
    let verdict = match key.ip_protocol() {
        TCP => classify_handshake(first_tcp_flags(head)),
        // Has no ICMP header, whose type could be read.
        ICMP | ICMPV6 if head.flags & FLAG_LATER_FRAGMENT == 0 => {
            Some(classify(&key.unpack(), head.aux))
        }
        _ => None,
    };
    if let Some(verdict) = verdict.filter(|it| it.evidence.is_high_confidence()) {
        entry.flow.set_evidence(verdict.evidence);
        // It stays where it is: a key and its reverse have one hash.
        entry.key = if verdict.reverse { key.reverse() } else { key };
    } else if is_overtaking && evidence == Evidence::None && !entry.flow.is_of_earlier_interval() {
        entry.key = key;
    }
}
