//! The flow cache of the programs: packets are merged into the open record of their flow, and an evicted
//! record leaves through the ring. See [`probe_common::coalesce`] and docs/DATAPATH.md.

use probe_common::{
    coalesce::{
        Coalesce, FullBatch, INSERT_BATCH_LEN, InsertBatch, l1_tag, preferred_slot,
        tags::{Tags, WAYS, WayState, tag},
    },
    control::{CounterBlock, area, counter_block_index},
    loss::Loss,
    record::RecordHead,
};

use crate::maps::{self, Cached};

/// [`insert`] of a plain TCP or UDP packet, whose record may stay open and has no time yet. This is the hot
/// path, so each instruction counts: it merges the packet in L1 or appends it to the insert batch, and leaves
/// every other case to [`insert`].
#[inline(always)]
pub(crate) fn insert_plain<K: Cached>(area: u32, record: K::Record, counters: &CounterBlock) {
    if !try_insert_plain::<K>(area, &record, counters) {
        insert::<K>(area, &record.at(maps::tick()).materialize());
    }
}

/// [`insert_next`], and the merge into L2 if the insert batch is full. The merge is not called in
/// [`insert_next`], for the verifier: here the many paths through that function have become two.
#[inline(always)]
pub(crate) fn insert<K: Cached>(area: u32, record: &K::Record) {
    // None on a CPU that was added after the start, which has no area.
    let Some(batch) = K::batch(area) else {
        push::<K>(record);
        return;
    };
    // Passed on in the batch and not by reference: the verifier tracks no contents of maps, so all paths
    // that lead here are one state to it.
    *batch.next_record() = *record;
    if insert_next::<K>(area, batch) {
        K::merge_batch(area);
    }
}

/// Merges the record in L1 or appends it to the insert batch. `false` if [`insert`] has to do it.
#[inline(always)]
fn try_insert_plain<K: Cached>(area: u32, record: &K::Record, counters: &CounterBlock) -> bool {
    let preferred = preferred_l1_slot::<K>(area, record);
    if !counters.is_thrashing() {
        let Some(open) = K::l1_slot(preferred) else {
            return false;
        };
        if open.merge_tcp_or_udp(record, maps::tick) {
            return true;
        }
    }
    if !bypasses_l1::<K>(area) {
        let Some(tags) = K::tags(preferred / WAYS) else {
            return false;
        };
        let tags = Tags(*tags);
        if let Some(way) = tags.find(l1_tag(record.l1_hash())) {
            if let Some(open) = K::l1_slot(preferred / WAYS * WAYS + way)
                && open.merge_tcp_or_udp(record, maps::tick)
            {
                if let Some(batch) = K::batch(area) {
                    batch.bypass().on_l1_hit();
                }
                return true;
            }
            // The tag is another flow's: in a full set, 3 % of the flows meet their tag by chance.
        } else if !tags.is_full() {
            return false;
        }
    }
    if maps::l2_slots() == 0 || record.is_order_sensitive() {
        return false;
    }
    let Some(batch) = K::batch(area) else {
        return false;
    };
    if batch.is_almost_full() || record.starts_connection() {
        return false;
    }
    batch.append(&record.at(maps::tick()));
    true
}

/// Whether packets bypass the L1 tags of an area, because it is thrashing. A packet that overtakes the record
/// of its flow in L1 is merged with it in L2, or in the agent.
#[inline(always)]
fn bypasses_l1<K: Cached>(area: u32) -> bool {
    K::batch(area).is_some_and(|batch| batch.bypass().is_active())
}

