//! From a record's ifindex to its capture, or to the capture's local buffer.

use std::sync::Arc;

use hashbrown::HashMap;
use probe_common::{control::BANKS, record::Record};

use crate::capture::{Capture, CaptureGuard, NextInterval};
use probe_flow::local_buffer::{LocalBuffer, LocalBufferPool};

/// Waiting records that are replayed between two passes over the stream, which must not be left alone
/// for long: about a third of a millisecond. Tests with a handful of records stop in between, too.
const REPLAYED_AT_ONCE: usize = if cfg!(test) { 2 } else { 512 };

/// Where records of one interface go.
struct Route {
    capture: Arc<Capture>,
    /// Records that wait, by bank: those of the open bank for a reader to give back the lock, those
    /// of the other one for the rotation. Apart, because CPUs fill the ring side by side, so
    /// records of both banks come mixed around a switch.
    waiting: [LocalBuffer; BANKS as usize],
}

/// Routes records to captures. Keeps the lock of the capture of the last record, since records of
/// one interface come in runs.
pub(super) struct Router {
    routes: HashMap<u32, Route>,
    pool: Arc<LocalBufferPool>,
    current: Option<(u32, CaptureGuard)>,
    /// Some route has records waiting.
    is_behind: bool,
    /// And the last attempt to replay some of them met nothing but locks.
    is_stuck: bool,
}

impl Router {
    pub(super) fn new(pool: Arc<LocalBufferPool>) -> Self {
        Self {
            routes: HashMap::new(),
            pool,
            current: None,
            is_behind: false,
            is_stuck: false,
        }
    }

    pub(super) fn add(&mut self, capture: Arc<Capture>) {
        let ifindex = capture.interface.ifindex;
        if let Some(route) = self.routes.get_mut(&ifindex) {
            // The same capture under another name: what waits for it goes on waiting.
            route.capture = capture;
            return;
        }
        let waiting = std::array::from_fn(|_| LocalBuffer::new(self.pool.clone()));
        self.routes.insert(ifindex, Route { capture, waiting });
    }

    pub(super) fn remove(&mut self, ifindex: u32) {
        self.routes.remove(&ifindex);
    }

    pub(super) fn handle_records(&mut self, records: &[Record<'_>]) {
        let place = |record: &Record<'_>| (record.ifindex(), record.head().bank());
        for run in records.chunk_by(|record, next| place(record) == place(next)) {
            self.handle_run(run);
        }
    }

    /// Records of one interface and bank; there is at least one.
    fn handle_run(&mut self, run: &[Record<'_>]) {
        let ifindex = run[0].ifindex();
        if let Some((current, state)) = &mut self.current
            && *current == ifindex
            && state.handle_records(run).is_ok()
        {
            return;
        }
        self.handle_elsewhere(ifindex, run);
    }

    /// The records belong to another interface than those before them, or have to wait.
    fn handle_elsewhere(&mut self, ifindex: u32, run: &[Record<'_>]) {
        self.release();
        // Without a route the capture has had its last interval, and its programs are about to be
        // detached: what they still see is not captured any more.
        let Some(route) = self.routes.get_mut(&ifindex) else {
            return;
        };
        if let Some(mut state) = route.capture.try_lock()
            && state.handle_records(run).is_ok()
        {
            self.current = Some((ifindex, state));
            return;
        }
        for record in run {
            route.wait(*record);
        }
        self.is_behind = true;
    }

    /// Gives back the lock that is held between records.
    pub(super) fn release(&mut self) {
        self.current = None;
    }

    /// Whether records wait that no capture can take at the moment.
    pub(super) const fn is_stuck(&self) -> bool {
        self.is_behind && self.is_stuck
    }

    /// Whether records wait in local buffers.
    pub(super) const fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Replays some of what waits, as far as locks and banks allow it now. Records that come
    /// meanwhile may overtake those that wait.
    pub(super) fn replay(&mut self) {
        if !self.is_behind {
            return;
        }
        self.is_behind = false;
        self.is_stuck = true;
        for route in self.routes.values_mut().filter(|it| it.is_behind()) {
            if let Some(state) = route.capture.try_lock() {
                self.is_stuck &= !route.replay(state, REPLAYED_AT_ONCE);
            }
            self.is_behind |= route.is_behind();
        }
    }

    /// Replays what waits, waiting for readers to finish. For the sync before a rotation only.
    pub(super) fn replay_all(&mut self) {
        if !self.is_behind {
            return;
        }
        self.is_behind = false;
        for route in self.routes.values_mut() {
            route.replay(route.capture.lock(), usize::MAX);
            self.is_behind |= route.is_behind();
        }
    }
}

impl Route {
    fn is_behind(&self) -> bool {
        self.waiting.iter().any(|buffer| !buffer.is_empty())
    }

    fn wait(&mut self, record: Record<'_>) {
        let bank = usize::from(record.head().bank());
        if self.waiting[bank].add(record).is_err() {
            self.capture.on_buffer_full(record);
        }
    }

    /// Hands over waiting records of the open bank, at most so many. Says whether there were any.
    fn replay(&mut self, mut state: CaptureGuard, at_most: usize) -> bool {
        let buffer = &mut self.waiting[usize::from(state.open_bank() & 1)];
        if buffer.is_empty() {
            return false;
        }
        state.on_buffer_usage(buffer.usage());
        for _ in 0..at_most {
            let Some(record) = buffer.next() else {
                buffer.reset();
                break;
            };
            // All of this buffer are of the open bank, so none is refused.
            let _: Result<(), NextInterval> = state.handle_records(&[record]);
        }
        true
    }
}
