//! Reading several rings in turn.

use std::{io, os::fd::BorrowedFd};

use probe_common::record::{Record, RecordV4};

use super::reader::{DrainedBatch, HEADER_BYTES, Reader};

/// The reading ends of all rings.
#[derive(Debug)]
pub(super) struct Readers {
    rings: Vec<Ring>,
}

/// One ring and its reader.
#[derive(Debug)]
struct Ring {
    reader: Reader,
    /// The most entries that it holds at a time.
    capacity: usize,
    /// Entries that this pass may still take.
    left: usize,
}

/// What a pass came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pass {
    /// Records that were handed over.
    pub(super) records: usize,
    /// Entries that were no records of this build.
    pub(super) undecodable: usize,
    /// The largest share of a ring that was found filled, 0 to 1.
    pub(super) fill: f64,
}

impl Readers {
    /// Maps rings with so many bytes of data each.
    pub(super) fn new<'a>(
        maps: impl Iterator<Item = BorrowedFd<'a>>,
        bytes: usize,
    ) -> io::Result<Self> {
        let rings = maps.map(|map| {
            Ok(Ring {
                reader: Reader::new(map, bytes)?,
                capacity: bytes / (HEADER_BYTES + size_of::<RecordV4>()),
                left: 0,
            })
        });
        Ok(Self {
            rings: rings.collect::<io::Result<_>>()?,
        })
    }

    /// The most entries that all of them hold at a time.
    pub(super) fn capacity(&self) -> usize {
        self.rings.iter().map(|ring| ring.capacity).sum()
    }

    /// Hands over what lies in the rings, in turns of a batch each: the calm ones do not fill up
    /// while a flooded one is read.
    ///
    /// The entries of a ring are read in the order in which they were begun; at one that a CPU has
    /// not completed the ring ends for now (see
    /// [`BankSwitch::switch`](crate::bank::BankSwitch::switch)). The pass ends when no
    /// ring has anything more, or each has given as many entries as it can hold: these include all
    /// that were there at the call, whatever the traffic.
    pub(super) fn pass(&mut self, handle: &mut dyn FnMut(&[Record<'_>])) -> Pass {
        for ring in &mut self.rings {
            ring.left = ring.capacity;
        }
        let mut pass = Pass::default();
        loop {
            let mut entries = 0;
            for ring in &mut self.rings {
                let batch = ring.next_batch(handle);
                entries += batch.entries;
                pass.on_batch(batch);
            }
            if entries == 0 {
                return pass;
            }
        }
    }
}

impl Ring {
    /// The next batch, if the pass may take one more.
    fn next_batch(&mut self, handle: &mut dyn FnMut(&[Record<'_>])) -> DrainedBatch {
        if self.left == 0 {
            return DrainedBatch::default();
        }
        let batch = self.reader.next_batch(handle);
        self.left = self.left.saturating_sub(batch.entries);
        batch
    }
}

impl Pass {
    fn on_batch(&mut self, batch: DrainedBatch) {
        self.records += batch.records;
        self.undecodable += batch.undecodable;
        self.fill = self.fill.max(batch.fill);
    }
}

#[cfg(test)]
mod tests;