/// Merges the next record of the insert batch, of one packet, into the open record of its flow, or opens a
/// record, or pushes the record if it must not wait. The packet has been counted as recorded. Returns whether
/// the batch is full and has to be [merged into L2](merge_batch).
///
/// Not inlined, for the verifier: the many outcomes of the general parser meet here. All functions that
/// call each other from the hook on have 512 octets of stack together, and kernels count each function with
/// a multiple of 32.
#[inline(never)]
fn insert_next<K: Cached>(area: u32, batch: &mut K::Batch) -> bool {
    let record = &*batch.next_record();
    if maps::l1_slots() == 0 || !record.is_coalescible() {
        push::<K>(record);
        return false;
    }
    let preferred = preferred_l1_slot::<K>(area, record);
    if K::l1_slot(preferred).is_some_and(|open| open.merge(record)) {
        return false;
    }
    let index = choose_l1_slot::<K>(preferred, record);
    if maps::l2_slots() == 0 {
        merge_or_evict::<K>(K::l1_slot(index), index, record);
        set_l1_tag::<K>(index, record);
        return false;
    }
    if record.is_order_sensitive() {
        let hash = record.l2_hash();
        let tags = L2Sets::from_area::<K>(area).tags(hash);
        merge_into_l2::<K>(claim_l2_slot::<K>(tags, hash), record);
        return false;
    }
    insert_into_l1::<K>(index, batch)
}

/// Merges the next record of the insert batch into its slot of L1, or replaces the record there, or leaves
/// the next record in the batch. Returns whether the batch is full.
#[inline(always)]
fn insert_into_l1<K: Cached>(index: u32, batch: &mut K::Batch) -> bool {
    let is_last = batch.is_almost_full();
    let record = batch.next_record();
    let replaces = is_last || record.starts_connection();
    if replaces || !holds_other_flow::<K>(index, record) {
        let Some(open) = K::l1_slot(index) else {
            push::<K>(record);
            return false;
        };
        if open.merge(record) {
            return false;
        }
        let is_vacant = open.is_vacant();
        if is_vacant || replaces {
            set_l1_tag::<K>(index, record);
            // The record that was there goes to L2.
            core::mem::swap(open, record);
        }
        if is_vacant {
            return false;
        }
    }
    batch.append_next();
    is_last
}

/// Index of a record's preferred slot in L1.
#[inline(always)]
fn preferred_l1_slot<K: Cached>(area: u32, record: &K::Record) -> u32 {
    let slots = maps::l1_slots();
    area * slots + preferred_slot(record.l1_hash(), slots)
}

/// Index of the slot for a record in its set of L1, by the tags of the set and the preferred slot.
#[inline(always)]
fn choose_l1_slot<K: Cached>(preferred: u32, record: &K::Record) -> u32 {
    let Some(tags) = K::tags(preferred / WAYS) else {
        return preferred;
    };
    let tag = l1_tag(record.l1_hash());
    preferred / WAYS * WAYS + Tags(*tags).choose_near(preferred % WAYS, tag)
}

/// Whether a slot of L1 holds a record of another flow, by its tag.
#[inline(always)]
fn holds_other_flow<K: Cached>(index: u32, record: &K::Record) -> bool {
    let Some(tags) = K::tags(index / WAYS) else {
        return false;
    };
    let tag = Tags(*tags).tag_of(index % WAYS);
    tag != 0 && tag != l1_tag(record.l1_hash())
}

/// Merges the records of a full insert batch into L2.
#[inline(always)]
pub(crate) fn merge_batch<K: Cached>(area: u32) {
    let Some(batch) = K::batch(area) else {
        return;
    };
    let FullBatch {
        records,
        hashes,
        indices,
    } = batch.full();
    let sets = L2Sets::from_area::<K>(area);
    // One pass for each step: a pass that touches memory does next to nothing else, so that the CPU has all
    // loads under way before it waits for the first. With the work in between, its reorder buffer would hold
    // the loads of a few records only.
    for ((record, hash), index) in records.iter().zip(&mut *hashes).zip(&mut *indices) {
        *hash = record.l2_hash();
        *index = sets.tags(*hash);
    }
    for word in &*indices {
        K::prefetch_tags(*word);
    }
    for (hash, index) in hashes.iter().zip(&mut *indices) {
        *index = claim_l2_slot::<K>(*index, *hash);
    }
    for index in &*indices {
        K::prefetch_l2_slot(*index);
    }
    for (record, index) in records.iter().zip(&*indices) {
        merge_into_l2::<K>(*index, record);
    }
    if let Some(counters) = counter_block_of(K::head(&records[INSERT_BATCH_LEN - 1])) {
        batch.bypass().on_full_batch(counters.is_thrashing());
        counters.on_full_batch();
    }
}

