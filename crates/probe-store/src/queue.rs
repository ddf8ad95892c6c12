//! Sinks at work: a bounded queue and a thread for each.
//!
//! The caller of [`Writeout::submit`] is the rotation, which must not wait for a disk. So a sink
//! that is slow or dead fills its own queue, and what does not fit there is dropped for that sink
//! alone, counted and logged.

mod lane;
mod worker;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use self::{lane::Lane, worker::Worker};
use super::{Interval, SinkStats, WriteoutError, WriteoutHandler, stats::SinkReader};

/// Bounds and patience of each sink.
///
/// An interval whose write fails is tried again after `first_backoff`, then after twice that, and
/// so on. After `max_attempts` it is given up, counted as failed, and the next one has its turn.
/// While the head of the queue is being retried the others wait in order, so a sink that comes
/// back within the bounds loses nothing but what was given up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QueuePolicy {
    /// Most intervals that wait. Every interface hands one over at each rotation.
    pub max_intervals: usize,
    /// Most memory held by intervals that wait or are being written. A single interval larger than
    /// this is still taken when the queue is empty.
    pub max_bytes: usize,
    /// Attempts per interval, the first included.
    pub max_attempts: u32,
    /// Wait before the second attempt.
    pub first_backoff: Duration,
    /// Longest wait between two attempts.
    pub max_backoff: Duration,
}

impl Default for QueuePolicy {
    /// Room for eight rotations of 1024 interfaces, in at most 256 MiB (about four intervals of a
    /// million IPv4 flows); 32 attempts in about four minutes, less than one default interval. A sink
    /// that is well again is found within ten seconds.
    fn default() -> Self {
        Self {
            max_intervals: 8192,
            max_bytes: 256 << 20,
            max_attempts: 32,
            first_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(8),
        }
    }
}

/// All sinks of an agent. Dropping it without [`Writeout::finish`] lets the threads write what they
/// hold and end, unobserved.
pub struct Writeout {
    sinks: Vec<Sink>,
}

enum Sink {
    Threaded(Arc<Lane>),
    Inline {
        stats: Arc<SinkStats>,
        worker: Mutex<Option<Worker>>,
    },
}

impl Writeout {
    /// Starts one thread per sink.
    ///
    /// # Errors
    ///
    /// [`WriteoutError::Thread`]: the system starts no thread.
    pub fn start(
        handlers: Vec<Box<dyn WriteoutHandler>>,
        policy: QueuePolicy,
    ) -> Result<Self, WriteoutError> {
        let mut writeout = Self { sinks: Vec::new() };
        for (name, handler) in with_unique_names(handlers) {
            let stats = Arc::new(SinkStats::new(name.clone(), handler.root()));
            let lane = Arc::new(Lane::new(policy, Arc::clone(&stats)));
            // The kernel keeps 15 bytes of a thread's name.
            let thread_name = format!("sink-{name}").chars().take(15).collect();
            let mut worker = Worker::new(handler, stats);
            let workers_lane = Arc::clone(&lane);
            std::thread::Builder::new()
                .name(thread_name)
                .spawn(move || worker.run(&workers_lane))
                .map_err(|source| WriteoutError::Thread { sink: name, source })?;
            writeout.sinks.push(Sink::Threaded(lane));
        }
        Ok(writeout)
    }

    /// Without threads and queues, for tests and embedders: [`Writeout::submit`] writes on the
    /// caller's thread, each interval once, without retries.
    pub fn inline(handlers: Vec<Box<dyn WriteoutHandler>>) -> Self {
        let sinks = with_unique_names(handlers).map(|(name, handler)| {
            let stats = Arc::new(SinkStats::new(name, handler.root()));
            Sink::Inline {
                worker: Mutex::new(Some(Worker::new(handler, Arc::clone(&stats)))),
                stats,
            }
        });
        Self {
            sinks: sinks.collect(),
        }
    }

