//! Where records grow: packets are added to the open record of their flow, and a record that makes
//! room for another leaves through the ring.

use probe_common::{
    coalesce::{Coalesce, area, dirty_words},
    control::counters_index,
    record::RecordHead,
};

use crate::maps::{self, Cached};

/// Adds a record of one packet to the open record of its flow, or opens one, or pushes it if it
/// must stay alone. It has been counted as recorded.
#[inline(always)]
pub(crate) fn put<K: Cached>(record: &K::Record) {
    let slots = maps::cache_slots();
    if slots == 0 || !record.is_coalescible() {
        push::<K>(record);
        return;
    }
    let area = area(maps::cpu(), u32::from(K::head(record).bank()));
    let slot = record.hash() & (slots - 1);
    // A CPU that was added after the start has no area.
    let index = area * slots + slot;
    let Some(entry) = K::entry(index) else {
        push::<K>(record);
        return;
    };
    if entry.is_vacant() {
        open::<K>(entry, record, index);
        if let Some(word) = K::dirty(area * dirty_words(slots) + slot / u64::BITS) {
            *word |= 1 << (slot % u64::BITS);
        }
    } else if entry.takes(record) {
        entry.absorb(record);
    } else {
        push::<K>(entry);
        open::<K>(entry, record, index);
    }
}

/// Opens a record. The clock is read once for many packets: a flood of new flows pays for it.
#[inline(always)]
fn open<K: Cached>(entry: &mut K::Record, record: &K::Record, index: u32) {
    *entry = *record;
    if let Some(opened) = K::opened(index) {
        *opened = maps::now_ns();
    }
}

/// Pushes a record, or counts its packets as lost where they had been counted as recorded.
#[inline(always)]
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
        if let Some(counters) = maps::counters(index) {
            counters.ring_full.add(u64::from(lost.packets), lost.octets);
        }
    }
}
