//! The flow log of one IP version: flows, what did not fit, and fragments that wait for theirs.

use probe_common::{
    classify::Direction,
    ephash::EpHash,
    record::{FLAG_FIRST_FRAGMENT, Record, RecordHead},
};

use super::{
    AHEAD, FlowLogOptions, Shared,
    fragments::{Counted, FragmentTable, Released},
    key::{FlowKey, Hashed, PackedKey as _},
    overflow::OverflowTable,
    record::FlowRecord,
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
    pub(super) fn new(classify: fn(&EpHash<N>, u8) -> Direction, bidirectional: bool) -> Self {
        Self {
            flows: FlowTable::new(classify, bidirectional),
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

    pub(super) const fn overflow_packets(&self) -> u64 {
        self.overflow.packets()
    }

    /// Begins to fetch the flow of a record that is about to be counted.
    pub(super) fn prefetch(&self, record: &impl FlowRecord<N>, options: &FlowLogOptions) {
        self.look_ahead(record, options);
    }

    #[inline(always)]
    fn look_ahead(
        &self,
        record: &impl FlowRecord<N>,
        options: &FlowLogOptions,
    ) -> Hashed<Packed<N>> {
        self.flows.look_ahead(options.flow_key(record.key()))
    }

    /// Counts the records of this IP version up to the first other one, [`AHEAD`] at most. Returns how
    /// many they are.
    ///
    /// In two passes: the first has no branches that depend on the flows, so that fetches overlap, and
    /// the second finds the flows at hand.
    #[inline(always)]
    pub(super) fn handle_run<'a, R: FlowRecord<N> + 'a, Other>(
        &mut self,
        records: &'a [Record<'a>],
        of_this_version: impl Fn(&Record<'a>) -> Result<&'a R, Other>,
        others: usize,
        shared: &mut Shared,
    ) -> usize {
        let records = &records[..records.len().min(AHEAD)];
        let mut ahead = [Hashed::default(); AHEAD];
        let mut handled = 0;
        for (ahead, record) in ahead.iter_mut().zip(records) {
            let Ok(record) = of_this_version(record) else {
                break;
            };
            *ahead = self.look_ahead(record, &shared.options);
            handled += 1;
        }
        for (of, record) in ahead.iter().zip(&records[..handled]) {
            if let Ok(record) = of_this_version(record) {
                self.handle(of, record, others, shared);
            }
        }
        handled
    }

    /// Counts a record by itself.
    pub(super) fn handle_one(
        &mut self,
        record: &impl FlowRecord<N>,
        others: usize,
        shared: &mut Shared,
    ) {
        let of = self.look_ahead(record, &shared.options);
        self.handle(&of, record, others, shared);
    }

    /// Counts a record, of which [`Self::look_ahead`] gave the key.
    #[inline(always)]
    fn handle(
        &mut self,
        of: &Hashed<Packed<N>>,
        record: &impl FlowRecord<N>,
        others: usize,
        shared: &mut Shared,
    ) {
        if record.head().is_fragment() {
            self.handle_fragment((*record.key(), record.head()), others, shared);
            return;
        }
        if let Some(head) = self.flows.count_known(of, record) {
            // The head that is in registers, not read once more.
            shared.totals.on_record(&head);
        } else {
            self.count_first(of.key, &record.head(), others, shared);
        }
    }

    #[cold]
    fn count_first(
        &mut self,
        key: Packed<N>,
        head: &RecordHead,
        others: usize,
        shared: &mut Shared,
    ) {
        shared.totals.on_record(head);
        self.count_new(key, head, others, shared);
    }

    #[cold]
    fn handle_fragment(&mut self, fragment: Counted<N>, others: usize, shared: &mut Shared) {
        let (key, head) = fragment;
        shared.totals.on_record(&head);
        if head.flags & FLAG_FIRST_FRAGMENT != 0 {
            self.count(&fragment, others, shared);
        }
        let Released {
            attributed,
            unattributed,
        } = self.fragments.handle(key, &head);
        if let Some(counted) = attributed {
            self.count(&counted, others, shared);
        }
        if let Some(counted) = unattributed {
            self.count_unattributed(&counted, others, shared);
        }
    }

    fn count_unattributed(&mut self, counted: &Counted<N>, others: usize, shared: &mut Shared) {
        self.unattributed_fragments += u64::from(counted.1.packets);
        self.count(counted, others, shared);
    }

    fn count(&mut self, counted: &Counted<N>, others: usize, shared: &mut Shared) {
        let of = self.look_ahead(counted, &shared.options);
        if !self.flows.count_any(&of, &counted.1) {
            self.count_new(of.key, &counted.1, others, shared);
        }
    }

    /// Counts a record whose flow is new and needs room.
    #[cold]
    fn count_new(&mut self, key: Packed<N>, head: &RecordHead, others: usize, shared: &mut Shared) {
        let Shared { options, room, .. } = shared;
        let is_used_up = room.is_used_up(self.flows.len() + others);
        if is_used_up && !room.grow(options.max_flows) {
            let (key, _) = self.flows.orient(key, head);
            self.overflow.count(key.unpack(), head);
        } else {
            self.flows.add(key, head);
        }
    }

    /// Counts the fragments that wait, since the interval ends.
    pub(super) fn settle_fragments(&mut self, others: usize, shared: &mut Shared) {
        for counted in self.fragments.rotate() {
            self.count_unattributed(&counted, others, shared);
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
        for counted in self.fragments.waiting() {
            let (key, head) = (options.flow_key(&counted.0), &counted.1);
            changed.adopt(&self.flows, key);
            let of = changed.look_ahead(key);
            if changed.count_any(&of, head) {
                continue;
            }
            if len + others >= options.max_flows {
                let (key, _) = changed.orient(key, head);
                overflow.count(key.unpack(), head);
            } else {
                changed.add(key, head);
                len += 1;
            }
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
