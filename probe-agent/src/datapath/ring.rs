//! The ring: records from the programs to one drain thread.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aya::maps::{Map, MapData, RingBuf};
use probe_common::{
    control::maps,
    record::{Record, RecordV4},
};

use super::{DatapathError, load::Object};
use crate::source::{Drained, RecordStream, SourceError};

/// Header of each entry of a ring (`BPF_RINGBUF_HDR_SZ`).
const ENTRY_HEADER_BYTES: usize = 8;

/// Reading end of the ring.
pub struct RingStream {
    ring: RingBuf<MapData>,
    /// The most entries that the ring holds at a time.
    capacity: usize,
    undecodable: Arc<AtomicU64>,
}

impl RingStream {
    /// Takes the ring from the object.
    pub fn new(object: &mut Object) -> Result<Self, DatapathError> {
        let map = object.take_map(maps::RECORDS)?;
        let bytes = match &map {
            Map::RingBuf(data) => data
                .info()
                .map_err(DatapathError::read(maps::RECORDS))?
                .max_entries(),
            _ => 0,
        };
        Ok(Self {
            ring: RingBuf::try_from(map).map_err(DatapathError::read(maps::RECORDS))?,
            capacity: bytes as usize / (ENTRY_HEADER_BYTES + size_of::<RecordV4>()),
            undecodable: Arc::default(),
        })
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
    fn drain(&mut self, handle: &mut dyn FnMut(Record<'_>)) -> Result<Drained, SourceError> {
        let mut records = 0;
        for _ in 0..self.capacity {
            let Some(entry) = self.ring.next() else {
                break;
            };
            if let Some(record) = Record::from_bytes(&entry) {
                records += 1;
                handle(record);
            } else {
                self.undecodable.fetch_add(1, Ordering::Relaxed);
            }
        }
        if records == 0 {
            return Ok(Drained::Idle);
        }
        Ok(Drained::Records(records))
    }
}
