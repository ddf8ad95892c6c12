//! What a sink has done, for metrics and status: counters that only grow, and the queue's length.

mod now;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use parking_lot::Mutex;
use probe_flow::interval::Interval;

pub(super) use self::now::Look;
use self::now::Now;
use crate::{WriteoutError, report::StoreReport};

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

/// How a sink is now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SinkState {
    /// What is wrong now; `None` again as soon as it is over.
    pub trouble: Option<SinkTrouble>,
    /// For how long intervals have been lost since the queue was full, whatever the trouble is.
    pub overrun: Option<Duration>,
    /// What it keeps; `None` where it does not know, or not yet.
    pub store: Option<StoreReport>,
}

/// What keeps a sink from storing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SinkTrouble {
    /// Whether it fails, hangs or is too slow.
    pub kind: SinkTroubleKind,
    /// How long that has been so.
    pub lasts: Duration,
    /// Sentence with the last error; empty where there was none.
    pub error: Arc<str>,
    /// What helps, as an imperative.
    pub remedy: &'static str,
}

/// In which way a sink does not store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SinkTroubleKind {
    /// Its last attempt failed, or its next one would.
    Failing,
    /// An attempt takes longer than five seconds, or a look at the place, or what the sink does between
    /// attempts while intervals wait.
    Stuck,
    /// Intervals found the queue full, and it has not been empty since.
    Overrun,
}

impl SinkTroubleKind {
    /// Every kind, in the order of the manual.
    pub const ALL: [Self; 3] = [Self::Failing, Self::Stuck, Self::Overrun];

    /// Name in metrics and in the API: one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Stuck => "stuck",
            Self::Overrun => "overrun",
        }
    }
}

/// An interval that a sink was handed and has not stored yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unwritten {
    /// Name of the interface.
    pub iface: Arc<str>,
    /// Start of the interval.
    pub start: Timestamp,
    /// End of the interval.
    pub end: Timestamp,
}

impl From<&Interval> for Unwritten {
    fn from(interval: &Interval) -> Self {
        Self {
            iface: Arc::clone(&interval.iface),
            start: interval.start,
            end: interval.end,
        }
    }
}

/// Where the numbers of a sink come from.
pub trait SinkReader: Send + Sync {
    /// Reads the numbers now. Changes nothing; only `queue_length` ever shrinks.
    fn counts(&self) -> SinkCounts;

    /// Reads how the sink is now.
    fn state(&self) -> SinkState {
        SinkState::default()
    }

    /// The directory that it stores in; `None` where it has none.
    fn root(&self) -> Option<&Path> {
        None
    }

    /// The intervals that wait or are being written, the oldest first. Whatever else it was handed is stored
    /// and can be read, or lost.
    fn unwritten(&self) -> Vec<Unwritten> {
        Vec::new()
    }

    /// Passes on that a person has confirmed the clock. Does not wait for the sink.
    fn confirm_clock(&self) {}
}

/// Counters of one sink. Reading changes nothing; each value is exact, but two values read one
/// after the other may be an interval apart.
#[derive(Debug)]
pub struct SinkStats {
    sink: String,
    root: Option<PathBuf>,
    written: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
    dropped: AtomicU64,
    bytes: AtomicU64,
    queue_length: AtomicU64,
    queue_bytes: AtomicU64,
    last_error: Mutex<Option<Arc<str>>>,
    now: Mutex<Now>,
}

impl SinkStats {
    pub(super) fn new(sink: String, root: Option<&Path>) -> Self {
        Self {
            sink,
            root: root.map(Path::to_owned),
            written: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            queue_length: AtomicU64::new(0),
            queue_bytes: AtomicU64::new(0),
            last_error: Mutex::new(None),
            now: Mutex::default(),
        }
    }

    /// Name of the sink, unique among the running ones: `parquet`, and `parquet-2` for a second.
    pub fn sink(&self) -> &str {
        &self.sink
    }

    /// The directory that it stores in; `None` where it has none.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
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

    /// An interval found the queue full.
    pub(super) fn on_overrun(&self) {
        self.now.lock().overrun.get_or_insert_with(Instant::now);
    }

    pub(super) fn on_attempt(&self) {
        self.now.lock().attempt = Some(Instant::now());
    }

