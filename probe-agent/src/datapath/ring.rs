//! The ring: records from the programs to one drain thread, which also empties the cache.

use std::{
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use aya::maps::{Map, MapData, MapError};
use probe_common::{
    control::maps,
    record::{Record, RecordV4},
};

use super::{DatapathError, cache::CacheReader, cache_parts::CacheParts, load::Object};
use crate::source::{Drained, RecordStream, Records, SourceError, Waker};

mod fill;
mod reader;
mod wait;

pub use fill::Fill;
use reader::{HEADER_BYTES, Reader};
use wait::Wait;

/// The longest that records lie in the ring before somebody looks. Long, since each look costs some
/// 50 us of a CPU in a virtual machine; a ring that fills up wakes its reader before, and so does
/// whoever asks for flows.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A pass that found less than this part of the ring is followed by a rest.
const WORTH_ANOTHER_PASS: usize = 64;

/// Reading end of the ring.
pub struct RingStream {
    reader: Reader,
    /// Keeps the map, whose end the reader has mapped.
    _map: MapData,
    /// The most entries that the ring holds at a time.
    capacity: usize,
    undecodable: Arc<AtomicU64>,
    cache: Option<CacheReader>,
    fill: Arc<Fill>,
    handed: Arc<Handed>,
    wait: Wait,
}

/// Records that were handed over.
#[derive(Debug, Default)]
pub struct Handed {
    ring: AtomicU64,
    cache: AtomicU64,
}

impl Handed {
    /// How many there were so far.
    pub fn records(&self) -> Records {
        Records {
            ring: self.ring.load(Ordering::Relaxed),
            cache: self.cache.load(Ordering::Relaxed),
        }
    }
}

impl RingStream {
    /// Takes ring and cache from the object, which was loaded with such a cache.
    pub fn new(object: &mut Object, cache: CacheParts) -> Result<Self, DatapathError> {
        let Map::RingBuf(map) = object.take_map(maps::RECORDS)? else {
            return Err(DatapathError::NoMap { map: maps::RECORDS });
        };
        let info = map.info().map_err(DatapathError::read(maps::RECORDS))?;
        let bytes = info.max_entries() as usize;
        let reader = Reader::new(map.fd().as_fd(), bytes)
            .map_err(|error| DatapathError::map_memory(maps::RECORDS)(MapError::IoError(error)))?;
        Ok(Self {
            wait: Wait::new(map.fd())?,
            reader,
            _map: map,
            capacity: bytes / (HEADER_BYTES + size_of::<RecordV4>()),
            undecodable: Arc::default(),
            cache: CacheReader::new(object, cache)?,
            fill: Arc::default(),
            handed: Arc::default(),
        })
    }

    /// How full it was.
    pub fn fill(&self) -> Arc<Fill> {
        Arc::clone(&self.fill)
    }

    /// How many records it handed over.
    pub fn handed(&self) -> Arc<Handed> {
        Arc::clone(&self.handed)
    }

    /// Entries that were no record of this build. Anything but 0 is a defect.
    pub fn undecodable(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.undecodable)
    }
}

impl RecordStream for RingStream {
    /// Entries are read in the order in which they were begun; one that a CPU has not completed
    /// ends the call (see [`BankSwitch::switch`](super::bank::BankSwitch::switch)). As many
    /// entries as the ring can hold include all that were there at the call, whatever the traffic.
    fn drain(&mut self, handle: &mut dyn FnMut(&[Record<'_>])) -> Result<Drained, SourceError> {
        let mut records = 0;
        let mut passed = 0;
        while passed < self.capacity {
            let batch = self.reader.next_batch(handle);
            if batch.entries == 0 {
                break;
            }
            passed += batch.entries;
            records += batch.records;
            if batch.undecodable > 0 {
                self.undecodable
                    .fetch_add(batch.undecodable as u64, Ordering::Relaxed);
            }
        }
        self.fill.on_pass(passed, self.capacity, Instant::now());
        if records == 0 {
            return Ok(Drained::Idle);
        }
        self.handed
            .ring
            .fetch_add(records as u64, Ordering::Relaxed);
        Ok(Drained::Records(records))
    }

    fn rest(&mut self, records: usize) {
        if records < self.capacity / WORTH_ANOTHER_PASS {
            self.wait.wait(LOOK_EVERY);
        }
    }

    fn waker(&self) -> Option<Waker> {
        Some(self.wait.waker())
    }

    fn drain_closed(
        &mut self,
        bank: u8,
        handle: &mut dyn FnMut(&[Record<'_>]),
    ) -> Result<(), SourceError> {
        if let Some(cache) = &mut self.cache {
            let records = cache.drain(bank, handle)?;
            self.handed
                .cache
                .fetch_add(records as u64, Ordering::Relaxed);
        }
        Ok(())
    }
}
