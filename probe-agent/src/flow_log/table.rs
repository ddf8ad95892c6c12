//! The flows of one IP version.

use probe_common::{
    classify::{Direction, classify_handshake},
    ephash::EpHash,
    ports::{ICMP, ICMPV6, TCP},
    record::{NOTE_LATER_FRAGMENT, RecordHead},
};

use super::{
    FlowLogOptions, first_tcp_flags,
    key::{FlowKey, PackedKey as _},
    slots::{Entry, Slots},
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
    flows: Slots<Packed<N>>,
    classify: fn(&EpHash<N>, u8) -> Direction,
}

impl<const N: usize> FlowTable<N>
where
    EpHash<N>: FlowKey,
{
    pub(super) fn new(classify: fn(&EpHash<N>, u8) -> Direction) -> Self {
        Self {
            flows: Slots::new(),
            classify,
        }
    }

    /// A table without flows that classifies as this one does.
    pub(super) fn empty(&self) -> Self {
        Self::new(self.classify)
    }

    /// Copies the flow that packets of this key belong to, if `other` has it and this one does not.
    pub(super) fn adopt(&mut self, other: &Self, key: Packed<N>, bidirectional: bool) {
        if let Some(entry) = other.flows.get(key, bidirectional)
            && self.flows.get(key, bidirectional).is_none()
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

    /// Begins to fetch the flow of a key, which is about to be counted.
    #[inline]
    pub(super) fn prefetch(&self, key: Packed<N>) {
        self.flows.prefetch(self.flows.hash(key));
    }

    /// Counts a record under its flow. If the flow is new and the log is full, gives back the key
    /// in the orientation that the flow would have had.
    #[inline(always)]
    pub(super) fn count(
        &mut self,
        key: Packed<N>,
        head: &RecordHead,
        options: &FlowLogOptions,
        is_full: bool,
    ) -> Result<(), EpHash<N>> {
        let hash = self.flows.hash(key);
        let Some(entry) = self.flows.find(key, hash, options.bidirectional) else {
            return self.count_new(key, hash, head, options, is_full);
        };
        entry.flow.on_record(head);
        if options.bidirectional && !entry.flow.evidence.is_high_confidence() {
            correct_direction(entry, key, head, self.classify);
        }
        Ok(())
    }

    #[cold]
    fn count_new(
        &mut self,
        key: Packed<N>,
        hash: u64,
        head: &RecordHead,
        options: &FlowLogOptions,
        is_full: bool,
    ) -> Result<(), EpHash<N>> {
        let Direction { reverse, evidence } = (self.classify)(&key.unpack(), head.aux);
        let key = if reverse && options.bidirectional {
            key.reverse()
        } else {
            key
        };
        if is_full {
            return Err(key.unpack());
        }
        let mut flow = Flow {
            evidence,
            ..Flow::default()
        };
        flow.on_record(head);
        self.flows.insert(hash, Entry { flow, key });
        Ok(())
    }

    pub(super) fn rotate_into(&mut self, out: &mut Vec<(EpHash<N>, Flow)>) {
        out.reserve(self.flows.len());
        self.flows.retain(|Entry { key, flow }| {
            if flow.is_idle() {
                return false;
            }
            out.push((key.unpack(), *flow));
            flow.begin_interval();
            true
        });
    }

    /// Copies the flows that had traffic, but for those that `except` has.
    pub(super) fn copy_into(&self, out: &mut Vec<(EpHash<N>, Flow)>, except: &Self) {
        let active = self
            .flows
            .iter()
            .filter(|entry| !entry.flow.is_idle() && except.flows.get(entry.key, false).is_none());
        out.extend(active.map(|entry| (entry.key.unpack(), entry.flow)));
    }

    pub(super) fn to_vec(&self) -> Vec<(EpHash<N>, Flow)> {
        let entries = self.flows.iter();
        entries
            .map(|entry| (entry.key.unpack(), entry.flow))
            .collect()
    }
}

/// Replaces a guess by what a handshake or an ICMP type says, turning the flow round if the guess was
/// wrong. (Before a first ping over IPv6 the neighbours find each other, and the answer to that says
/// nothing about who is the client.)
#[inline]
fn correct_direction<const N: usize>(
    entry: &mut Entry<Packed<N>>,
    key: Packed<N>,
    head: &RecordHead,
    classify: fn(&EpHash<N>, u8) -> Direction,
) where
    EpHash<N>: FlowKey,
{
    let verdict = match key.ip_protocol() {
        TCP => classify_handshake(first_tcp_flags(head)),
        // Has no ICMP header, whose type could be read.
        ICMP | ICMPV6 if head.notes & NOTE_LATER_FRAGMENT == 0 => {
            Some(classify(&key.unpack(), head.aux))
        }
        _ => None,
    };
    if let Some(verdict) = verdict.filter(|it| it.evidence.is_high_confidence()) {
        entry.flow.evidence = verdict.evidence;
        // It stays where it is: a key and its reverse have one hash.
        entry.key = if verdict.reverse { key.reverse() } else { key };
    }
}
