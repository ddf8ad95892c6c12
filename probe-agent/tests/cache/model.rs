//! What the programs' cache should do: the same L1, insert batch and L2, in a few lines.

use std::collections::BTreeMap;

use probe_common::{
    coalesce::{
        Coalesce, INSERT_BATCH_LEN, l1_tag, preferred_slot,
        tags::{Tags, WAYS, WayState, tag},
    },
    record::{IntoRecord as _, Record, RecordHead, RecordV4, RecordV6},
};

/// A record without its times, of which those of one packet are checked elsewhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Owned {
    V4(RecordV4),
    V6(RecordV6),
}

impl Owned {
    pub(crate) fn from_record(record: Record<'_>) -> Self {
        let head = record.head();
        assert!(
            !probe_common::record::tick_after(head.first, head.last()),
            "{record:?}"
        );
        let timeless = RecordHead {
            first: 0,
            last_or_fragment_id: head.fragment_id(),
            ..head
        };
        match record {
            Record::V4(record) => Self::V4(record.key.into_record(timeless)),
            Record::V6(record) => Self::V6(record.key.into_record(timeless)),
        }
    }

    pub(crate) fn record(&self) -> Record<'_> {
        match self {
            Self::V4(record) => Record::V4(record),
            Self::V6(record) => Record::V6(record),
        }
    }
}

/// What a packet looks up in L1 for its flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lookup {
    None,
    PreferredSlot,
    Set,
}

/// An area of the cache of both IP versions, as it should be.
pub(crate) struct Model {
    v4: Area<RecordV4>,
    v6: Area<RecordV6>,
}

impl Model {
    pub(crate) fn new(slots: Slots) -> Self {
        Self {
            v4: Area::new(slots),
            v6: Area::new(slots),
        }
    }

    /// Inserts a record of one packet; returns the records that must leave through the ring.
    pub(crate) fn insert(&mut self, record: Owned, lookup: Lookup) -> Vec<Owned> {
        match record {
            Owned::V4(record) => owned(self.v4.insert(record, lookup), Owned::V4),
            Owned::V6(record) => owned(self.v6.insert(record, lookup), Owned::V6),
        }
    }

    /// How many insert batches have filled up.
    pub(crate) const fn full_batches(&self) -> usize {
        self.v4.full_batches + self.v6.full_batches
    }

    pub(crate) fn open(&self) -> Vec<Owned> {
        let mut open = owned(self.v4.open(), Owned::V4);
        open.extend(owned(self.v6.open(), Owned::V6));
        open
    }
}

fn owned<R>(records: Vec<R>, owned: fn(R) -> Owned) -> Vec<Owned> {
    records.into_iter().map(owned).collect()
}

/// Slots of L1 and L2.
pub(crate) type Slots = [u32; 2];

/// L1 only, as on many CPUs; both levels; both, with room for all.
pub(crate) const SLOTS: [Slots; 3] = [[64, 0], [64, 128], [4096, 8192]];

struct Area<R> {
    slots: Slots,
    l1: BTreeMap<u32, R>,
    /// The insert batch.
    batch: Vec<R>,
    full_batches: usize,
    tags: BTreeMap<u32, Tags>,
    l2: BTreeMap<u32, R>,
}

impl<R: Coalesce> Area<R> {
    fn new(slots: Slots) -> Self {
        Self {
            slots,
            l1: BTreeMap::new(),
            batch: Vec::new(),
            full_batches: 0,
            tags: BTreeMap::new(),
            l2: BTreeMap::new(),
        }
    }

    /// Inserts a record of one packet; returns the records that must leave through the ring.
    fn insert(&mut self, record: R, lookup: Lookup) -> Vec<R> {
        if !record.is_coalescible() {
            return vec![record];
        }
        let is_last_of_batch = self.batch.len() == INSERT_BATCH_LEN - 1;
        let preferred = preferred_slot(record.l1_hash(), self.slots[0]);
        if lookup == Lookup::PreferredSlot
            && let Some(open) = self.l1.get_mut(&preferred)
            && open.merge(&record)
        {
            return Vec::new();
        }
        if lookup != Lookup::Set
            && self.slots[1] != 0
            && !record.is_order_sensitive()
            && !record.starts_connection()
            && !is_last_of_batch
        {
            self.batch.push(record);
            return Vec::new();
        }
        let slot = self.choose_l1_slot(&record);
        if self.slots[1] == 0 {
            return merge_or_evict(&mut self.l1, slot, record)
                .into_iter()
                .collect();
        }
        if record.is_order_sensitive() {
            return self.merge_into_l2(record).into_iter().collect();
        }
        let Some(open) = self.l1.get_mut(&slot) else {
            self.l1.insert(slot, record);
            return Vec::new();
        };
        if open.merge(&record) {
            return Vec::new();
        }
        let replaces = is_last_of_batch || record.starts_connection();
        let evicted = if replaces {
            std::mem::replace(open, record)
        } else {
            record
        };
        self.batch.push(evicted);
        if self.batch.len() < INSERT_BATCH_LEN {
            return Vec::new();
        }
        self.full_batches += 1;
        let full = std::mem::take(&mut self.batch);
        let left = full.into_iter().filter_map(|it| self.merge_into_l2(it));
        left.collect()
    }

    /// The slot with its tag, or its preferred one if vacant, or another vacant one of the set, or its
    /// preferred one all the same.
    fn choose_l1_slot(&self, record: &R) -> u32 {
        let preferred = preferred_slot(record.l1_hash(), self.slots[0]);
        let tag_of = |record: &R| l1_tag(record.l1_hash());
        let first = preferred / WAYS * WAYS;
        let set = || [preferred].into_iter().chain(first..first + WAYS);
        let has_tag = |slot: &u32| {
            let open = self.l1.get(slot);
            open.is_some_and(|open| tag_of(open) == tag_of(record))
        };
        let vacant = |slot: &u32| !self.l1.contains_key(slot);
        let slot = set().find(has_tag).or_else(|| set().find(vacant));
        slot.unwrap_or(preferred)
    }

    fn merge_into_l2(&mut self, record: R) -> Option<R> {
        let hash = record.l2_hash();
        let set = hash % (self.slots[1] / R::L2_DIVISOR / WAYS);
        let tags = self.tags.entry(set).or_default();
        let choice = tags.choose(hash);
        *tags = tags.with(choice.way, tag(hash));
        let slot = set * WAYS + choice.way;
        assert_eq!(
            choice.state == WayState::Vacant,
            !self.l2.contains_key(&slot)
        );
        merge_or_evict(&mut self.l2, slot, record)
    }

    fn open(&self) -> Vec<R> {
        let open = self.l2.values().chain(&self.batch);
        open.chain(self.l1.values()).copied().collect()
    }
}

/// Merges a record into the one in a slot, or evicts and returns that one.
fn merge_or_evict<R: Coalesce>(open: &mut BTreeMap<u32, R>, slot: u32, record: R) -> Option<R> {
    if open.get_mut(&slot).is_some_and(|open| open.merge(&record)) {
        return None;
    }
    open.insert(slot, record)
}
