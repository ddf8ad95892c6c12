//! What the programs' cache should do: the same front, row and back, in a few lines.

use std::collections::BTreeMap;

use probe_common::{
    coalesce::{
        Coalesce, PENDING, quick_place, quick_tag,
        tags::{Found, Tags, WAYS, tag},
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
    pub(crate) fn of(record: Record<'_>) -> Self {
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

/// How far a packet looks into the front for its flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Look {
    Nowhere,
    AtHome,
    InSet,
}

/// An area of the cache with its rows, as it should be.
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

    /// Takes a record of one packet, which looks so far into the front; returns what must leave.
    pub(crate) fn put(&mut self, record: Owned, look: Look) -> Vec<Owned> {
        match record {
            Owned::V4(record) => owned(self.v4.put(record, look), Owned::V4),
            Owned::V6(record) => owned(self.v6.put(record, look), Owned::V6),
        }
    }

    /// How many rows have filled up.
    pub(crate) const fn full_rows(&self) -> usize {
        self.v4.full_rows + self.v6.full_rows
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

/// Slots of front and back.
pub(crate) type Slots = [u32; 2];

/// Front only, as on many CPUs; both; both, with room for all.
pub(crate) const SLOTS: [Slots; 3] = [[64, 0], [64, 128], [4096, 8192]];

struct Area<R> {
    slots: Slots,
    front: BTreeMap<u32, R>,
    /// What waits.
    row: Vec<R>,
    full_rows: usize,
    tags: BTreeMap<u32, Tags>,
    back: BTreeMap<u32, R>,
}

impl<R: Coalesce> Area<R> {
    fn new(slots: Slots) -> Self {
        Self {
            slots,
            front: BTreeMap::new(),
            row: Vec::new(),
            full_rows: 0,
            tags: BTreeMap::new(),
            back: BTreeMap::new(),
        }
    }

    /// Takes a record of one packet, which looks so far into the front; returns what must leave.
    fn put(&mut self, record: R, look: Look) -> Vec<R> {
        if !record.is_coalescible() {
            return vec![record];
        }
        let is_last_of_row = self.row.len() == PENDING - 1;
        let home = quick_place(record.quick_hash(), self.slots[0]);
        if look == Look::AtHome
            && let Some(open) = self.front.get_mut(&home)
            && open.absorb(&record)
        {
            return Vec::new();
        }
        if look != Look::InSet
            && self.slots[1] != 0
            && !record.is_told_by_order()
            && !record.must_follow()
            && !is_last_of_row
        {
            self.row.push(record);
            return Vec::new();
        }
        let slot = self.place_in_front(&record);
        if self.slots[1] == 0 {
            return take_in(&mut self.front, slot, record).into_iter().collect();
        }
        if record.is_told_by_order() {
            return self.take_into_back(record).into_iter().collect();
        }
        let Some(open) = self.front.get_mut(&slot) else {
            self.front.insert(slot, record);
            return Vec::new();
        };
        if open.absorb(&record) {
            return Vec::new();
        }
        let takes_the_place = is_last_of_row || record.must_follow();
        let aside = if takes_the_place {
            std::mem::replace(open, record)
        } else {
            record
        };
        self.row.push(aside);
        if self.row.len() < PENDING {
            return Vec::new();
        }
        self.full_rows += 1;
        let full = std::mem::take(&mut self.row);
        let left = full.into_iter().filter_map(|it| self.take_into_back(it));
        left.collect()
    }

    /// Where its tag is, or its home, or another vacant one of the set, or its home all the same.
    fn place_in_front(&self, record: &R) -> u32 {
        let home = quick_place(record.quick_hash(), self.slots[0]);
        let tag_of = |record: &R| quick_tag(record.quick_hash());
        let first = home / WAYS * WAYS;
        let set = || [home].into_iter().chain(first..first + WAYS);
        let has_tag = |slot: &u32| {
            let open = self.front.get(slot);
            open.is_some_and(|open| tag_of(open) == tag_of(record))
        };
        let vacant = |slot: &u32| !self.front.contains_key(slot);
        let slot = set().find(has_tag).or_else(|| set().find(vacant));
        slot.unwrap_or(home)
    }

    fn take_into_back(&mut self, record: R) -> Option<R> {
        let hash = record.hash();
        let set = hash % (self.slots[1] / R::BACK_PART / WAYS);
        let tags = self.tags.entry(set).or_default();
        let place = tags.place(hash);
        *tags = tags.with(place.way, tag(hash));
        let slot = set * WAYS + place.way;
        assert_eq!(place.found == Found::Vacant, !self.back.contains_key(&slot));
        take_in(&mut self.back, slot, record)
    }

    fn open(&self) -> Vec<R> {
        let open = self.back.values().chain(&self.row);
        open.chain(self.front.values()).copied().collect()
    }
}

/// Adds a record to the one in a slot, or puts it there; returns what was there before.
fn take_in<R: Coalesce>(open: &mut BTreeMap<u32, R>, slot: u32, record: R) -> Option<R> {
    if open.get_mut(&slot).is_some_and(|open| open.absorb(&record)) {
        return None;
    }
    open.insert(slot, record)
}
