//! Where records grow: packets are added to the open record of their flow, and a record that makes
//! room for another leaves through the ring. See [`probe_common::coalesce`].

use probe_common::{
    coalesce::{
        Coalesce, FullRow, PENDING, Pending, quick_place, quick_tag,
        tags::{Found, Tags, WAYS, tag},
    },
    control::{Station, area, station_index},
    loss::Loss,
    record::RecordHead,
};

use crate::maps::{self, Cached};

/// [`put`] of a plain TCP or UDP packet, which may stay open and has no time yet; each instruction counts:
/// adds it to the record of its flow in the front, or else to the row, unless there is more to think of.
#[inline(always)]
pub(crate) fn put_plain<K: Cached>(area: u32, record: K::Record, station: &Station) {
    if !add_plain::<K>(area, &record, station) {
        put::<K>(area, &record.at(maps::tick()).in_memory());
    }
}

/// [`put_in_place`], and what comes of it. Not in there, for the verifier: here the many ways through
/// it have become two.
#[inline(always)]
pub(crate) fn put<K: Cached>(area: u32, record: &K::Record) {
    // None on a CPU that was added after the start, which has no area.
    let Some(row) = K::pending(area) else {
        push::<K>(record);
        return;
    };
    // Handed on in the row and not by reference: of what lies in maps the verifier knows nothing, so all
    // ways that lead here are one to it.
    *row.next() = *record;
    if put_in_place::<K>(area, row) {
        K::take_in_row(area);
    }
}

/// Says whether the record was added.
#[inline(always)]
fn add_plain<K: Cached>(area: u32, record: &K::Record, station: &Station) -> bool {
    let home = home::<K>(area, record);
    if !station.is_crowded() {
        let Some(entry) = K::in_front(home) else {
            return false;
        };
        if entry.absorb_tcp_or_udp(record, maps::tick) {
            return true;
        }
    }
    if !looks_are_in_vain::<K>(area) {
        let Some(tags) = K::tags(home / WAYS) else {
            return false;
        };
        let tags = Tags(*tags);
        if let Some(way) = tags.find(quick_tag(record.quick_hash())) {
            if let Some(entry) = K::in_front(home / WAYS * WAYS + way)
                && entry.absorb_tcp_or_udp(record, maps::tick)
            {
                if let Some(row) = K::pending(area) {
                    row.looks().on_found();
                }
                return true;
            }
            // Another flow's: in a full set, 3 % meet their tag by chance.
        } else if !tags.is_full() {
            return false;
        }
    }
    if maps::back_slots() == 0 || record.is_told_by_order() {
        return false;
    }
    let Some(row) = K::pending(area) else {
        return false;
    };
    if row.is_almost_full() || record.must_follow() {
        return false;
    }
    row.append(&record.at(maps::tick()));
    true
}

/// Whether nobody need look elsewhere in the front of an area, since it is crowded. What overtakes the record of
/// its flow that lies there joins it in the back, or in the agent.
#[inline(always)]
fn looks_are_in_vain<K: Cached>(area: u32) -> bool {
    K::pending(area).is_some_and(|row| row.looks().are_in_vain())
}

/// Adds the next record of the row, of one packet, to the open record of its flow, or opens one, or pushes
/// it if it must stay alone. It has been counted as recorded. Says whether the row is full and has to be
/// [taken in](take_in_row).
///
/// Not inlined, for the verifier: the many outcomes of the general parser meet here. All that calls
/// each other from the hook on has 512 octets of stack together, and kernels count each function with
/// a multiple of 32.
#[inline(never)]
fn put_in_place<K: Cached>(area: u32, row: &mut K::Pending) -> bool {
    let record = &*row.next();
    if maps::front_slots() == 0 || !record.is_coalescible() {
        push::<K>(record);
        return false;
    }
    let home = home::<K>(area, record);
    if K::in_front(home).is_some_and(|entry| entry.absorb(record)) {
        return false;
    }
    let index = place_in_front::<K>(home, record);
    if maps::back_slots() == 0 {
        take_in::<K>(K::in_front(index), index, record);
        set_tag::<K>(index, record);
        return false;
    }
    if record.is_told_by_order() {
        let hash = record.hash();
        let tags = Sets::of::<K>(area).tags(hash);
        take_in_back::<K>(claim_place::<K>(tags, hash), record);
        return false;
    }
    put_in_front::<K>(index, row)
}

/// Adds the next record of the row to the one in its place of the front, or takes the place, or leaves
/// it in the row. Says whether that is full.
#[inline(always)]
fn put_in_front<K: Cached>(index: u32, row: &mut K::Pending) -> bool {
    let is_last = row.is_almost_full();
    let record = row.next();
    let takes_the_place = is_last || record.must_follow();
    if takes_the_place || !is_other::<K>(index, record) {
        let Some(entry) = K::in_front(index) else {
            push::<K>(record);
            return false;
        };
        if entry.absorb(record) {
            return false;
        }
        let is_vacant = entry.is_vacant();
        if is_vacant || takes_the_place {
            set_tag::<K>(index, record);
            // Who was there goes to the back.
            core::mem::swap(entry, record);
        }
        if is_vacant {
            return false;
        }
    }
    row.append_next();
    is_last
}

