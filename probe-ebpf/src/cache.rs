//! Where records grow: packets are added to the open record of their flow, and a record that makes
//! room for another leaves through the ring. See [`probe_common::coalesce`].

use probe_common::{
    coalesce::{
        Coalesce, Pending,
        tags::{Found, Tags, WAYS},
    },
    control::{area, counters_index},
    record::RecordHead,
};

use crate::maps::{self, Cached};

/// Adds a record of one packet to the open record of its flow, or opens one, or pushes it if it
/// must stay alone. It has been counted as recorded.
#[inline(always)]
pub(crate) fn put<K: Cached>(area: u32, record: &K::Record) {
    let absorb = K::Record::absorb_tcp_or_udp;
    put_with::<K>(area, record, absorb, |record, rare| {
        rare(area, &record.in_memory());
    });
}

/// [`put`] where speed matters less than what the verifier has to walk through: behind the general
/// parser, whose many outcomes meet here. All that calls each other from the hook on has 512 octets of
/// stack together, and kernels count each function with a multiple of 32.
#[inline(never)]
pub(crate) fn put_apart<K: Cached>(area: u32, record: &K::Record) {
    put_with::<K>(area, record, K::Record::absorb, |record, rare| {
        rare(area, record);
    });
}

/// What happens to few records.
type Rare<R> = fn(u32, &R);

/// `rarely` does what few records need, which takes them by reference.
#[inline(always)]
fn put_with<K: Cached>(
    area: u32,
    record: &K::Record,
    absorb: impl Fn(&mut K::Record, &K::Record) -> bool,
    rarely: impl Fn(&K::Record, Rare<K::Record>),
) {
    let front_slots = maps::front_slots();
    if front_slots == 0 || !record.is_coalescible() {
        rarely(record, |_, record| push::<K>(record));
        return;
    }
    let place = front_place(area, record, front_slots);
    // None on a CPU that was added after the start, which has no area.
    let Some(entry) = K::entry(maps::fronts() + place) else {
        rarely(record, |_, record| push::<K>(record));
        return;
    };
    if absorb(entry, record) {
        return;
    }
    // It looks once more where the front is all. To take what was found along would cost the hot path
    // above registers: two to five instructions more for each packet.
    if maps::back_slots() == 0 || record.is_told_by_order() {
        rarely(record, take_in_apart::<K>);
        return;
    }
    if entry.is_vacant() {
        mark_dirty::<K>(place);
        *entry = *record;
        return;
    }
    let Some(row) = K::pending(area) else {
        rarely(record, |_, record| push::<K>(record));
        return;
    };
    if row.is_almost_full() || record.must_follow() {
        // It takes the place, and who was there goes to the back.
        if row.append(entry) {
            take_in_row::<K>(area, row);
        }
        *entry = *record;
    } else {
        row.append(record);
    }
}

/// Takes a full row of pending records into the back. Not inlined: it is long, and rare enough.
#[inline(never)]
fn take_in_row<K: Cached>(area: u32, row: &mut K::Pending) {
    let (records, places) = row.all();
    // Loads that do not depend on each other, which the CPU waits for together.
    for (record, place) in records.iter().zip(&mut *places) {
        *place = claim_place::<K>(area, record);
        K::touch(*place);
    }
    for (record, place) in records.iter().zip(&*places) {
        take_in::<K>(*place, record);
    }
}

/// Takes in a record that does not go by the row, in a function of its own.
#[inline(never)]
fn take_in_apart<K: Cached>(area: u32, record: &K::Record) {
    if maps::back_slots() != 0 {
        take_in::<K>(claim_place::<K>(area, record), record);
        return;
    }
    let place = front_place(area, record, maps::front_slots());
    if take_in::<K>(maps::fronts() + place, record) {
        mark_dirty::<K>(place);
    }
}

/// Place of a record among all fronts, which lie behind all backs: that of an area that there is no
/// room for lies behind the end.
#[inline(always)]
fn front_place<R: Coalesce>(area: u32, record: &R, slots: u32) -> u32 {
    area * slots + (record.quick_hash() & slots.wrapping_sub(1))
}

/// Set of the back for a hash, if the area has a front.
#[inline(always)]
fn set(area: u32, hash: u32) -> u32 {
    let sets = maps::back_slots() / WAYS;
    area * sets + (hash & sets.wrapping_sub(1))
}

/// Position of a place in the back for a record, which must be taken in there before any other that
/// claims one later. Behind the end if there is none.
#[inline(always)]
fn claim_place<K: Cached>(area: u32, record: &K::Record) -> u32 {
    let hash = record.hash();
    let set = set(area, hash);
    let Some(word) = K::tags(set) else {
        return u32::MAX;
    };
    let tags = Tags(*word);
    let place = tags.place(hash);
    if place.found != Found::Same {
        *word = tags.with(place.way, hash).0;
    }
    set * WAYS + place.way
}

/// Adds a record to the open one in its place, or opens it there instead of another, which leaves.
/// Says whether the place was vacant.
#[inline(always)]
fn take_in<K: Cached>(index: u32, record: &K::Record) -> bool {
    let Some(entry) = K::entry(index) else {
        push::<K>(record);
        return false;
    };
    if entry.absorb(record) {
        return false;
    }
    let is_vacant = entry.is_vacant();
    if !is_vacant {
        push::<K>(entry);
    }
    open::<K>(entry, record, index);
    is_vacant
}

/// Says that a place of the fronts holds packets.
#[inline(always)]
fn mark_dirty<K: Cached>(place: u32) {
    if let Some(word) = K::dirty(place / u64::BITS) {
        *word |= 1 << (place % u64::BITS);
    }
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
