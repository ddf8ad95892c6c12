//! The flush of the cache: the drain thread reads the open records of a closed bank, clears their slots and
//! hands the records over.

use std::{ops::Range, sync::atomic::Ordering};

use probe_common::{
    coalesce::{CacheSlot, Coalesce, InsertBatch, InsertBatchV4, InsertBatchV6, tags::WAYS},
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

/// Records that are handed over in one call.
const BATCH: usize = 256;

/// Order-sensitive records for which memory is kept from one flush to the next.
const KEPT_RECORDS: usize = 4096;

/// Flushes the cache of both IP versions.
#[derive(Debug)]
pub struct CacheReader {
    v4: Family<InsertBatchV4>,
    v6: Family<InsertBatchV6>,
}

impl CacheReader {
    /// Takes the maps from the object, which was loaded with these sizes. `None` if there is no cache.
    ///
    /// # Errors
    ///
    /// [`DatapathError::NoMap`]: the object lacks a map of the cache, or its entries have another
    /// size. [`DatapathError::Map`]: the kernel does not describe a map, or does not map it into
    /// memory.
    pub fn new(object: &Object, parts: CacheParts) -> Result<Option<Self>, DatapathError> {
        if parts.l1() == 0 {
            return Ok(None);
        }
        Ok(Some(Self {
            v4: Family::new(
                object,
                parts,
                &FamilyMaps {
                    l1: maps::L1_V4,
                    l2: maps::L2_V4,
                    batches: maps::INSERT_BATCH_V4,
                    opened: maps::OPENED_V4,
                    tags: maps::TAGS_V4,
                },
            )?,
            v6: Family::new(
                object,
                parts,
                &FamilyMaps {
                    l1: maps::L1_V6,
                    l2: maps::L2_V6,
                    batches: maps::INSERT_BATCH_V6,
                    opened: maps::OPENED_V6,
                    tags: maps::TAGS_V6,
                },
            )?,
        }))
    }

    /// Hands over the records of a bank that no program uses any more, and makes its slots vacant.
    /// Returns the number of records. After an error the records that could be read were handed over, and
    /// the rest can be flushed another time.
    ///
    /// Order-sensitive records come last, in the order in which they were opened, over all CPUs.
    ///
    /// # Errors
    ///
    /// [`DatapathError::Map`]: the kernel does not map slots of the cache into memory.
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
    l1: &'static str,
    l2: &'static str,
    batches: &'static str,
    opened: &'static str,
    tags: &'static str,
}

type L1Slot<B> = <<B as InsertBatch>::Record as Coalesce>::L1Slot;

/// The cache of one IP version.
#[derive(Debug)]
struct Family<B: InsertBatch> {
    parts: CacheParts,
    l1: SharedArray<L1Slot<B>>,
    l2: SharedArray<B::Record>,
    batches: Entries<B>,
    opened: SharedArray<u64>,
    /// Tell which slots hold records.
    tags: Entries<u64>,
    taken: Taken<B::Record>,
}

impl<B> Family<B>
where
    B: InsertBatch + FromBytes + IntoBytes + Immutable,
    B::Record: CacheSlot<Record = B::Record> + AsRecord + FromBytes + IntoBytes + Immutable,
    L1Slot<B>: FromBytes + IntoBytes + Immutable,
{
    fn new(object: &Object, parts: CacheParts, maps: &FamilyMaps) -> Result<Self, DatapathError> {
        let tags = SharedArray::<u64>::new(object, maps.tags)?;
        let batches = SharedArray::<B>::new(object, maps.batches)?;
        Ok(Self {
            parts,
            l1: SharedArray::new(object, maps.l1)?,
            l2: SharedArray::new(object, maps.l2)?,
            batches: batches.map(0..batches.len())?,
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
        let l1_slots = self.parts.l1() as usize;
        let l2_slots = self.parts.l2::<B::Record>() as usize;
        let cpus = self.l1.len() / l1_slots / BANKS as usize;
        let mut records = 0;
        let mut result = Ok(());
        for cpu in (0..).take(cpus) {
            let area = area(cpu, bank) as usize;
            // What is older comes first.
            let mut on_batch = |batch: &mut Vec<B::Record>| {
                records += batch.len();
                hand_over(batch.iter().map(AsRecord::as_record), handle);
                batch.clear();
            };
            result = self.take_area(
                [slots_of_area(area, l1_slots), slots_of_area(area, l2_slots)],
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

    /// Takes the records of L2, of the insert batch and of L1 of an area.
    fn take_area(
        &mut self,
        [l1_slots, l2_slots]: [Range<usize>; 2],
        area: usize,
        on_batch: &mut dyn FnMut(&mut Vec<B::Record>),
    ) -> Result<(), DatapathError> {
        let Self {
            tags,
            opened,
            taken,
            ..
        } = self;
        let mut level = Level {
            tags,
            opened,
            taken,
            on_batch,
        };
        level.take(&self.l2, l2_slots, self.l1.len())?;
        if let Some(batch) = self.batches.load(area) {
            level.taken.batch.extend_from_slice(batch.waiting());
            self.batches.clear(area);
        }
        level.take(&self.l1, l1_slots, 0)
    }
}

/// Indices of the slots of an area, with this number of slots per area.
const fn slots_of_area(area: usize, slots: usize) -> Range<usize> {
    area * slots..(area + 1) * slots
}

/// Records that were taken out and not yet handed over.
#[derive(Debug)]
struct Taken<R> {
    /// In any order, at most [`BATCH`] of them.
    batch: Vec<R>,
    /// Order-sensitive records, each with the time at which it was opened.
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
        if record.is_order_sensitive() {
            self.ordered.push((opened(), record));
        } else {
            self.batch.push(record);
        }
    }
}

/// Takes records out of L1 or L2.
struct Level<'a, R> {
    tags: &'a Entries<u64>,
    opened: &'a SharedArray<u64>,
    taken: &'a mut Taken<R>,
    on_batch: &'a mut dyn FnMut(&mut Vec<R>),
}

impl<R: Coalesce> Level<'_, R> {
    /// Takes the records of some of the slots. `first_position` is where the tags and opening times of the
    /// level begin.
    fn take<S>(
        &mut self,
        level: &SharedArray<S>,
        slots: Range<usize>,
        first_position: usize,
    ) -> Result<(), DatapathError>
    where
        S: CacheSlot<Record = R> + FromBytes + IntoBytes + Immutable,
    {
        let mut mapped: Option<(Entries<S>, Entries<u64>)> = None;
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
            let (mapped_slots, opened) = match &mapped {
                Some(mapped) => mapped,
                None => mapped.insert((
                    level.map(slots.clone())?,
                    self.opened.map(positions.clone())?,
                )),
            };
            tags.store(0, Ordering::Relaxed);
            for (slot, tag) in (first - start..).zip(octets) {
                if tag != 0
                    && let Some(entry) = mapped_slots.load(slot)
                {
                    mapped_slots.clear(slot);
                    let opened_at = || opened.load(slot).unwrap_or_default();
                    self.taken.take(entry.record(), opened_at);
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