    /// Returns how long attempts had failed, if with this one none does any more.
    pub(super) fn on_attempt_end(
        &self,
        interval: &Interval,
        error: Option<&WriteoutError>,
    ) -> Option<Duration> {
        let mut now = self.now.lock();
        now.attempt = None;
        if let Some(error) = error {
            now.on_failed_attempt(interval, error);
            *self.last_error.lock() = Some(error.to_string().into());
            return None;
        }
        let since = now.failing().map(|it| it.since)?;
        now.on_stored(interval);
        now.failing().is_none().then(|| since.elapsed())
    }

    pub(super) fn on_look(&self) {
        self.now.lock().look = Some(Instant::now());
    }

    /// A look has found why nothing can be stored, or that it can. What a look cannot see stays.
    pub(super) fn on_look_end(&self, error: Option<&WriteoutError>) -> Look {
        let mut now = self.now.lock();
        now.look = None;
        let since = now.failing().map(|it| it.since);
        if let Some(error) = error {
            now.on_look_error(error);
            return if since.is_none() {
                Look::Began
            } else {
                Look::Same
            };
        }
        now.on_look_ok();
        match since {
            Some(since) if now.failing().is_none() => Look::Ended {
                failed_for: since.elapsed(),
            },
            _ => Look::Same,
        }
    }

    /// The sink looks after what it keeps.
    pub(super) fn on_upkeep(&self) {
        self.now.lock().upkeep = Some(Instant::now());
    }

    pub(super) fn on_upkeep_end(&self) {
        self.now.lock().upkeep = None;
    }

    pub(super) fn set_report(&self, report: Option<StoreReport>) {
        self.now.lock().store = report;
    }

    pub(super) fn set_queue(&self, length: usize, bytes: usize) {
        self.queue_length.store(length as u64, Relaxed);
        self.queue_bytes.store(bytes as u64, Relaxed);
        if length == 0 {
            self.now.lock().overrun = None;
        }
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

    fn root(&self) -> Option<&Path> {
        self.root()
    }

    fn state(&self) -> SinkState {
        let now = self.now.lock();
        SinkState {
            trouble: now.trouble(self.queue_length()),
            overrun: now.overrun.map(|since| since.elapsed()),
            store: now.store.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            mpsc::{Receiver, channel},
        },
        time::{Duration, Instant},
    };

    use probe_flow::interval::Interval;

    use super::{SinkReader as _, SinkTroubleKind, now::STUCK_AFTER};
    use crate::{QueuePolicy, Writeout, WriteoutError, WriteoutHandler, fixture};

    /// Far beyond what the test needs.
    const LONG: Duration = Duration::from_mins(1);

    /// Its mount hangs while it looks after what it keeps, until the test lets it go on.
    struct Hanging(Receiver<()>);

    impl WriteoutHandler for Hanging {
        fn name(&self) -> &'static str {
            "hanging"
        }

        fn write(&mut self, _: &Interval) -> Result<(), WriteoutError> {
            Ok(())
        }

        fn maintain(&mut self) {
            let _closed_gate_is_open = self.0.recv();
        }
    }

    #[test]
    fn upkeep_that_hangs_is_told_where_intervals_wait() {
        let (open, gate) = channel();
        let handlers: Vec<Box<dyn WriteoutHandler>> = vec![Box::new(Hanging(gate))];
        let writeout = Writeout::start(handlers, QueuePolicy::default()).unwrap();
        let stats = &writeout.stats()[0];
        let trouble = || stats.state().trouble.map(|trouble| trouble.kind);
        let deadline = Instant::now() + LONG;
        while stats.now.lock().upkeep.is_none() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        // As if it had begun so long ago.
        let long_ago = |begin: Instant| begin.checked_sub(STUCK_AFTER);
        let mut now = stats.now.lock();
        now.upkeep = now.upkeep.and_then(long_ago);
        assert!(now.upkeep.is_some());
        drop(now);
        assert_eq!(trouble(), None, "nothing waits");
        let interval = fixture::interval("eth0", "2026-03-01T00:00:00Z", 1);
        writeout.submit(Arc::new(interval));
        assert_eq!(trouble(), Some(SinkTroubleKind::Stuck));
        drop(open);
        assert!(writeout.finish(Instant::now() + LONG)[0].is_complete());
        assert_eq!((trouble(), stats.written()), (None, 1));
    }
}
