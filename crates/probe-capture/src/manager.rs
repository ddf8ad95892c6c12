//! The manager: which interfaces are captured, when their flows are written, and how readers see
//! both.
//!
//! It owns the source's control side and the drain threads. Its methods block for milliseconds at
//! most (a rotation waits for an RCU grace period) and are called from threads that may.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, atomic::AtomicBool, mpsc},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use parking_lot::{Condvar, Mutex};

use crate::{
    capture::Capture,
    clock::{self, ClockWatch, Reading},
    drain::DrainThread,
    interface::{Interface, InterfaceConfig},
    source::{Costs, Source, SourceError, SourceStatistics, Unattributed},
    status::{Status, StatusReader},
    trouble::Troubles,
};
use probe_flow::{
    flow::{FlowMap, FlowRow},
    flow_log::{FlowBudget, FlowLogOptions},
    interval::Interval,
    ledger::Identity,
    local_buffer::{LocalBufferPool, LocalBuffersConfig},
    moment::Moment,
    ticks::TickClock,
};

mod changes;
mod closed;
mod health;
mod rotate;
mod supervise;

pub use self::{
    changes::{Change, Changes, MAX_INTERFACES, Update, UpdatePlan},
    health::Unhealthy,
    rotate::Rotation,
};

/// What a manager can be given besides its source. The default suits tests and embedders: no
/// writeout, no observer, the system's clock.
pub struct ManagerOptions {
    /// How flows are kept.
    pub flow_log: FlowLogOptions,
    /// How many all interfaces may have together.
    pub flow_budget: Arc<FlowBudget>,
    /// Bounds of the local buffers.
    pub local_buffers: LocalBuffersConfig,
    /// Takes the intervals. Must not block.
    pub writeout: Box<dyn Fn(Interval) + Send + Sync>,
    /// Told how long each rotation took.
    pub on_rotation: Box<dyn Fn(Duration) + Send + Sync>,
    /// Told when interfaces are going to be attached or detached.
    pub batches: Box<dyn BatchObserver>,
    /// Reads the clocks, for interval bounds.
    pub clock: Box<dyn Fn() -> Moment + Send + Sync>,
}

