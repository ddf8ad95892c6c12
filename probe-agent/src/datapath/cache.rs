//! The open records that the programs keep, of a bank that is closed: read, cleared and handed over
//! by the drain thread.

use std::sync::atomic::Ordering;

use probe_common::{
    coalesce::{Coalesce, area},
    control::{BANKS, maps},
    record::{Record, RecordV4, RecordV6},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{
    DatapathError,
    load::Object,
    shared_array::{Entries, SharedArray},
};

/// Records that room is kept for from one bank to the next.
const KEPT_RECORDS: usize = 4096;

/// Reads the cache.
#[derive(Debug)]
pub struct CacheReader {
    v4: Family<RecordV4>,
    v6: Family<RecordV6>,
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
                [maps::CACHE_V4, maps::OPENED_V4, maps::DIRTY_V4],
                slots,
            )?,
            v6: Family::new(
                object,
                [maps::CACHE_V6, maps::OPENED_V6, maps::DIRTY_V6],
                slots,
            )?,
        }))
    }

    /// Hands over the records of a bank that no program uses any more, and makes its areas vacant.
    /// Returns how many there were.
    ///
    /// They come in the order in which they were opened, over all CPUs: who spoke first may be all
    /// that is known about the direction of a flow.
    pub fn drain(
        &mut self,
        bank: u8,
        handle: &mut dyn FnMut(Record<'_>),
    ) -> Result<usize, DatapathError> {
        let bank = u32::from(bank) % BANKS;
        let taken = self.v4.take(bank).and_then(|()| self.v6.take(bank));
        let records = self.v4.taken.len() + self.v6.taken.len();
        self.hand_over(handle);
        taken.map(|()| records)
    }

    fn hand_over(&mut self, handle: &mut dyn FnMut(Record<'_>)) {
        self.v4.taken.sort_unstable_by_key(|(opened, _)| *opened);
        for (_, record) in &self.v4.taken {
            handle(Record::V4(record));
        }
        self.v6.taken.sort_unstable_by_key(|(opened, _)| *opened);
        for (_, record) in &self.v6.taken {
            handle(Record::V6(record));
        }
        self.v4.reset();
        self.v6.reset();
    }
}

/// The cache of one IP version.
#[derive(Debug)]
struct Family<R> {
    slots: usize,
    records: SharedArray<R>,
    opened: SharedArray<u64>,
    dirty: Entries<u64>,
    /// Read and not yet handed over, with the moment that each was opened.
    taken: Vec<(u64, R)>,
}

impl<R: Coalesce + FromBytes + IntoBytes + Immutable> Family<R> {
    fn new(
        object: &Object,
        [records, opened, dirty]: [&'static str; 3],
        slots: u32,
    ) -> Result<Self, DatapathError> {
        let dirty = SharedArray::<u64>::new(object, dirty)?;
        Ok(Self {
            slots: slots as usize,
            records: SharedArray::new(object, records)?,
            opened: SharedArray::new(object, opened)?,
            dirty: dirty.map(0..dirty.len())?,
            taken: Vec::new(),
        })
    }

    /// Takes the records of all CPUs. After an error what could be read is there, and the rest can
    /// be taken another time.
    fn take(&mut self, bank: u32) -> Result<(), DatapathError> {
        let cpus = self.records.len() / self.slots / BANKS as usize;
        for cpu in (0..).take(cpus) {
            self.take_area(area(cpu, bank) as usize)?;
        }
        Ok(())
    }

    fn take_area(&mut self, area: usize) -> Result<(), DatapathError> {
        let words = self.slots.div_ceil(64);
        let slots = area * self.slots..(area + 1) * self.slots;
        let mut mapped: Option<(Entries<R>, Entries<u64>)> = None;
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
                let opened = opened.load(slot).unwrap_or_default();
                self.taken.extend(record.map(|record| (opened, record)));
                records.clear(slot);
            }
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.taken.clear();
        self.taken.shrink_to(KEPT_RECORDS);
    }
}
