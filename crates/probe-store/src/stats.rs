//! What a sink has done, for metrics and status: counters that only grow, and the queue's length.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;

/// What a sink did since the agent started, and what waits for it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SinkCounts {
    /// Intervals that the sink has stored.
    pub written: u64,
    /// Intervals that could not be stored.
    pub failed: u64,
    /// Intervals that found the queue full.
    pub dropped: u64,
    /// Intervals in the queue now.
    pub queue_length: u64,
}

/// Where the numbers of a sink come from.
pub trait SinkReader: Send + Sync {
    /// Reads the numbers now. Changes nothing; only `queue_length` ever shrinks.
    fn counts(&self) -> SinkCounts;
}

/// Counters of one sink. Reading changes nothing; each value is exact, but two values read one
/// after the other may be an interval apart.
#[derive(Debug)]
pub struct SinkStats {
    sink: String,
    written: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
    dropped: AtomicU64,
    bytes: AtomicU64,
    queue_length: AtomicU64,
    queue_bytes: AtomicU64,
    last_error: Mutex<Option<Arc<str>>>,
}

impl SinkStats {
    pub(super) fn new(sink: String) -> Self {
        Self {
            sink,
            written: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            queue_length: AtomicU64::new(0),
            queue_bytes: AtomicU64::new(0),
            last_error: Mutex::new(None),
        }
    }

    /// Name of the sink, unique among the running ones: `parquet`, and `parquet-2` for a second.
    pub fn sink(&self) -> &str {
        &self.sink
    }

    /// Intervals that the sink has stored.
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Intervals given up after their last attempt.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Attempts after the first, over all intervals.
    pub fn retried(&self) -> u64 {
        self.retried.load(Relaxed)
    }

    /// Intervals that were never tried: the queue was full, or the time for shutting down was up.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Bytes stored, as the sink counts them.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Intervals waiting or being written, now.
    pub fn queue_length(&self) -> u64 {
        self.queue_length.load(Relaxed)
    }

    /// Approximate memory of these intervals in bytes, now. Sinks share an interval's memory, and
    /// each counts it.
    pub fn queue_bytes(&self) -> u64 {
        self.queue_bytes.load(Relaxed)
    }

    /// The last error, as a sentence. Stays after a success; `failed` and `retried` tell the time.
    pub fn last_error(&self) -> Option<Arc<str>> {
        self.last_error.lock().clone()
    }

    pub(super) fn on_written(&self, stored_bytes: u64) {
        self.written.fetch_add(1, Relaxed);
        self.bytes.store(stored_bytes, Relaxed);
    }

    pub(super) fn on_failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    pub(super) fn on_retry(&self) {
        self.retried.fetch_add(1, Relaxed);
    }

    pub(super) fn on_dropped(&self, intervals: u64) {
        self.dropped.fetch_add(intervals, Relaxed);
    }

    pub(super) fn on_error(&self, error: &str) {
        *self.last_error.lock() = Some(error.into());
    }

    pub(super) fn set_queue(&self, length: usize, bytes: usize) {
        self.queue_length.store(length as u64, Relaxed);
        self.queue_bytes.store(bytes as u64, Relaxed);
    }
}

impl SinkReader for SinkStats {
    fn counts(&self) -> SinkCounts {
        SinkCounts {
            written: self.written(),
            failed: self.failed(),
            dropped: self.dropped(),
            queue_length: self.queue_length(),
        }
    }
}
