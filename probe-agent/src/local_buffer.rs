//! Local buffers: where records wait while their flow log is being rotated or copied.
//!
//! One buffer per capture, grown by doubling from one page, out of one bounded budget. What does
//! not fit is an error which the caller counts; nothing is dropped silently.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use probe_common::record::Record;
use zerocopy::{FromBytes, IntoBytes};

/// First size of a buffer: one page.
const FIRST_SIZE_BYTES: usize = 4096;
const WORD_BYTES: usize = size_of::<u64>();

/// The buffer is full: its own limit or the pool's budget is used up.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("local packet buffer overflow")]
pub struct LocalBufferOverflow;

/// The budget that all buffers grow from: `num` times the largest size of one.
///
/// The seed hands out `num` whole buffers. Here a rotation touches all interfaces at once, so the
/// budget is shared by as many buffers as there are interfaces, and each takes what it needs.
#[derive(Debug)]
pub struct LocalBufferPool {
    free_bytes: AtomicUsize,
    size_limit_bytes: usize,
}

impl LocalBufferPool {
    /// A pool of `num * size_limit_bytes`, with buffers of at most `size_limit_bytes` each.
    pub fn new(num: usize, size_limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            free_bytes: AtomicUsize::new(num.saturating_mul(size_limit_bytes)),
            size_limit_bytes,
        })
    }

    /// Bytes that no buffer has taken.
    pub fn free_bytes(&self) -> usize {
        self.free_bytes.load(Ordering::Relaxed)
    }

    fn try_take(&self, bytes: usize) -> bool {
        self.free_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
                free.checked_sub(bytes)
            })
            .is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.free_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Records in the order of their arrival.
#[derive(Debug)]
pub struct LocalBuffer {
    pool: Arc<LocalBufferPool>,
    /// The records' bytes. Words, because records are read in place and need their alignment.
    words: Vec<u64>,
    /// Bytes taken from the pool.
    reserved_bytes: usize,
    /// Position of the next record to be read, in words.
    read: usize,
}

impl LocalBuffer {
    /// An empty buffer, which takes nothing from the pool before the first record.
    pub fn new(pool: Arc<LocalBufferPool>) -> Self {
        Self {
            pool,
            words: Vec::new(),
            reserved_bytes: 0,
            read: 0,
        }
    }

    /// Appends a record.
    pub fn add(&mut self, record: Record<'_>) -> Result<(), LocalBufferOverflow> {
        let bytes = record.as_bytes();
        let Ok(words) = <[u64]>::ref_from_bytes(bytes) else {
            return Err(LocalBufferOverflow);
        };
        let needed = self.used_bytes() + bytes.len();
        if needed > self.reserved_bytes {
            self.grow(needed)?;
        }
        self.words.extend_from_slice(words);
        Ok(())
    }

    fn grow(&mut self, needed: usize) -> Result<(), LocalBufferOverflow> {
        let doubled = (self.reserved_bytes * 2).max(FIRST_SIZE_BYTES);
        let size = doubled.min(self.pool.size_limit_bytes);
        let more = size - self.reserved_bytes;
        if size < needed || !self.pool.try_take(more) {
            return Err(LocalBufferOverflow);
        }
        self.reserved_bytes = size;
        self.words
            .reserve_exact(size / WORD_BYTES - self.words.len());
        Ok(())
    }

    /// Reads the next record, in the order of `add`.
    #[expect(
        clippy::should_implement_trait,
        reason = "lends from the buffer, as no Iterator can"
    )]
    pub fn next(&mut self) -> Option<Record<'_>> {
        let record = Record::from_bytes(self.words.get(self.read..)?.as_bytes())?;
        self.read += record.as_bytes().len() / WORD_BYTES;
        Some(record)
    }

    /// Whether nothing was added since the last reset.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Empties the buffer and gives its memory back to the pool.
    pub fn reset(&mut self) {
        self.words = Vec::new();
        self.read = 0;
        self.pool
            .give_back(std::mem::take(&mut self.reserved_bytes));
    }

    /// Share of the buffer's largest size that is written, whatever was read of it: 0 to 1.
    pub fn usage(&self) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share for people and dashboards"
        )]
        let share = self.used_bytes() as f64 / self.pool.size_limit_bytes.max(1) as f64;
        share
    }

    fn used_bytes(&self) -> usize {
        self.words.len() * WORD_BYTES
    }
}

impl Drop for LocalBuffer {
    fn drop(&mut self) {
        self.reset();
    }
}

#[cfg(test)]
mod tests {
    use probe_common::{
        ephash::{EpHashV4, EpHashV6},
        record::{IntoRecord, Record, RecordHead},
    };
    use zerocopy::FromZeros;

    use super::{LocalBuffer, LocalBufferOverflow, LocalBufferPool};

    fn head(packets: u32) -> RecordHead {
        RecordHead {
            packets,
            ..RecordHead::default()
        }
    }

    #[test]
    fn records_come_back_in_order_and_with_their_family() {
        let mut buffer = LocalBuffer::new(LocalBufferPool::new(1, 1 << 20));
        let v4 = EpHashV4::new_zeroed();
        let v6 = EpHashV6::new_zeroed();
        for packets in 0..500 {
            buffer
                .add(Record::V4(&v4.into_record(head(packets))))
                .unwrap();
            buffer
                .add(Record::V6(&v6.into_record(head(packets))))
                .unwrap();
        }
        for packets in 0..500 {
            assert_eq!(
                buffer.next(),
                Some(Record::V4(&v4.into_record(head(packets))))
            );
            assert_eq!(
                buffer.next(),
                Some(Record::V6(&v6.into_record(head(packets))))
            );
        }
        assert_eq!(buffer.next(), None);
        buffer.reset();
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_full_buffer_says_so_and_keeps_what_it_has() {
        let mut buffer = LocalBuffer::new(LocalBufferPool::new(1, 100));
        let record = EpHashV4::new_zeroed().into_record(head(1));
        assert_eq!(buffer.add(Record::V4(&record)), Ok(()));
        assert_eq!(buffer.add(Record::V4(&record)), Ok(()));
        assert_eq!(buffer.add(Record::V4(&record)), Err(LocalBufferOverflow));
        assert!((buffer.usage() - 0.8).abs() < 1e-9, "80 of 100 bytes");
        assert_eq!(buffer.next(), Some(Record::V4(&record)));
        assert_eq!(buffer.next(), Some(Record::V4(&record)));
        assert_eq!(buffer.next(), None);
    }

    #[test]
    fn buffers_share_the_budget_and_give_it_back() {
        let pool = LocalBufferPool::new(1, 8192);
        let record = EpHashV4::new_zeroed().into_record(head(1));
        let mut first = LocalBuffer::new(pool.clone());
        let mut second = LocalBuffer::new(pool.clone());
        while first.add(Record::V4(&record)).is_ok() {}
        assert_eq!(pool.free_bytes(), 0);
        assert_eq!(second.add(Record::V4(&record)), Err(LocalBufferOverflow));
        first.reset();
        assert_eq!(second.add(Record::V4(&record)), Ok(()));
        drop(second);
        assert_eq!(pool.free_bytes(), 8192);
    }
}