    /// Hands an interval to every sink. Never blocks (except [inline](Self::inline)); after
    /// [`Writeout::finish`] it only counts the interval as dropped.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the caller gives up its share, as with any queue"
    )]
    pub fn submit(&self, interval: Arc<Interval>) {
        for sink in &self.sinks {
            match sink {
                Sink::Threaded(lane) => lane.submit(Arc::clone(&interval)),
                Sink::Inline { worker, stats } => match worker.lock().as_mut() {
                    Some(worker) => worker.write_once(&interval),
                    None => stats.on_dropped(1),
                },
            }
        }
    }

    /// What each sink has done, in the order of the sinks.
    pub fn stats(&self) -> Vec<Arc<SinkStats>> {
        let stats = self.sinks.iter().map(|sink| match sink {
            Sink::Threaded(lane) => lane.stats(),
            Sink::Inline { stats, .. } => stats,
        });
        stats.map(Arc::clone).collect()
    }

    /// What each sink does now, in the order of the sinks, by name.
    pub fn readers(&self) -> Vec<(String, Arc<dyn SinkReader>)> {
        let readers = self.sinks.iter().map(|sink| {
            let (stats, reader): (_, Arc<dyn SinkReader>) = match sink {
                Sink::Threaded(lane) => (lane.stats(), Arc::clone(lane) as _),
                Sink::Inline { stats, .. } => (stats, Arc::clone(stats) as _),
            };
            (stats.sink().to_owned(), reader)
        });
        readers.collect()
    }

    /// Writes what is queued and ends the threads. An interval that waits for its next attempt, or is
    /// being tried, gets one more at once, as its last; those behind it get one attempt each. At the
    /// deadline what is left is dropped, and a sink that hangs is left behind: the process can end.
    pub fn finish(&self, deadline: Instant) -> Vec<SinkReport> {
        // All sinks are told before the first is waited for.
        let before: Vec<_> = self.sinks.iter().map(Sink::close).collect();
        let sinks = self.sinks.iter().zip(before);
        sinks
            .map(|(sink, before)| sink.wait(before, deadline))
            .collect()
    }
}

impl Drop for Writeout {
    fn drop(&mut self) {
        for sink in &self.sinks {
            sink.close();
        }
    }
}

/// Counters at the moment a sink is told to finish.
#[derive(Clone, Copy)]
struct Baseline {
    written: u64,
    lost: u64,
}

impl Baseline {
    fn now(stats: &SinkStats) -> Self {
        Self {
            written: stats.written(),
            lost: stats.failed() + stats.dropped(),
        }
    }
}

impl Sink {
    fn close(&self) -> Baseline {
        match self {
            Self::Threaded(lane) => lane.close(),
            Self::Inline { stats, worker } => {
                worker.lock().take();
                Baseline::now(stats)
            }
        }
    }

    fn wait(&self, before: Baseline, deadline: Instant) -> SinkReport {
        let (stats, unfinished) = match self {
            Self::Threaded(lane) => (lane.stats(), lane.wait_for_end(deadline)),
            Self::Inline { stats, .. } => (stats, 0),
        };
        let now = Baseline::now(stats);
        SinkReport {
            sink: stats.sink().to_owned(),
            preserved: now.written - before.written,
            lost: now.lost - before.lost,
            unfinished,
            last_error: stats.last_error(),
        }
    }
}

/// What became of the intervals that were queued when a sink was told to finish.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SinkReport {
    /// Name of the sink.
    pub sink: String,
    /// Intervals that the sink has stored.
    pub preserved: u64,
    /// Intervals that failed, or were dropped at the deadline.
    pub lost: u64,
    /// 1 if the sink was still in the middle of an interval at the deadline, which is stored only
    /// if the process lives on long enough.
    pub unfinished: u64,
    /// The sink's last error, of any time.
    pub last_error: Option<Arc<str>>,
}

impl SinkReport {
    /// Whether everything was stored.
    pub const fn is_complete(&self) -> bool {
        self.lost == 0 && self.unfinished == 0
    }
}

impl fmt::Display for SinkReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sink,
            preserved,
            lost,
            unfinished,
            last_error,
        } = self;
        write!(
            f,
            "{sink}: {preserved} queued intervals preserved, {lost} lost"
        )?;
        if *unfinished > 0 {
            write!(f, ", {unfinished} unfinished at the deadline")?;
        }
        match last_error {
            Some(error) if !self.is_complete() => write!(f, " (last error: {error})"),
            _ => Ok(()),
        }
    }
}

/// The second sink of a name becomes `name-2`, so that metrics and the log can tell them apart.
fn with_unique_names(
    handlers: Vec<Box<dyn WriteoutHandler>>,
) -> impl Iterator<Item = (String, Box<dyn WriteoutHandler>)> {
    let mut seen = Vec::new();
    handlers.into_iter().map(move |mut handler| {
        let name = handler.name();
        seen.push(name);
        match seen.iter().filter(|&&other| other == name).count() {
            1 => (name.to_owned(), handler),
            count => {
                let name = format!("{name}-{count}");
                handler.rename(&name);
                (name, handler)
            }
        }
    })
}

#[cfg(test)]
mod tests;
