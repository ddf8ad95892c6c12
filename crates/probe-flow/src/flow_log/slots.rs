//! Flows in one piece of memory: an open hash table whose entries lie in the table itself.
//!
//! With many flows a record costs what its fetches from memory cost. Here it is one, of one line of
//! the cache with IPv4, and [`Slots::prefetch`] starts it before it is needed. Tables with control
//! octets beside the entries take two, the second of which depends on the first.
//!
//! Linear probing: an entry lies in the first slot that was free from its home on. Its home is the
//! hash scaled to the number of slots, which need not be a power of two: the table grows by half,
//! and so stays small.

use super::{
    hash::KeyHasher,
    key::{Hashed, PackedKey},
};
use crate::flow::Flow;

/// A table has a multiple of so many slots.
const ROW: usize = 8;

/// With more than so many of so many slots taken the walks over taken ones would grow long.
const TAKEN: (usize, usize) = (4, 5);

/// Up to so many rows memory is no matter: no more than [`FEW_TAKEN`] are taken, so that most entries
/// are found at once. Whether one is nobody can predict, and a wrong guess costs more than the fetch.
const FEW_ROWS: usize = 2048;
const FEW_TAKEN: (usize, usize) = (1, 4);

/// A table with more than so many slots for each entry is made smaller, to [`ROOMY`] for each.
const SPARSE: usize = 8;
const ROOMY: usize = 3;

/// A flow and its key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<K> {
    pub(super) flow: Flow,
    pub(super) key: K,
}

/// Room for an entry. Those of IPv4 have one line of the cache each.
#[derive(Clone, Copy, Debug)]
struct Slot<K: PackedKey> {
    entry: Option<Entry<K>>,
    _aligned: [K::Alignment; 0],
}

impl<K: PackedKey> Slot<K> {
    const VACANT: Self = Self {
        entry: None,
        _aligned: [],
    };
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Slots<K: PackedKey> {
    table: Box<[Slot<K>]>,
    taken: usize,
    hasher: KeyHasher,
}

impl<K: PackedKey> Slots<K> {
    pub(super) fn new() -> Self {
        Self {
            table: Box::default(),
            taken: 0,
            hasher: KeyHasher::new(),
        }
    }

    /// Entries in the table.
    pub(super) const fn len(&self) -> usize {
        self.taken
    }

    /// Memory of all slots.
    pub(super) const fn memory_bytes(&self) -> usize {
        size_of_val(&*self.table)
    }

    /// The hash of a key, which is that of its reverse.
    #[inline]
    pub(super) fn hash(&self, key: K) -> u64 {
        key.hash(&self.hasher)
    }