/// Learns that interfaces are going to be attached or detached, so that it can prepare the host.
pub trait BatchObserver: Send + Sync {
    /// `interfaces` of them, from now on until the guard is dropped. `doing` says what, for the
    /// log: "attaching", "detaching".
    fn begin(&self, doing: &'static str, interfaces: usize) -> Box<dyn BatchGuard + '_>;
}

/// Ends a batch when it is dropped.
pub trait BatchGuard {}

/// An observer that prepares nothing and releases nothing.
impl BatchObserver for () {
    fn begin(&self, _doing: &'static str, _interfaces: usize) -> Box<dyn BatchGuard + '_> {
        Box::new(())
    }
}

impl BatchGuard for () {}

impl Default for ManagerOptions {
    fn default() -> Self {
        Self {
            flow_log: FlowLogOptions::default(),
            flow_budget: Arc::default(),
            local_buffers: LocalBuffersConfig::default(),
            writeout: Box::new(drop),
            on_rotation: Box::new(|_| {}),
            batches: Box::new(()),
            clock: Box::new(clock::now),
        }
    }
}

/// Errors of the manager.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// A drain thread could not be started.
    #[error("cannot start a drain thread: {0}")]
    Thread(#[source] std::io::Error),
    /// The source of records failed.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// Captures a set of interfaces. See the module documentation.
pub struct Manager {
    inner: Mutex<Inner>,
    /// Held while intervals go to the writeout, from before `inner` is given back.
    emitting: Mutex<()>,
    /// Held for the whole of an update, which gives `inner` back now and then.
    updating: Mutex<()>,
    /// The final writeout has begun.
    is_over: AtomicBool,
    options: ManagerOptions,
    pool: Arc<LocalBufferPool>,
    clock: Mutex<ClockWatch>,
    started_at: Timestamp,
    last_rotation: Mutex<Timestamp>,
    streams: Arc<Streams>,
    /// What is wrong now, by the part that finds it.
    troubles: Arc<Troubles>,
    /// How far behind the drain threads were when their health was last checked.
    drain_lag: Mutex<Option<Duration>>,
    /// Broken identities of the ledger that have been logged.
    told: [AtomicBool; Identity::COUNT],
}

/// What only one caller at a time may touch.
struct Inner {
    source: Box<dyn Source>,
    drains: Vec<DrainThread>,
    captures: BTreeMap<Arc<str>, Arc<Capture>>,
    /// Links whose captures have ended, which are still attached.
    ended: Vec<Interface>,
    /// Counts of closed captures by name, for when the interface comes back.
    history: closed::Closed,
    /// The bank that the source fills now.
    open_bank: u8,
    /// Packets on interfaces that are not captured, at the last comparison.
    unknown_interface_packets: u64,
    /// What belonged to no captured interface when it could last be read.
    unattributed: Unattributed,
    /// When the last flush began, which took in everything that was there.
    flushed_at: Instant,
}

/// How many streams still run, and why others do not.
#[derive(Default)]
struct Streams {
    state: Mutex<StreamsState>,
    changed: Condvar,
}

#[derive(Default)]
struct StreamsState {
    running: usize,
    failures: Vec<SourceError>,
}

impl Streams {
    fn on_end(&self, failure: Option<SourceError>) {
        let mut state = self.state.lock();
        state.running -= 1;
        state.failures.extend(failure);
        drop(state);
        self.changed.notify_all();
    }
}

impl Manager {
    /// A manager that captures nothing yet: the source's streams are being drained, and
    /// [`Self::update`] adds interfaces.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Thread`]: the system starts no thread.
    pub fn new(mut source: Box<dyn Source>, options: ManagerOptions) -> Result<Self, ManagerError> {
        let LocalBuffersConfig {
            num,
            size_limit_bytes,
        } = options.local_buffers;
        let pool = LocalBufferPool::new(num, size_limit_bytes);
        let streams = Arc::new(Streams::default());
        let mut drains = Vec::new();
        for (number, stream) in source.take_streams().into_iter().enumerate() {
            streams.state.lock().running += 1;
            let observer = streams.clone();
            let on_end = move |failure| observer.on_end(failure);
            let drain = DrainThread::spawn(format!("drain-{number}"), stream, pool.clone(), on_end)
                .map_err(ManagerError::Thread)?;
            drains.push(drain);
        }
        let now = (options.clock)();
        Ok(Self {
            inner: Mutex::new(Inner {
                source,
                drains,
                captures: BTreeMap::new(),
                ended: Vec::new(),
                history: closed::Closed::default(),
                open_bank: 0,
                unknown_interface_packets: 0,
                unattributed: Unattributed::default(),
                flushed_at: Instant::now(),
            }),
            emitting: Mutex::default(),
            updating: Mutex::default(),
            is_over: AtomicBool::new(false),
            options,
            pool,
            clock: Mutex::new(ClockWatch::new(now)),
            started_at: now.wall,
            last_rotation: Mutex::new(now.wall),
            streams,
            troubles: Arc::default(),
            drain_lag: Mutex::default(),
            told: Default::default(),
        })
    }

    /// Reads the clocks, and tells if the wall clock was set since the last time. Called about once a
    /// second, so that each step is seen by itself.
    pub fn read_clock(&self) -> Reading {
        let mut watch = self.clock.lock();
        let (reading, step) = watch.read((self.options.clock)());
        drop(watch);
        if let Some(step) = step {
            tracing::warn!(
                now = %reading.moment.wall,
                by = %step,
                "the clock was set; the running interval gets times of the new one"
            );
        }
        reading
    }

    /// What is wrong with the capture now. Needs no lock of the manager's.
    pub const fn troubles(&self) -> &Arc<Troubles> {
        &self.troubles
    }

    /// When the manager was made.
    pub const fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// When flows were last handed to the writeout; before the first time, `started_at`.
    pub fn last_rotation(&self) -> Timestamp {
        *self.last_rotation.lock()
    }

    /// Wall-clock times of the start and of the last rotation.
    pub fn timestamps(&self) -> (Timestamp, Timestamp) {
        (self.started_at, self.last_rotation())
    }

    /// The settings of the captured interfaces, of all or of those named.
    pub fn config(&self, ifaces: &[&str]) -> BTreeMap<Arc<str>, InterfaceConfig> {
        let captures = self.captures(ifaces);
        captures
            .into_iter()
            .map(|c| (c.interface.name.clone(), c.config.clone()))
            .collect()
    }

    /// How many interfaces are captured.
    pub fn interface_count(&self) -> usize {
        self.inner.lock().captures.len()
    }

    /// The captured interfaces, all or those named, with their indices.
    pub fn interfaces(&self, ifaces: &[&str]) -> Vec<Interface> {
        self.captures(ifaces)
            .into_iter()
            .map(|capture| capture.interface.clone())
            .collect()
    }

    /// Flushes ([`Self::flush`]), then copies the active flows of all interfaces, or of those named,
    /// and sends those that pass the filter, interface by interface, while capture goes on. Stops
    /// early if no thread waits. Returns the clock of their ticks.
    pub fn flush_and_send_flows(
        &self,
        filter: impl Fn(&FlowRow) -> bool,
        ifaces: &[&str],
        out: &mpsc::SyncSender<(Arc<str>, Vec<FlowRow>)>,
    ) -> TickClock {
        let tick_clock = self.lock_flushed().source.tick_clock();
        for capture in self.captures(ifaces) {
            let mut rows = capture.flows().sorted_rows();
            rows.retain(&filter);
            if out.send((capture.interface.name.clone(), rows)).is_err() {
                break;
            }
        }
        tick_clock
    }

    /// Flushes ([`Self::flush`]), then hands over a copy of the active flows of all interfaces, or of
    /// those named, one interface after the other, with the moment since which they are counted: by
    /// the clock as it is now, as the flows' ticks are. Capture goes on, and one copy is there at a
    /// time. Stops early if `visit` says so. Returns the clock of the flows' ticks.
    pub fn flush_and_visit_flows(
        &self,
        ifaces: &[&str],
        mut visit: impl FnMut(&Arc<str>, Timestamp, FlowMap) -> ControlFlow<()>,
    ) -> TickClock {
        let tick_clock = self.lock_flushed().source.tick_clock();
        for capture in self.captures(ifaces) {
            let (start, flows) = capture.live_flows();
            // Read after the copy: its interval may have begun just now.
            let (since, _) = self.read_clock().bounds_from(&start);
            if visit(&capture.interface.name, since, flows).is_break() {
                break;
            }
        }
        tick_clock
    }

    /// Waits until all streams of the source have ended (capture files do, the kernel does not),
    /// and returns what went wrong with them.
    pub fn wait_for_end(&self) -> Vec<SourceError> {
        let mut state = self.streams.state.lock();
        while state.running > 0 {
            self.streams.changed.wait(&mut state);
        }
        std::mem::take(&mut state.failures)
    }

    /// Waits until a stream has failed or the time is over, and returns the failures. Embedders of
    /// a live source use it to notice that capturing has stopped.
    pub fn stream_failures(&self, timeout: Duration) -> Vec<SourceError> {
        let deadline = Instant::now() + timeout;
        let mut state = self.streams.state.lock();
        while state.failures.is_empty() {
            if self
                .streams
                .changed
                .wait_until(&mut state, deadline)
                .timed_out()
            {
                break;
            }
        }
        std::mem::take(&mut state.failures)
    }

    /// Bytes of the local buffers' budget that no capture uses.
    pub fn free_buffer_bytes(&self) -> usize {
        self.pool.free_bytes()
    }

    fn captures(&self, ifaces: &[&str]) -> Vec<Arc<Capture>> {
        let inner = self.inner.lock();
        let wanted = |name: &str| ifaces.is_empty() || ifaces.contains(&name);
        inner
            .captures
            .values()
            .filter(|c| wanted(&c.interface.name))
            .cloned()
            .collect()
    }
}

impl Inner {
    /// What belongs to no captured interface. If it cannot be read, what was there before: it only grows.
    fn read_unattributed(&mut self) -> Unattributed {
        match self.source.statistics().map(SourceStatistics::unattributed) {
            Some(Ok(unattributed)) => self.unattributed = unattributed,
            Some(Err(error)) => {
                tracing::warn!(%error, "cannot read what belongs to no captured interface");
            }
            None => {}
        }
        self.unattributed
    }
}

impl StatusReader for Manager {
    fn flush_and_read(&self) -> Status {
        let mut inner = self.lock_flushed();
        let unattributed = inner.read_unattributed();
        let costs = inner.source.statistics().map(SourceStatistics::costs);
        let mut status = Status {
            unattributed,
            costs: Costs {
                drain_lag: *self.drain_lag.lock(),
                ..costs.unwrap_or_default()
            },
            closed: inner.closed(),
            troubles: self.troubles.all(),
            clock_steps: self.clock.lock().steps(),
            ..Status::default()
        };
        for (name, capture) in &inner.captures {
            status.interfaces.insert(name.clone(), capture.status());
        }
        status
    }
}

#[cfg(test)]
mod tests;
