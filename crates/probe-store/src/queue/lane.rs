//! The bounded queue of one sink.

use std::{
    collections::VecDeque,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tracing::error;

use super::{Baseline, QueuePolicy};
use crate::{
    SinkStats,
    stats::{SinkCounts, SinkReader, SinkState, Unwritten},
};
use probe_flow::interval::Interval;

/// A full queue says so at most this often.
const LOG_PAUSE: Duration = Duration::from_secs(30);

/// A sink without work looks after what it keeps this often, and so finds that the clock was set.
const MAINTAIN_PAUSE: Duration = Duration::from_secs(5);

/// What a sink's thread is to do.
pub(super) enum Work {
    /// Write an interval, then call [`Lane::on_done`].
    Write(Arc<Interval>),
    /// Nothing came for a while.
    Maintain,
    /// A person has confirmed the clock.
    ConfirmClock,
    /// The lane is closed and empty.
    End,
}

/// Between the submitting threads and the sink's thread.
pub(super) struct Lane {
    policy: QueuePolicy,
    stats: Arc<SinkStats>,
    state: Mutex<LaneState>,
    /// For the sink's thread: an interval came, or closing began.
    work: Condvar,
    /// For `wait_for_end`: the sink's thread is done.
    end: Condvar,
}

#[derive(Default)]
struct LaneState {
    waiting: VecDeque<Arc<Interval>>,
    /// The interval that is being written.
    in_flight: Option<Arc<Interval>>,
    /// Memory of `waiting` and `in_flight`.
    held_bytes: usize,
    /// A person has confirmed the clock, and the sink does not know yet.
    is_clock_confirmed: bool,
    is_closing: bool,
    has_ended: bool,
    last_log: Option<Instant>,
    unlogged_drops: u64,
}

impl LaneState {
    /// Memory of the interval that is being written.
    fn in_flight_bytes(&self) -> usize {
        let interval = self.in_flight.as_ref();
        interval.map_or(0, |interval| interval.approximate_bytes())
    }

    /// It is no longer being written. Returns its memory.
    fn take_in_flight(&mut self) -> usize {
        let bytes = self.in_flight_bytes();
        self.in_flight = None;
        bytes
    }
}

impl Lane {
    pub(super) fn new(policy: QueuePolicy, stats: Arc<SinkStats>) -> Self {
        Self {
            policy,
            stats,
            state: Mutex::default(),
            work: Condvar::new(),
            end: Condvar::new(),
        }
    }

    pub(super) const fn policy(&self) -> &QueuePolicy {
        &self.policy
    }

    pub(super) const fn stats(&self) -> &Arc<SinkStats> {
        &self.stats
    }

    /// Takes an interval if there is room.
    pub(super) fn submit(&self, interval: Arc<Interval>) {
        let bytes = interval.approximate_bytes();
        let mut state = self.state.lock();
        let is_full = state.waiting.len() >= self.policy.max_intervals
            || (state.held_bytes > 0 && state.held_bytes + bytes > self.policy.max_bytes);
        if state.is_closing || is_full {
            if is_full {
                self.stats.on_overrun();
            }
            self.drop_interval(state, &interval);
            return;
        }
        state.held_bytes += bytes;
        state.waiting.push_back(interval);
        self.publish(&state);
        self.work.notify_one();
    }

    fn drop_interval(&self, mut state: MutexGuard<'_, LaneState>, interval: &Interval) {
        self.stats.on_dropped(1);
        state.unlogged_drops += 1;
        let now = Instant::now();
        let is_due = state
            .last_log
            .is_none_or(|last| now.duration_since(last) >= LOG_PAUSE);
        if !is_due {
            return;
        }
        state.last_log = Some(now);
        let dropped = std::mem::take(&mut state.unlogged_drops);
        let (queued, held_bytes) = (state.waiting.len(), state.held_bytes);
        // The log may block on its own; the queue must not wait for that.
        drop(state);
        let last_error = self.stats.last_error();
        error!(
            sink = self.stats.sink(),
            iface = &*interval.iface,
            start = %interval.start,
            flows = interval.flows.len(),
            dropped,
            queued,
            held_bytes,
            last_error = last_error.as_deref().unwrap_or("none"),
            "interval dropped: the sink's queue is full or closed; the sink is too slow or stuck"
        );
    }

    /// Waits for what is to be done next.
    pub(super) fn next(&self) -> Work {
        let maintain_at = Instant::now() + MAINTAIN_PAUSE;
        let mut state = self.state.lock();
        loop {
            if std::mem::take(&mut state.is_clock_confirmed) {
                return Work::ConfirmClock;
            }
            if let Some(interval) = state.waiting.pop_front() {
                state.in_flight = Some(Arc::clone(&interval));
                return Work::Write(interval);
            }
            if state.is_closing {
                return Work::End;
            }
            if self.work.wait_until(&mut state, maintain_at).timed_out() {
                return Work::Maintain;
            }
        }
    }

    /// Whether a person has confirmed the clock since the last call.
    pub(super) fn take_confirmation(&self) -> bool {
        std::mem::take(&mut self.state.lock().is_clock_confirmed)
    }

    /// Accounts for the end of the interval that `next` gave out: `on_end` counts its outcome, in one step
    /// with the queue's length.
    pub(super) fn on_done(&self, on_end: impl FnOnce(&SinkStats)) {
        let mut state = self.state.lock();
        state.held_bytes -= state.take_in_flight();
        on_end(&self.stats);
        self.publish(&state);
    }

    /// Whether the lane takes no more: an attempt that begins now is the last of its interval.
    pub(super) fn is_closing(&self) -> bool {
        self.state.lock().is_closing
    }

    /// Waits before another attempt. The wait ends early where closing begins, for one last attempt,
    /// and where the clock is confirmed, which may make room.
    pub(super) fn pause(&self, backoff: Duration) {
        let until = Instant::now() + backoff;
        let mut state = self.state.lock();
        while !state.is_closing
            && !state.is_clock_confirmed
            && !self.work.wait_until(&mut state, until).timed_out()
        {}
    }

    /// Lets the sink's thread end after what is queued.
    pub(super) fn close(&self) -> Baseline {
        let mut state = self.state.lock();
        state.is_closing = true;
        self.work.notify_one();
        Baseline::now(&self.stats)
    }

    /// The sink's thread is done.
    pub(super) fn on_end(&self) {
        self.state.lock().has_ended = true;
        self.end.notify_all();
    }

    /// Waits for the sink's thread to be done, then drops what is still queued. Returns how many
    /// intervals (0 or 1) it is still busy with.
    pub(super) fn wait_for_end(&self, deadline: Instant) -> u64 {
        let mut state = self.state.lock();
        while !state.has_ended && !self.end.wait_until(&mut state, deadline).timed_out() {}
        self.stats.on_dropped(state.waiting.len() as u64);
        state.waiting.clear();
        state.held_bytes = state.in_flight_bytes();
        self.publish(&state);
        u64::from(state.in_flight.is_some())
    }

    fn publish(&self, state: &LaneState) {
        let length = state.waiting.len() + usize::from(state.in_flight.is_some());
        self.stats.set_queue(length, state.held_bytes);
    }
}

impl SinkReader for Lane {
    fn counts(&self) -> SinkCounts {
        self.stats.counts()
    }

    fn state(&self) -> SinkState {
        self.stats.state()
    }

    fn root(&self) -> Option<&Path> {
        self.stats.root()
    }

    fn unwritten(&self) -> Vec<Unwritten> {
        let state = self.state.lock();
        let all = state.in_flight.iter().chain(&state.waiting);
        all.map(|interval| Unwritten::from(&**interval)).collect()
    }

    fn confirm_clock(&self) {
        self.state.lock().is_clock_confirmed = true;
        self.work.notify_one();
    }
}
