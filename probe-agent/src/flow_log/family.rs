//! The flow log of one IP version: flows, what did not fit, and fragments that wait for theirs.

use probe_common::{
    classify::Direction,
    ephash::EpHash,
    record::{NOTE_FIRST_FRAGMENT, RecordHead},
};

use super::{
    FlowLogOptions,
    budget::Room,
    fragments::{Counted, FragmentTable, Released},
    key::FlowKey,
    overflow::OverflowTable,
    table::{FlowTable, Packed},
};
use crate::flow::Flow;

/// See the module documentation.
///
/// `others` is the number of flows of the other IP version, with which it shares the room and
/// `max_flows`.
#[derive(Debug)]
pub(super) struct FamilyLog<const N: usize>
where
    EpHash<N>: FlowKey,
{
    flows: FlowTable<N>,
    overflow: OverflowTable<N>,
    fragments: FragmentTable<N>,
    /// Fragments counted in flows without ports, since the log was made.
    unattributed_fragments: u64,
}

impl<const N: usize> FamilyLog<N>
where
    EpHash<N>: FlowKey,
{
    pub(super) fn new(classify: fn(&EpHash<N>, u8) -> Direction) -> Self {
        Self {
            flows: FlowTable::new(classify),
            overflow: OverflowTable::default(),
            fragments: FragmentTable::default(),
            unattributed_fragments: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.flows.memory_bytes()
    }

    pub(super) const fn unattributed_fragments(&self) -> u64 {
        self.unattributed_fragments
    }

    /// Begins to fetch the flow of a record that is about to be counted.
    #[inline]
    pub(super) fn prefetch(&self, key: &EpHash<N>, options: &FlowLogOptions) {
        self.flows.prefetch(options.flow_key(key));
    }

    /// Counts a record.
    #[inline(always)]
    pub(super) fn handle(
        &mut self,
        key: &EpHash<N>,
        head: &RecordHead,
        options: &FlowLogOptions,
        others: usize,
        room: &mut Room,
    ) {
        if head.is_fragment() {
            self.handle_fragment(*key, head, options, others, room);
        } else {
            self.count(key, head, options, others, room);
        }
    }

    #[cold]
    fn handle_fragment(
        &mut self,
        key: EpHash<N>,
        head: &RecordHead,
        options: &FlowLogOptions,
        others: usize,
        room: &mut Room,
    ) {
        if head.notes & NOTE_FIRST_FRAGMENT != 0 {
            self.count(&key, head, options, others, room);
        }
        let Released {
            attributed,
            unattributed,
        } = self.fragments.handle(key, head);
        if let Some((key, head)) = attributed {
            self.count(&key, &head, options, others, room);
        }
        if let Some(counted) = unattributed {
            self.count_unattributed(counted, options, others, room);
        }
    }

    fn count_unattributed(
        &mut self,
        (key, head): Counted<N>,
        options: &FlowLogOptions,
        others: usize,
        room: &mut Room,
    ) {
        self.unattributed_fragments += u64::from(head.packets);
        self.count(&key, &head, options, others, room);
    }

    #[inline(always)]
    fn count(
        &mut self,
        key: &EpHash<N>,
        head: &RecordHead,
        options: &FlowLogOptions,
        others: usize,
        room: &mut Room,
    ) {
        let is_used_up = room.is_used_up(self.flows.len() + others);
        let key = options.flow_key(key);
        if let Err(oriented) = self.flows.count(key, head, options, is_used_up) {
            self.count_new((key, head), oriented, options, room);
        }
    }

    /// Counts a record whose flow is new and needs room. That is not known before, so the flow has
    /// been looked for: once in vain for each chunk of room.
    #[cold]
    fn count_new(
        &mut self,
        (key, head): (Packed<N>, &RecordHead),
        oriented: EpHash<N>,
        options: &FlowLogOptions,
        room: &mut Room,
    ) {
        let is_full = !room.grow(options.max_flows);
        if is_full || self.flows.count(key, head, options, is_full).is_err() {
            self.overflow.count(oriented, head);
        }
    }

    /// Counts the fragments that wait, since the interval ends.
    pub(super) fn settle_fragments(
        &mut self,
        options: &FlowLogOptions,
        others: usize,
        room: &mut Room,
    ) {
        for counted in self.fragments.rotate() {
            self.count_unattributed(counted, options, others, room);
        }
    }

    /// Hands out the flows of the interval.
    pub(super) fn rotate_into(&mut self, out: &mut Vec<(EpHash<N>, Flow)>) {
        self.flows.rotate_into(out);
        self.overflow.drain_into(out);
    }

    /// Copies what a rotation would hand out. Returns the number of flows that would be in
    /// the log then.
    pub(super) fn copy_into(
        &self,
        out: &mut Vec<(EpHash<N>, Flow)>,
        options: &FlowLogOptions,
        others: usize,
    ) -> usize {
        let mut len = self.flows.len();
        let mut overflow = self.overflow.clone();
        // The flows to which waiting fragments would be counted, copied once there are any.
        let mut changed = self.flows.empty();
        for (key, head) in self.fragments.waiting() {
            let key = options.flow_key(&key);
            changed.adopt(&self.flows, key, options.bidirectional);
            let before = changed.len();
            let is_full = len + others >= options.max_flows;
            if let Err(key) = changed.count(key, &head, options, is_full) {
                overflow.count(key, &head);
            }
            len += changed.len() - before;
        }
        self.flows.copy_into(out, &changed);
        changed.copy_into(out, &self.flows.empty());
        overflow.drain_into(out);
        len
    }

    pub(super) fn to_vec(&self) -> Vec<(EpHash<N>, Flow)> {
        self.flows.to_vec()
    }
}