/// The position of a record's home in the fronts.
#[inline(always)]
fn home<K: Cached>(area: u32, record: &K::Record) -> u32 {
    let slots = maps::front_slots();
    area * slots + quick_place(record.quick_hash(), slots)
}

/// The place of a record in its set of the front, by the tags there and its home.
#[inline(always)]
fn place_in_front<K: Cached>(home: u32, record: &K::Record) -> u32 {
    let Some(tags) = K::tags(home / WAYS) else {
        return home;
    };
    let tag = quick_tag(record.quick_hash());
    home / WAYS * WAYS + Tags(*tags).way_from_home(home % WAYS, tag)
}

/// Whether a place of the front holds a record that is not of the same flow, by its tag.
#[inline(always)]
fn is_other<K: Cached>(index: u32, record: &K::Record) -> bool {
    let Some(tags) = K::tags(index / WAYS) else {
        return false;
    };
    let tag = Tags(*tags).of(index % WAYS);
    tag != 0 && tag != quick_tag(record.quick_hash())
}

/// Takes a full row of pending records into the back.
#[inline(always)]
pub(crate) fn take_in_row<K: Cached>(area: u32) {
    let Some(row) = K::pending(area) else {
        return;
    };
    let FullRow {
        records,
        hashes,
        places,
    } = row.full();
    let sets = Sets::of::<K>(area);
    // A pass for each step: those that touch memory do next to nothing else, so that the CPU asks for all of
    // it before it waits for the first. With the work in between it would come to a few of the records.
    for ((record, hash), place) in records.iter().zip(&mut *hashes).zip(&mut *places) {
        *hash = record.hash();
        *place = sets.tags(*hash);
    }
    for word in &*places {
        K::touch_tags(*word);
    }
    for (hash, place) in hashes.iter().zip(&mut *places) {
        *place = claim_place::<K>(*place, *hash);
    }
    for place in &*places {
        K::touch(*place);
    }
    for (record, place) in records.iter().zip(&*places) {
        take_in_back::<K>(*place, record);
    }
    if let Some(station) = station_of(K::head(&records[PENDING - 1])) {
        row.looks().on_full_row(station.is_crowded());
        station.on_full_row();
    }
}

/// The sets of an area in the backs.
#[derive(Clone, Copy)]
struct Sets {
    /// Position of the tags of the first one, behind those of the fronts.
    first: u32,
    /// What of a [hash](Coalesce::hash) tells the set.
    mask: u32,
}

impl Sets {
    #[inline(always)]
    fn of<K: Cached>(area: u32) -> Self {
        let sets = maps::back_slots() / K::Record::BACK_PART / WAYS;
        Self {
            first: maps::backs() / WAYS + area * sets,
            mask: sets.wrapping_sub(1),
        }
    }

    /// Position of the tags of the set for a hash.
    #[inline(always)]
    fn tags(self, hash: u32) -> u32 {
        self.first + (hash & self.mask)
    }
}

/// Position in the backs of a place for a record with this hash, in the set with these tags. It must be
/// taken in there before any other that claims one later. Behind the end if there is none.
#[inline(always)]
fn claim_place<K: Cached>(tags: u32, hash: u32) -> u32 {
    let Some(word) = K::tags(tags) else {
        return u32::MAX;
    };
    let place = Tags(*word).place(hash);
    if place.found != Found::Same {
        *word = Tags(*word).with(place.way, tag(hash)).0;
    }
    tags * WAYS + place.way - maps::backs()
}

/// [`take_in`] for a place in the backs.
#[inline(always)]
fn take_in_back<K: Cached>(place: u32, record: &K::Record) {
    take_in::<K>(K::in_back(place), maps::backs().wrapping_add(place), record);
}

/// Adds a record to the open one in its place, or opens it there instead of another, which leaves.
#[inline(always)]
fn take_in<K: Cached>(entry: Option<&mut K::Record>, index: u32, record: &K::Record) {
    let Some(entry) = entry else {
        push::<K>(record);
        return;
    };
    if entry.absorb_in_any_order(record) {
        return;
    }
    if !entry.is_vacant() {
        push::<K>(entry);
    }
    open::<K>(entry, record, index);
}

/// Says that a place of the front holds a record of this flow.
#[inline(always)]
fn set_tag<K: Cached>(index: u32, record: &K::Record) {
    if let Some(word) = K::tags(index / WAYS) {
        let tag = quick_tag(record.quick_hash());
        *word = Tags(*word).with(index % WAYS, tag).0;
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
    if let Some(station) = station_of(lost) {
        let lost_packets = u64::from(lost.packets);
        let losses = &mut station.counters.losses;
        losses[Loss::RingFull as usize].add(lost_packets, lost.octets);
    }
}

/// Where the packets of a record of this CPU were counted. The interface may be another one than that
/// of the packet at hand.
#[inline(always)]
fn station_of(record: RecordHead) -> Option<&'static mut Station> {
    let slot = maps::slot(record.ifindex)?;
    let area = area(maps::cpu(), record.bank().into());
    maps::station(slot.first_station() + station_index(area, record.direction()))
}
