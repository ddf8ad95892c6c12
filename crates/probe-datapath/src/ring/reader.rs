//! Reading the ring in batches: entries are handed over where they lie, and given back together.
//!
//! Its layout is that of `kernel/bpf/ringbuf.c`: a page with the reader's position, a page with the
//! programs' position, and the data, mapped twice in a row so that no entry is broken. Positions
//! only grow; each entry begins with a header of 8 bytes, the first four of which are its length
//! and two bits.

#![expect(
    unsafe_code,
    reason = "entries are borrowed where the programs put them"
)]

use std::{
    io,
    os::fd::BorrowedFd,
    sync::atomic::{AtomicU64, Ordering},
};

use probe_common::record::{Record, RecordV4};
use zerocopy::FromZeros as _;

use crate::mapping::{Access, Mapping, WORD_BYTES};

/// Entries that are handed over at once.
const BATCH: usize = 64;

/// Bytes of a record's header, `BPF_RINGBUF_HDR_SZ`.
pub(super) const HEADER_BYTES: usize = 8;
/// `BPF_RINGBUF_BUSY_BIT`: a program has begun the entry and not ended it.
const BUSY: u32 = 1 << 31;
/// `BPF_RINGBUF_DISCARD_BIT`: it has thought better of it.
const DISCARDED: u32 = 1 << 30;

/// The reading end. There must be one only.
#[derive(Debug)]
pub(super) struct Reader {
    position: Mapping,
    /// The programs' position, and the data from the next page on.
    written: Mapping,
    page_bytes: usize,
    /// Size of the data, a power of two.
    bytes: usize,
}

/// What a batch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct DrainedBatch {
    /// Entries that were given back.
    pub(super) entries: usize,
    /// Records among them, which were handed over.
    pub(super) records: usize,
    /// Entries that were no records of this build.
    pub(super) undecodable: usize,
    /// Share of the ring that was filled, 0 to 1.
    pub(super) fill: f64,
}

impl Reader {
    /// Maps a ring with so many bytes of data.
    pub(super) fn new(map: BorrowedFd<'_>, bytes: usize) -> io::Result<Self> {
        let page_bytes = rustix::param::page_size();
        // Of the second time only what an entry can reach into: all that is mapped counts as memory
        // of the process.
        let written = page_bytes..2 * page_bytes + bytes + page_bytes;
        Ok(Self {
            position: Mapping::new(map, 0..page_bytes, Access::Write)?,
            written: Mapping::new(map, written, Access::Read)?,
            page_bytes,
            bytes,
        })
    }

    /// Hands over the next entries, at most [`BATCH`]. One that a program has not completed ends the
    /// batch.
    pub(super) fn next_batch(&mut self, handle: &mut dyn FnMut(&[Record<'_>])) -> DrainedBatch {
        let vacant = RecordV4::new_zeroed();
        let mut records = [Record::V4(&vacant); BATCH];
        let mut position = self.given_back().load(Ordering::Relaxed);
        // Pairs with the release of a program that begins an entry: its header is there.
        let end = self.begun().load(Ordering::Acquire);
        let mut batch = DrainedBatch {
            fill: self.share(end.wrapping_sub(position)),
            ..DrainedBatch::default()
        };
        while position != end && batch.entries < BATCH {
            let Some((entry, length)) = self.entry(position) else {
                break;
            };
            batch.entries += 1;
            position += length;
            match entry.map(Record::from_bytes) {
                Some(Some(record)) => {
                    records[batch.records] = record;
                    batch.records += 1;
                }
                Some(None) => batch.undecodable += 1,
                None => {}
            }
        }
        if batch.records > 0 {
            handle(&records[..batch.records]);
        }
        // Pairs with the acquire of a program that asks for room: we have read what was there.
        self.given_back().store(position, Ordering::Release);
        batch
    }

    /// The entry at a position, unless it was discarded, and what it takes of the ring. `None` if it
    /// is not complete.
    fn entry(&self, position: u64) -> Option<(Option<&[u8]>, u64)> {
        let at = self.page_bytes + self.offset(position);
        // Pairs with the exchange that completes the entry. The other half of the word is the
        // kernel's own.
        let header = self.written.words().get(at / WORD_BYTES)?;
        let header = header.load(Ordering::Acquire).to_ne_bytes();
        let [first, second, third, fourth, ..] = header;
        let header = u32::from_ne_bytes([first, second, third, fourth]);
        if header & BUSY != 0 {
            return None;
        }
        let length = (header & !DISCARDED) as usize;
        let start = at + HEADER_BYTES;
        // SAFETY: the entry is complete, so no program writes it before it is given back, and that
        // is done by `next_batch`, which has the only exclusive borrow of `self` meanwhile.
        let bytes = unsafe { self.written.bytes(start..start + length) }?;
        let taken = (HEADER_BYTES + length).next_multiple_of(WORD_BYTES) as u64;
        Some(((header & DISCARDED == 0).then_some(bytes), taken))
    }

    /// What share of the data so many bytes are.
    #[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
    fn share(&self, bytes: u64) -> f64 {
        bytes as f64 / self.bytes as f64
    }

    /// Where a position lies in the data.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "less than the size of the data"
    )]
    const fn offset(&self, position: u64) -> usize {
        (position & (self.bytes as u64 - 1)) as usize
    }

    /// Up to where entries have been given back.
    fn given_back(&self) -> &AtomicU64 {
        &self.position.words()[0]
    }

    /// Up to where entries have been begun.
    fn begun(&self) -> &AtomicU64 {
        &self.written.words()[0]
    }
}
