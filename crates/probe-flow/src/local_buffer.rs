//! Local buffers: where records wait while their flow log is being rotated or copied.
//!
//! One buffer per capture, grown by doubling from one page, out of one bounded budget. What does
//! not fit is an error which the caller counts; nothing is dropped silently.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use probe_common::record::{Record, RecordV4, RecordV6};

/// First size of a buffer: one page.
const FIRST_SIZE_BYTES: usize = 4096;

/// The buffer is full: its own limit or the pool's budget is used up.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("local packet buffer overflow")]
pub struct LocalBufferOverflow;

/// Bounds of the local buffers: together they take at most `num * size_limit` bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LocalBuffersConfig {
    /// How many buffers of `size_limit_bytes` the budget holds.
    pub num: usize,
    /// Largest buffer of one interface.
    pub size_limit_bytes: usize,
}

impl Default for LocalBuffersConfig {
    fn default() -> Self {
        Self {
            num: 1,
            size_limit_bytes: 64 << 20,
        }
    }
}

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

/// Records, each IP version in the order of its arrival: it is all the same to a flow log in which
/// order it gets the one and the other.
#[derive(Debug)]
pub struct LocalBuffer {
    pool: Arc<LocalBufferPool>,
    v4: Lane<RecordV4>,
    v6: Lane<RecordV6>,
}

/// The records of one IP version.
#[derive(Debug)]
struct Lane<R> {
    records: Vec<R>,
    /// Bytes taken from the pool.
    reserved_bytes: usize,
    /// Position of the next record to be read.
    read: usize,
}

impl<R> Default for Lane<R> {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            reserved_bytes: 0,
            read: 0,
        }
    }
}

impl<R: Copy> Lane<R> {
    /// Appends a record, if the lane may grow to `limit_bytes`.
    fn add(
        &mut self,
        record: &R,
        pool: &LocalBufferPool,
        limit_bytes: usize,
    ) -> Result<(), LocalBufferOverflow> {
        let needed = self.used_bytes() + size_of::<R>();
        if needed > self.reserved_bytes {
            let doubled = (self.reserved_bytes * 2).max(FIRST_SIZE_BYTES);
            let size = doubled.min(limit_bytes);
            if size < needed || !pool.try_take(size - self.reserved_bytes) {
                return Err(LocalBufferOverflow);
            }
            self.reserved_bytes = size;
            let records = size / size_of::<R>();
            self.records.reserve_exact(records - self.records.len());
        }
        self.records.push(*record);
        Ok(())
    }

    fn next(&mut self) -> Option<&R> {
        let record = self.records.get(self.read)?;
        self.read += 1;
        Some(record)
    }

    const fn used_bytes(&self) -> usize {
        self.records.len() * size_of::<R>()
    }
}

impl LocalBuffer {
    /// An empty buffer, which takes nothing from the pool before the first record.
    pub fn new(pool: Arc<LocalBufferPool>) -> Self {
        Self {
            pool,
            v4: Lane::default(),
            v6: Lane::default(),
        }
    }

    /// Appends a record to the buffer.
    ///
    /// # Errors
    ///
    /// [`LocalBufferOverflow`]: the buffer has its largest size, or the pool has too little left
    /// for it to grow. The record is not kept.
    pub fn add(&mut self, record: Record<'_>) -> Result<(), LocalBufferOverflow> {
        let limit = self.pool.size_limit_bytes;
        match record {
            Record::V4(record) => {
                let limit = limit - self.v6.reserved_bytes;
                self.v4.add(record, &self.pool, limit)
            }
            Record::V6(record) => {
                let limit = limit - self.v4.reserved_bytes;
                self.v6.add(record, &self.pool, limit)
            }
        }
    }

    /// Reads the next record.
    #[expect(
        clippy::should_implement_trait,
        reason = "lends from the buffer, as no Iterator can"
    )]
    pub fn next(&mut self) -> Option<Record<'_>> {
        match self.v4.next() {
            Some(record) => Some(Record::V4(record)),
            None => self.v6.next().map(Record::V6),
        }
    }

    /// Whether nothing was added since the last reset.
    pub fn is_empty(&self) -> bool {
        self.used_bytes() == 0
    }

    /// Empties the buffer and gives its memory back to the pool.
    pub fn reset(&mut self) {
        self.pool
            .give_back(self.v4.reserved_bytes + self.v6.reserved_bytes);
        self.v4 = Lane::default();
        self.v6 = Lane::default();
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

    const fn used_bytes(&self) -> usize {
        self.v4.used_bytes() + self.v6.used_bytes()
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
        }
        for packets in 0..500 {
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