/// The sets of an area in L2.
#[derive(Clone, Copy)]
struct L2Sets {
    /// Index of the tags of the first set, behind the tags of L1.
    first: u32,
    /// The bits of an [L2 hash](Coalesce::l2_hash) that choose the set.
    mask: u32,
}

impl L2Sets {
    #[inline(always)]
    fn from_area<K: Cached>(area: u32) -> Self {
        let sets = maps::l2_slots() / K::Record::L2_DIVISOR / WAYS;
        Self {
            first: maps::l2_first_slot() / WAYS + area * sets,
            mask: sets.wrapping_sub(1),
        }
    }

    /// Index of the tags of the set for a hash.
    #[inline(always)]
    fn tags(self, hash: u32) -> u32 {
        self.first + (hash & self.mask)
    }
}

/// Chooses the L2 slot for a record with this hash, in the set with these tags, and writes its tag. The record
/// must be merged there before any other record whose slot is claimed later. Returns the index of the slot, or
/// one beyond the end of L2 if there is no such set.
#[inline(always)]
fn claim_l2_slot<K: Cached>(tags: u32, hash: u32) -> u32 {
    let Some(word) = K::tags(tags) else {
        return u32::MAX;
    };
    let choice = Tags(*word).choose(hash);
    if choice.state != WayState::TagMatch {
        *word = Tags(*word).with(choice.way, tag(hash)).0;
    }
    tags * WAYS + choice.way - maps::l2_first_slot()
}

/// [`merge_or_evict`] for a slot of L2.
#[inline(always)]
fn merge_into_l2<K: Cached>(index: u32, record: &K::Record) {
    merge_or_evict::<K>(
        K::l2_slot(index),
        maps::l2_first_slot().wrapping_add(index),
        record,
    );
}

/// Merges a record into the open record in its slot, or evicts that one and opens the record in its stead.
#[inline(always)]
fn merge_or_evict<K: Cached>(slot: Option<&mut K::Record>, index: u32, record: &K::Record) {
    let Some(open) = slot else {
        push::<K>(record);
        return;
    };
    if open.merge_in_any_order(record) {
        return;
    }
    if !open.is_vacant() {
        push::<K>(open);
    }
    open_record::<K>(open, record, index);
}

/// Writes the tag of a record for its slot of L1.
#[inline(always)]
fn set_l1_tag<K: Cached>(index: u32, record: &K::Record) {
    if let Some(word) = K::tags(index / WAYS) {
        let tag = l1_tag(record.l1_hash());
        *word = Tags(*word).with(index % WAYS, tag).0;
    }
}

/// Opens a record in a slot. The time is kept for order-sensitive records only: to read the clock takes as
/// long as all the rest.
#[inline(always)]
fn open_record<K: Cached>(slot: &mut K::Record, record: &K::Record, index: u32) {
    *slot = *record;
    if record.is_order_sensitive()
        && let Some(opened) = K::opened(index)
    {
        *opened = maps::now_ns();
    }
}

/// Pushes a record into the ring, or counts its packets as lost where they were counted as recorded. Not
/// inlined: so all of its outcomes are one to the verifier.
#[inline(never)]
fn push<K: Cached>(record: &K::Record) {
    if !maps::push::<K>(record) {
        on_ring_full(K::head(record));
    }
}

#[inline(always)]
fn on_ring_full(lost: RecordHead) {
    if let Some(block) = counter_block_of(lost) {
        let lost_packets = u64::from(lost.packets);
        let losses = &mut block.counters.losses;
        losses[Loss::RingFull as usize].add(lost_packets, lost.octets);
    }
}

/// The counter block in which the packets of a record of this CPU were counted. The interface may be another
/// one than that of the current packet.
#[inline(always)]
fn counter_block_of(record: RecordHead) -> Option<&'static mut CounterBlock> {
    let slot = maps::interface_slot(record.ifindex)?;
    let area = area(maps::cpu(), record.bank().into());
    maps::counter_block(slot.first_counter_block() + counter_block_index(area, record.direction()))
}
