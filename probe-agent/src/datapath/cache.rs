//! The open records that the programs keep, of a bank that is closed: read, cleared and handed over
//! by the drain thread.

use std::sync::atomic::Ordering;

use probe_common::{
    coalesce::{Coalesce as _, Pending, PendingV4, PendingV6},
    control::{BANKS, area, maps},
    record::{AsRecord, Record},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{
    DatapathError,
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
    /// Takes the maps from the object, whose areas have so many slots. `None` if there are none.
    pub fn new(object: &Object, slots: u32) -> Result<Option<Self>, DatapathError> {
        if slots == 0 {
            return Ok(None);
        }
        Ok(Some(Self {
            v4: Family::new(
                object,
                [
                    maps::CACHE_V4,
                    maps::PENDING_V4,
                    maps::OPENED_V4,
                    maps::DIRTY_V4,
                ],
                slots,
            )?,
            v6: Family::new(
                object,
                [
                    maps::CACHE_V6,
                    maps::PENDING_V6,
                    maps::OPENED_V6,
                    maps::DIRTY_V6,
                ],
                slots,
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
    slots: usize,
    records: SharedArray<P::Record>,
    pending: Entries<P>,
    opened: SharedArray<u64>,
    dirty: Entries<u64>,
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
        [records, pending, opened, dirty]: [&'static str; 4],
        slots: u32,
    ) -> Result<Self, DatapathError> {
        let dirty = SharedArray::<u64>::new(object, dirty)?;
        let pending = SharedArray::<P>::new(object, pending)?;
        Ok(Self {
            slots: slots as usize,
            records: SharedArray::new(object, records)?,
            pending: pending.map(0..pending.len())?,
            opened: SharedArray::new(object, opened)?,
            dirty: dirty.map(0..dirty.len())?,
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
        let cpus = self.records.len() / self.slots / BANKS as usize;
        let mut records = 0;
        let mut result = Ok(());
        for cpu in (0..).take(cpus) {
            result = self.take_area(area(cpu, bank) as usize, &mut |batch| {
                records += batch.len();
                hand_over(batch.iter().map(AsRecord::as_record), handle);
                batch.clear();
            });
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

    fn take_area(
        &mut self,
        area: usize,
        on_batch: &mut dyn FnMut(&mut Vec<P::Record>),
    ) -> Result<(), DatapathError> {
        if let Some(pending) = self.pending.load(area) {
            self.batch.extend(pending.waiting());
            self.pending.clear(area);
        }
        let words = self.slots.div_ceil(64);
        let slots = area * self.slots..(area + 1) * self.slots;
        let mut mapped: Option<(Entries<P::Record>, Entries<u64>)> = None;
        for word in 0..words {
            let Some([dirty]) = self.dirty.words(area * words + word) else {
                break;
            };
            let mut bits = dirty.load(Ordering::Relaxed);
            if bits == 0 {
                continue;
            }
            let (records, opened) = match &mapped {
                Some(mapped) => mapped,
                None => mapped.insert((
                    self.records.map(slots.clone())?,
                    self.opened.map(slots.clone())?,
                )),
            };
            dirty.store(0, Ordering::Relaxed);
            while bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let record = records.load(slot).filter(|record| !record.is_vacant());
                records.clear(slot);
                match record {
                    Some(record) if record.is_told_by_order() => {
                        let opened = opened.load(slot).unwrap_or_default();
                        self.ordered.push((opened, record));
                    }
                    Some(record) => self.batch.push(record),
                    None => {}
                }
                if self.batch.len() >= BATCH {
                    on_batch(&mut self.batch);
                }
            }
        }
        on_batch(&mut self.batch);
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
