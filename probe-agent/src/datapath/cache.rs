//! The open records that the programs keep, of a bank that is closed: read, cleared and handed over
//! by the drain thread.

use std::{ops::Range, sync::atomic::Ordering};

use probe_common::{
    coalesce::{Coalesce as _, Pending, PendingV4, PendingV6, tags::WAYS},
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
                [
                    maps::CACHE_V4,
                    maps::PENDING_V4,
                    maps::OPENED_V4,
                    maps::TAGS_V4,
                ],
                parts,
            )?,
            v6: Family::new(
                object,
                [
                    maps::CACHE_V6,
                    maps::PENDING_V6,
                    maps::OPENED_V6,
                    maps::TAGS_V6,
                ],
                parts,
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

/// The cache of one IP version.
#[derive(Debug)]
struct Family<P: Pending> {
    parts: CacheParts,
    records: SharedArray<P::Record>,
    pending: Entries<P>,
    opened: SharedArray<u64>,
    /// Which entries hold records.
    tags: Entries<u64>,
    /// Records in any order, up to a batch of them.
    batch: Vec<P::Record>,
    /// Those that go by the order, with the moment that each was opened.
    ordered: Vec<(u64, P::Record)>,
}

impl<P> Family<P>
where
    P: Pending<Record: AsRecord + FromBytes + IntoBytes + Immutable>
        + FromBytes
        + IntoBytes
        + Immutable,
{
    fn new(
        object: &Object,
        [records, pending, opened, tags]: [&'static str; 4],
        parts: CacheParts,
    ) -> Result<Self, DatapathError> {
        let tags = SharedArray::<u64>::new(object, tags)?;
        let pending = SharedArray::<P>::new(object, pending)?;
        Ok(Self {
            parts,
            records: SharedArray::new(object, records)?,
            pending: pending.map(0..pending.len())?,
            opened: SharedArray::new(object, opened)?,
            tags: tags.map(0..tags.len())?,
            batch: Vec::with_capacity(BATCH),
            ordered: Vec::new(),
        })
    }

    /// Takes the records of all CPUs and hands them over.
    fn drain(
        &mut self,
        bank: u32,
        handle: &mut dyn FnMut(&[Record<'_>]),
    ) -> Result<usize, DatapathError> {
        let areas = self.records.len() / self.parts.slots::<P::Record>() as usize;
        let cpus = areas / BANKS as usize;
        let front = self.parts.front() as usize;
        let back = self.parts.back::<P::Record>() as usize;
        let backs = areas * front;
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
            result = self.take_slots(of_area(area, backs, back), &mut on_batch);
            if result.is_ok() {
                self.take_row(area);
                result = self.take_slots(of_area(area, 0, front), &mut on_batch);
            }
            if result.is_err() {
                break;
            }
        }
        self.ordered.sort_by_key(|(opened, _)| *opened);
        records += self.ordered.len();
        hand_over(
            self.ordered.iter().map(|(_, record)| record.as_record()),
            handle,
        );
        self.ordered.clear();
        self.ordered.shrink_to(KEPT_RECORDS);
        result.map(|()| records)
    }

    /// Takes what waits in the row of an area into the batch.
    fn take_row(&mut self, area: usize) {
        if let Some(pending) = self.pending.load(area) {
            self.batch.extend_from_slice(pending.waiting());
            self.pending.clear(area);
        }
    }

    /// Takes the records of one part of an area.
    fn take_slots(
        &mut self,
        slots: Range<usize>,
        on_batch: &mut dyn FnMut(&mut Vec<P::Record>),
    ) -> Result<(), DatapathError> {
        let mut mapped: Option<Mapped<P::Record>> = None;
        for first in slots.clone().step_by(WAYS as usize) {
            let Some([tags]) = self.tags.words(first / WAYS as usize) else {
                break;
            };
            let octets = tags.load(Ordering::Relaxed).to_le_bytes();
            if octets == [0; _] {
                continue;
            }
            let mapped = match &mapped {
                Some(mapped) => mapped,
                None => mapped.insert(self.map(slots.clone())?),
            };
            tags.store(0, Ordering::Relaxed);
            for (slot, tag) in (first - slots.start..).zip(octets) {
                if tag != 0 {
                    self.take(mapped, slot);
                }
            }
            if self.batch.len() >= BATCH {
                on_batch(&mut self.batch);
            }
        }
        on_batch(&mut self.batch);
        Ok(())
    }

    fn map(&self, slots: Range<usize>) -> Result<Mapped<P::Record>, DatapathError> {
        Ok(Mapped {
            records: self.records.map(slots.clone())?,
            opened: self.opened.map(slots)?,
        })
    }

    /// Takes the record of an entry.
    fn take(&mut self, mapped: &Mapped<P::Record>, entry: usize) {
        let record = mapped.records.load(entry);
        mapped.records.clear(entry);
        match record.filter(|record| !record.is_vacant()) {
            Some(record) if record.is_told_by_order() => {
                let opened = mapped.opened.load(entry).unwrap_or_default();
                self.ordered.push((opened, record));
            }
            Some(record) => self.batch.push(record),
            None => {}
        }
    }
}

/// The slots of an area where each has so many, from a position on.
const fn of_area(area: usize, from: usize, slots: usize) -> Range<usize> {
    from + area * slots..from + (area + 1) * slots
}

/// Entries that are mapped.
struct Mapped<R> {
    records: Entries<R>,
    opened: Entries<u64>,
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
