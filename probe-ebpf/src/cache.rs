//! Where records grow: packets are added to the open record of their flow, and a record that makes
//! room for another leaves through the ring. See [`probe_common::coalesce`].

use core::hint::black_box;

use probe_common::{
    coalesce::{Coalesce, Pending, dirty_words},
    control::{area, counters_index},
    record::RecordHead,
};

use crate::maps::{self, Cached};

/// Adds a record of one packet to the open record of its flow, or opens one, or pushes it if it
/// must stay alone. It has been counted as recorded.
#[inline(always)]
pub(crate) fn put<K: Cached>(area: u32, record: &K::Record) {
    put_with::<K>(area, record, |record, rare| rare(area, &record.in_memory()));
}

/// [`put`] where speed matters less than what the verifier has to walk through: behind the general
/// parser, whose many outcomes meet here. All that calls each other from the hook on has 512 octets of
/// stack together, and kernels count each function with a multiple of 32.
#[inline(never)]
pub(crate) fn put_apart<K: Cached>(area: u32, record: &K::Record) {
    put_with::<K>(area, record, |record, rare| rare(area, record));
}

/// What happens to few records.
type Rare<R> = fn(u32, &R);

/// `rarely` does what few records need, which takes them by reference.
#[inline(always)]
fn put_with<K: Cached>(
    area: u32,
    record: &K::Record,
    rarely: impl Fn(&K::Record, Rare<K::Record>),
) {
    if row::<K>(area, record).is_some_and(|row| row.add_to_last(record)) {
        return;
    }
    // Looked up once more: else the registers that are for this path would be missing on the other.
    let Some(row) = row::<K>(black_box(area), record) else {
        rarely(record, |_, record| push::<K>(record));
        return;
    };
    // The moment of those counts, and it is taken when they come to the cache: none is in the row.
    if record.is_told_by_order() {
        rarely(record, take_in_apart::<K>);
        return;
    }
    if !row.append(record) {
        take_in_row::<K>(area, row);
        row.restart(record);
    }
}

/// The row that a record belongs into. `None` if it must stay alone, and on a CPU that was added
/// after the start, which has no area.
#[inline(always)]
fn row<K: Cached>(area: u32, record: &K::Record) -> Option<&'static mut K::Pending> {
    if maps::cache_slots() == 0 || !record.is_coalescible() {
        return None;
    }
    K::pending(area)
}

/// Takes a full row of pending records into the cache. Not inlined: it is long, and rare enough.
#[inline(never)]
fn take_in_row<K: Cached>(area: u32, row: &K::Pending) {
    let (_, records) = row.parts();
    // Loads that do not depend on each other, which the CPU waits for together.
    for record in records {
        K::touch(index(area, record));
    }
    for record in records {
        take_in::<K>(area, record);
    }
}

/// [`take_in`], not inlined.
#[inline(never)]
fn take_in_apart<K: Cached>(area: u32, record: &K::Record) {
    take_in::<K>(area, record);
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
fn take_in<K: Cached>(area: u32, record: &K::Record) {
    let slots = maps::cache_slots();
    let slot = slot(record);
    let index = area * slots + slot;
    let Some(entry) = K::entry(index) else {
        push::<K>(record);
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
        let index = counters_index(u32::from(slot.slot), lost.direction());
        if let Some(counters) = maps::counters(area(maps::cpu(), lost.bank().into()), index) {
            counters.ring_full.add(u64::from(lost.packets), lost.octets);
        }
    }
}
