//! Where records grow: packets are added to the open record of their flow, and a record that makes
//! room for another leaves through the ring. See [`probe_common::coalesce`].

use probe_common::{
    coalesce::{Coalesce, Pending, area, dirty_words},
    control::counters_index,
    record::RecordHead,
};

use crate::maps::{self, Cached};

/// Adds a record of one packet to the open record of its flow, or opens one, or pushes it if it
/// must stay alone. It has been counted as recorded.
#[inline(always)]
pub(crate) fn put<K: Cached>(cpu: u32, record: &K::Record) {
    put_with::<K>(cpu, record, push_copy::<K>);
}

/// [`put`] where speed matters less than what the verifier has to walk through: behind the general
/// parser, whose many outcomes meet here. All that calls each other from the hook on has 512 octets of
/// stack together, and kernels count each function with a multiple of 32.
#[inline(never)]
pub(crate) fn put_apart<K: Cached>(cpu: u32, record: &K::Record) {
    put_with::<K>(cpu, record, push::<K>);
}

/// `push` pushes the record where it stays alone.
#[inline(always)]
fn put_with<K: Cached>(cpu: u32, record: &K::Record, push: impl Fn(&K::Record)) {
    let slots = maps::cache_slots();
    if slots == 0 || !record.is_coalescible() {
        push(record);
        return;
    }
    let area = area(cpu, u32::from(K::head(record).bank()));
    // The moment of those counts, and it is taken when they come to the cache.
    if record.is_told_by_order() {
        take_in::<K>(area, record, push);
        return;
    }
    // A CPU that was added after the start has no area.
    let Some(pending) = K::pending(area) else {
        push(record);
        return;
    };
    if !pending.add(record) {
        take_in_row::<K>(area, pending);
        pending.restart(record);
    }
}

/// Takes a full row of pending records into the cache. Not inlined: it is long, and rare enough.
#[inline(never)]
fn take_in_row<K: Cached>(area: u32, pending: &K::Pending) {
    let (_, records) = pending.parts();
    // Loads that do not depend on each other, which the CPU waits for together.
    for record in records {
        K::touch(index(area, record));
    }
    for record in records {
        take_in::<K>(area, record, push::<K>);
    }
}

#[inline(always)]
fn slot<R: Coalesce>(record: &R) -> u32 {
    record.hash() & (maps::cache_slots() - 1)
}

/// Position of a record in the cache.
#[inline(always)]
fn index<R: Coalesce>(area: u32, record: &R) -> u32 {
    area * maps::cache_slots() + slot(record)
}

/// Adds a record to the open one of its flow, or opens it in the place of another, which leaves.
#[inline(always)]
fn take_in<K: Cached>(area: u32, record: &K::Record, push_alone: impl Fn(&K::Record)) {
    let slots = maps::cache_slots();
    let slot = slot(record);
    let index = area * slots + slot;
    let Some(entry) = K::entry(index) else {
        push_alone(record);
        return;
    };
    if entry.absorb(record) {
        return;
    }
    if entry.is_vacant() {
        if let Some(word) = K::dirty(area * dirty_words(slots) + slot / u64::BITS) {
            *word |= 1 << (slot % u64::BITS);
        }
    } else {
        push::<K>(entry);
    }
    open::<K>(entry, record, index);
}

/// Opens a record. Only where nothing but who spoke first tells the direction of a flow, the moment
/// is kept: reading the clock takes as long as all the rest.
#[inline(always)]
fn open<K: Cached>(entry: &mut K::Record, record: &K::Record, index: u32) {
    *entry = *record;
    if record.is_told_by_order()
        && let Some(opened) = K::opened(index)
    {
        *opened = maps::now_ns();
    }
}

/// [`push`] of a record that is not in memory yet, and need not be for the sake of this rare case.
#[inline(always)]
fn push_copy<K: Cached>(record: &K::Record) {
    let copy = *record;
    push::<K>(&copy);
}

/// Pushes a record, or counts its packets as lost where they had been counted as recorded. Not
/// inlined: so all of its outcomes are one to the verifier.
#[inline(never)]
fn push<K: Cached>(record: &K::Record) {
    if !maps::push::<K>(record) {
        on_ring_full(K::head(record));
    }
}

#[inline(always)]
fn on_ring_full(lost: RecordHead) {
    // The interface may be another one than that of the packet at hand.
    if let Some(slot) = maps::slot(lost.ifindex) {
        let index = counters_index(u32::from(lost.bank()), slot.slot, lost.direction());
        if let Some(counters) = maps::counters(maps::cpu(), index) {
            counters.ring_full.add(u64::from(lost.packets), lost.octets);
        }
    }
}