    /// Where entries of this hash lie if there is room.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "less than the number of slots"
    )]
    const fn home(&self, hash: u64) -> usize {
        ((hash as u128 * self.table.len() as u128) >> 64) as usize
    }

    #[inline]
    const fn after(&self, slot: usize) -> usize {
        if slot + 1 == self.table.len() {
            0
        } else {
            slot + 1
        }
    }

    #[inline]
    fn slot(&self, slot: usize) -> Option<&Entry<K>> {
        self.table.get(slot)?.entry.as_ref()
    }

    #[inline]
    fn slot_mut(&mut self, slot: usize) -> &mut Option<Entry<K>> {
        &mut self.table[slot].entry
    }

    /// Begins to fetch the entry of a hash from memory.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        super::prefetch::prefetch(self.table.as_ptr().wrapping_add(self.home(hash)));
    }

    /// The entry of a key, or of its reverse if `either_way`.
    #[inline(always)]
    pub(super) fn find(&mut self, of: &Hashed<K>, either_way: bool) -> Option<&mut Entry<K>> {
        let home = self.home(of.hash);
        if self.has(home, of, either_way)? {
            return self.slot_mut(home).as_mut();
        }
        let slot = self.find_behind(home, of, either_way)?;
        self.slot_mut(slot).as_mut()
    }

    /// The same to look at.
    pub(super) fn get(&self, key: K, either_way: bool) -> Option<&Entry<K>> {
        let hash = self.hash(key);
        let of = Hashed { key, hash };
        let home = self.home(hash);
        if self.has(home, &of, either_way)? {
            return self.slot(home);
        }
        let slot = self.find_behind(home, &of, either_way)?;
        self.slot(slot)
    }

    /// Whether the entry in a slot is that of a key. `None` if there is no entry.
    #[inline(always)]
    fn has(&self, slot: usize, of: &Hashed<K>, either_way: bool) -> Option<bool> {
        let entry = self.slot(slot)?;
        Some(entry.key.is(of.key, either_way))
    }

    /// Where the entry of a key lies that is not at home. Apart, so that what most look-ups need
    /// is short.
    #[inline(never)]
    fn find_behind(&self, home: usize, of: &Hashed<K>, either_way: bool) -> Option<usize> {
        let mut slot = self.after(home);
        while !self.has(slot, of, either_way)? {
            slot = self.after(slot);
        }
        Some(slot)
    }

    /// Adds an entry whose key is not there yet.
    pub(super) fn insert(&mut self, hash: u64, entry: Entry<K>) {
        let (most, of_slots) = if self.table.len() < FEW_ROWS * ROW {
            FEW_TAKEN
        } else {
            TAKEN
        };
        if (self.taken + 1) * of_slots > self.table.len() * most {
            self.grow();
        }
        self.place(hash, entry);
        self.taken += 1;
    }

    fn place(&mut self, hash: u64, entry: Entry<K>) {
        let mut slot = self.home(hash);
        while self.slot(slot).is_some() {
            slot = self.after(slot);
        }
        *self.slot_mut(slot) = Some(entry);
    }

    /// By half, at least by a row.
    #[cold]
    fn grow(&mut self) {
        let rows = self.table.len() / ROW;
        self.resize(rows + (rows / 2).max(1));
    }

    /// Moves all entries into a table of so many rows: in the order of their hashes, so both tables
    /// are walked through once.
    fn resize(&mut self, rows: usize) {
        let vacant = vec![Slot::VACANT; rows * ROW].into_boxed_slice();
        let full = std::mem::replace(&mut self.table, vacant);
        for entry in full.iter().filter_map(|slot| slot.entry) {
            self.place(self.hash(entry.key), entry);
        }
    }

    /// Removes the entries of which `keep` says no, and frees memory if few are left.
    pub(super) fn retain(&mut self, keep: impl FnMut(&mut Entry<K>) -> bool) {
        self.sweep(keep);
        if self.taken * SPARSE < self.table.len() {
            self.resize((ROOMY * self.taken).div_ceil(ROW));
        }
    }

    fn sweep(&mut self, mut keep: impl FnMut(&mut Entry<K>) -> bool) {
        let Some(vacant) = (0..self.table.len()).find(|slot| self.slot(*slot).is_none()) else {
            return;
        };
        // Begins behind a vacant slot: so each entry comes after all of those that it may lie
        // behind, and moves at most to where one of them was.
        let mut slot = self.after(vacant);
        let mut has_gap = false;
        while slot != vacant {
            let found = self.slot_mut(slot);
            match found.as_mut().map(&mut keep) {
                None => has_gap = false,
                Some(false) => {
                    *found = None;
                    self.taken -= 1;
                    has_gap = true;
                }
                Some(true) if has_gap => {
                    if let Some(entry) = found.take() {
                        self.place(self.hash(entry.key), entry);
                    }
                }
                Some(true) => {}
            }
            slot = self.after(slot);
        }
    }

    /// All entries, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry<K>> {
        self.table.iter().filter_map(|slot| slot.entry.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use probe_common::ephash::EpHash;
    use proptest::prelude::*;

    use super::{Entry, ROW, SPARSE, Slot, Slots};
    use crate::{
        flow::{Flow, FlowCounters},
        flow_log::key::{Hashed, PackedKey as _, PackedV4, PackedV6},
    };

    fn key(number: u8) -> PackedV4 {
        let key = EpHash {
            src_addr: [10, 0, 0, number],
            src_port: [1, 0],
            dst_addr: [20, 0, 0, number / 7],
            dst_port: [2, 0],
            ip_protocol: 6,
        };
        PackedV4::pack(&key, false)
    }

    fn flow(packets: u64) -> Flow {
        Flow {
            counters: FlowCounters {
                packets_rcvd: packets,
                ..FlowCounters::default()
            },
            ..Flow::default()
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, u64),
        KeepMultiplesOf(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            12 => (any::<u8>(), 1..1000_u64).prop_map(|(number, packets)| Step::Put(number, packets)),
            1 => (1..5_u64).prop_map(Step::KeepMultiplesOf),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Whatever is done, the table has what an ordered map has.
        #[test]
        fn it_is_a_map(steps in proptest::collection::vec(step(), 0..400)) {
            let mut slots = Slots::<PackedV4>::new();
            let mut model = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put(number, packets) => {
                        let hash = slots.hash(key(number));
                        let of = Hashed { key: key(number).reverse(), hash };
                        match slots.find(&of, true) {
                            Some(entry) => entry.flow = flow(packets),
                            None => slots.insert(hash, Entry { key: key(number), flow: flow(packets) }),
                        }
                        model.insert(number, packets);
                    }
                    Step::KeepMultiplesOf(of) => {
                        let is_kept = |packets: u64| packets.is_multiple_of(of);
                        slots.retain(|entry| is_kept(entry.flow.counters.packets_rcvd));
                        model.retain(|_, packets| is_kept(*packets));
                    }
                }
            }
            prop_assert!(slots.memory_bytes() <= 64 * (SPARSE * model.len()).max(ROW));
            prop_assert_eq!(slots.len(), model.len());
            prop_assert_eq!(slots.iter().count(), model.len());
            for number in 0..=u8::MAX {
                let found = slots.get(key(number), false).map(|it| it.flow.counters.packets_rcvd);
                prop_assert_eq!(found, model.get(&number).copied());
                prop_assert!(slots.get(key(number).reverse(), false).is_none());
            }
        }
    }

    #[test]
    fn a_slot_of_ipv4_is_a_line_of_the_cache() {
        assert_eq!(size_of::<Slot<PackedV4>>(), 64);
        assert_eq!(align_of::<Slot<PackedV4>>(), 64);
        assert!(size_of::<Slot<PackedV6>>() <= 88);
    }
}
