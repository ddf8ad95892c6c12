//! The open records that the programs keep, of a bank that is closed: read, cleared and handed over
//! by the drain thread.

use std::{ops::Range, sync::atomic::Ordering};

use probe_common::{
    coalesce::{Coalesce, Entry, Pending, PendingV4, PendingV6, tags::WAYS},
    control::{BANKS, area, maps},
    record::{AsRecord, Record},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{
    DatapathError,
    cache_parts::CacheParts,
    load::Object,
    shared_array::{Entries, SharedArray},
};

/// Records that are handed over at once.
const BATCH: usize = 256;

/// Records that room is kept for from one bank to the next.
const KEPT_RECORDS: usize = 4096;

/// Reads the cache.
#[derive(Debug)]
pub struct CacheReader {
    v4: Family<PendingV4>,
    v6: Family<PendingV6>,
}

impl CacheReader {
    /// Takes the maps from the object, whose areas have these parts. `None` if there are none.
    pub fn new(object: &Object, parts: CacheParts) -> Result<Option<Self>, DatapathError> {
        if parts.front() == 0 {
            return Ok(None);
        }
        Ok(Some(Self {
            v4: Family::new(
                object,
                parts,
                &FamilyMaps {
                    front: maps::FRONT_V4,
                    back: maps::BACK_V4,
                    pending: maps::PENDING_V4,
                    opened: maps::OPENED_V4,
                    tags: maps::TAGS_V4,
                },
            )?,
            v6: Family::new(
                object,
                parts,
                &FamilyMaps {
                    front: maps::FRONT_V6,
                    back: maps::BACK_V6,
                    pending: maps::PENDING_V6,
                    opened: maps::OPENED_V6,
                    tags: maps::TAGS_V6,
                },
            )?,
        }))
    }

    /// Hands over the records of a bank that no program uses any more, and makes its areas vacant.
    /// Returns how many there were. After an error what could be read was handed over, and the rest
    /// can be taken another time.
    ///
    /// Those of flows of which who spoke first is all that is known about the direction come last,
    /// in the order in which they were opened, over all CPUs.
    pub fn drain(
        &mut self,
        bank: u8,
        handle: &mut dyn FnMut(&[Record<'_>]),
    ) -> Result<usize, DatapathError> {
        let bank = u32::from(bank) % BANKS;
        let records = self.v4.drain(bank, handle)?;
        Ok(records + self.v6.drain(bank, handle)?)
    }
}

/// Names of the maps of one IP version.
struct FamilyMaps {
    front: &'static str,
    back: &'static str,
    pending: &'static str,
    opened: &'static str,
    tags: &'static str,
}

type Line<P> = <<P as Pending>::Record as Coalesce>::Line;

/// The cache of one IP version.
#[derive(Debug)]
struct Family<P: Pending> {
    parts: CacheParts,
    fronts: SharedArray<Line<P>>,
    backs: SharedArray<P::Record>,
    pending: Entries<P>,
    opened: SharedArray<u64>,
    /// Which entries hold records.
    tags: Entries<u64>,
    taken: Taken<P::Record>,
}

impl<P> Family<P>
where
    P: Pending + FromBytes + IntoBytes + Immutable,
    P::Record: Entry<Record = P::Record> + AsRecord + FromBytes + IntoBytes + Immutable,
    Line<P>: FromBytes + IntoBytes + Immutable,
{
    fn new(object: &Object, parts: CacheParts, maps: &FamilyMaps) -> Result<Self, DatapathError> {
        let tags = SharedArray::<u64>::new(object, maps.tags)?;
        let pending = SharedArray::<P>::new(object, maps.pending)?;
        Ok(Self {
            parts,
            fronts: SharedArray::new(object, maps.front)?,
            backs: SharedArray::new(object, maps.back)?,
            pending: pending.map(0..pending.len())?,
            opened: SharedArray::new(object, maps.opened)?,
            tags: tags.map(0..tags.len())?,
            taken: Taken::new(),
        })
    }

    /// Takes the records of all CPUs and hands them over.
    fn drain(
        &mut self,
        bank: u32,
        handle: &mut dyn FnMut(&[Record<'_>]),
    ) -> Result<usize, DatapathError> {
        let front = self.parts.front() as usize;
        let back = self.parts.back::<P::Record>() as usize;
        let cpus = self.fronts.len() / front / BANKS as usize;
        let mut records = 0;
        let mut result = Ok(());
        for cpu in (0..).take(cpus) {
            let area = area(cpu, bank) as usize;
            // What is older comes first.
            let mut on_batch = |batch: &mut Vec<P::Record>| {
                records += batch.len();
                hand_over(batch.iter().map(AsRecord::as_record), handle);
                batch.clear();
            };
            result = self.take_area(
                [of_area(area, front), of_area(area, back)],
                area,
                &mut on_batch,
            );
            if result.is_err() {
                break;
            }
        }
        let ordered = &mut self.taken.ordered;
        ordered.sort_by_key(|(opened, _)| *opened);
        records += ordered.len();
        hand_over(ordered.iter().map(|(_, record)| record.as_record()), handle);
        ordered.clear();
        ordered.shrink_to(KEPT_RECORDS);
        result.map(|()| records)
    }

    /// Takes the records of the back, of the row and of the front of an area.
    fn take_area(
        &mut self,
        [front, back]: [Range<usize>; 2],
        area: usize,
        on_batch: &mut dyn FnMut(&mut Vec<P::Record>),
    ) -> Result<(), DatapathError> {
        let Self {
            tags,
            opened,
            taken,
            ..
        } = self;
        let mut part = Part {
            tags,
            opened,
            taken,
            on_batch,
        };
        part.take(&self.backs, back, self.fronts.len())?;
        if let Some(pending) = self.pending.load(area) {
            part.taken.batch.extend_from_slice(pending.waiting());
            self.pending.clear(area);
        }
        part.take(&self.fronts, front, 0)
    }
}

/// The slots of an area where each has so many.
const fn of_area(area: usize, slots: usize) -> Range<usize> {
    area * slots..(area + 1) * slots
}

/// Records that were taken out and not yet handed over.
#[derive(Debug)]
struct Taken<R> {
    /// In any order, up to a batch of them.
    batch: Vec<R>,
    /// Those that go by the order, with the moment that each was opened.
    ordered: Vec<(u64, R)>,
}

impl<R: Coalesce> Taken<R> {
    fn new() -> Self {
        Self {
            batch: Vec::with_capacity(BATCH),
            ordered: Vec::new(),
        }
    }

    fn take(&mut self, record: R, opened: impl FnOnce() -> u64) {
        if record.is_vacant() {
            return;
        }
        if record.is_told_by_order() {
            self.ordered.push((opened(), record));
        } else {
            self.batch.push(record);
        }
    }
}

/// Takes records out of fronts or backs.
struct Part<'a, R> {
    tags: &'a Entries<u64>,
    opened: &'a SharedArray<u64>,
    taken: &'a mut Taken<R>,
    on_batch: &'a mut dyn FnMut(&mut Vec<R>),
}

impl<R: Coalesce> Part<'_, R> {
    /// Takes the records of some of the entries, the first of which has its tags and moments at a
    /// position.
    fn take<E>(
        &mut self,
        entries: &SharedArray<E>,
        slots: Range<usize>,
        first_position: usize,
    ) -> Result<(), DatapathError>
    where
        E: Entry<Record = R> + FromBytes + IntoBytes + Immutable,
    {
        let mut mapped: Option<(Entries<E>, Entries<u64>)> = None;
        let start = first_position + slots.start;
        let positions = start..first_position + slots.end;
        for first in positions.clone().step_by(WAYS as usize) {
            let Some([tags]) = self.tags.words(first / WAYS as usize) else {
                break;
            };
            let octets = tags.load(Ordering::Relaxed).to_le_bytes();
            if octets == [0; _] {
                continue;
            }
            let (entries, opened) = match &mapped {
                Some(mapped) => mapped,
                None => mapped.insert((
                    entries.map(slots.clone())?,
                    self.opened.map(positions.clone())?,
                )),
            };
            tags.store(0, Ordering::Relaxed);
            for (slot, tag) in (first - start..).zip(octets) {
                if tag != 0
                    && let Some(entry) = entries.load(slot)
                {
                    entries.clear(slot);
                    let moment = || opened.load(slot).unwrap_or_default();
                    self.taken.take(entry.record(), moment);
                }
            }
            if self.taken.batch.len() >= BATCH {
                (self.on_batch)(&mut self.taken.batch);
            }
        }
        (self.on_batch)(&mut self.taken.batch);
        Ok(())
    }
}

/// Hands over records in batches.
fn hand_over<'a>(
    mut records: impl Iterator<Item = Record<'a>>,
    handle: &mut dyn FnMut(&[Record<'_>]),
) {
    loop {
        let batch: Vec<_> = records.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return;
        }
        handle(&batch);
    }
}
