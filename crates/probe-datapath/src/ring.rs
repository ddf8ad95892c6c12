//! The rings: records from the programs to one drain thread, which also empties the cache.

use std::{
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use aya::maps::{Map, MapData, MapError};
use probe_common::{control::maps, record::Record};

use probe_capture::source::{Drained, RecordStream, Records, SourceError, Waker};

use super::{
    DatapathError, cache::CacheReader, cache_parts::CacheParts, load::Object,
    syscall::run_in_slices,
};

mod fill;
pub(super) mod further;
mod reader;
mod readers;
mod wait;

pub use fill::Fill;
use readers::Readers;
use wait::Wait;

/// The longest that records lie in a ring before it is polled. Long, since each poll costs some
/// 50 us of a CPU in a virtual machine; a ring that fills up wakes its reader before, and so does
/// every query for flows.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// In which slices of a CPU a drain thread works: a rotation, which works for long, must not make it
/// wait for one of the usual length, some 3 ms.
const SLICE: Duration = Duration::from_micros(100);

/// A pass that found less than this part of what the rings hold is followed by a wait.
const WORTH_ANOTHER_PASS: usize = 64;

/// Reading end of all rings.
pub struct RingStream {
    readers: Readers,
    /// Keeps the maps, whose ends the readers have mapped.
    _maps: Vec<MapData>,
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
    /// Takes rings and cache from the object, which was loaded with such a cache.
    ///
    /// # Errors
    ///
    /// [`DatapathError::NoMap`]: the object lacks a ring or a map of the cache.
    /// [`DatapathError::Map`]: the kernel does not describe a map, or does not map it into memory.
    /// [`DatapathError::Wait`]: too many files are open.
    pub fn new(object: &mut Object, cache: CacheParts) -> Result<Self, DatapathError> {
        let name = maps::RECORDS;
        let Map::RingBuf(first) = object.take_map(name)? else {
            return Err(DatapathError::NoMap { map: name });
        };
        let info = first.info().map_err(DatapathError::read(name))?;
        let bytes = info.max_entries() as usize;
        let mut maps = vec![first];
        maps.extend(object.take_further_rings());
        let fds = || maps.iter().map(|map| map.fd().as_fd());
        let readers = Readers::new(fds(), bytes)
            .map_err(|error| DatapathError::map_memory(name)(MapError::IoError(error)))?;
        Ok(Self {
            wait: Wait::new(fds())?,
            readers,
            _maps: maps,
            undecodable: Arc::default(),
            cache: CacheReader::new(object, cache)?,
            fill: Arc::default(),
            handed: Arc::default(),
        })
    }

    /// How full they were.
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
    fn on_thread_start(&mut self) {
        if let Err(error) = run_in_slices(SLICE) {
            tracing::debug!(%error, "drain threads run in slices of the usual length");
        }
    }

    /// One pass over all rings, which hands over what they held at the call: see
    /// [`Readers::pass`].
    fn drain(&mut self, handle: &mut dyn FnMut(&[Record<'_>])) -> Result<Drained, SourceError> {
        let pass = self.readers.pass(handle);
        if pass.undecodable > 0 {
            self.undecodable
                .fetch_add(pass.undecodable as u64, Ordering::Relaxed);
        }
        self.fill.on_pass(pass.fill, Instant::now());
        let records = pass.records;
        if records == 0 {
            return Ok(Drained::Idle);
        }
        self.handed
            .ring
            .fetch_add(records as u64, Ordering::Relaxed);
        Ok(Drained::Records(records))
    }

    fn wait(&mut self, records: usize) {
        if records < self.readers.capacity() / WORTH_ANOTHER_PASS {
            self.wait.wait(POLL_EVERY);
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
