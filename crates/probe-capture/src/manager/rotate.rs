//! Closing a bank, to the packet: a flush counts what it holds, a rotation ends intervals as well.
//!
//! The source switches banks, which splits its records and counters into those before and those
//! after. Once the drain threads have handed over every record of the closed bank, its flows and
//! counters are complete and agree; records of the new bank wait in local buffers until their flow
//! log has been settled or rotated.

use std::{
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use parking_lot::MutexGuard;

use super::{Inner, Manager, ManagerError};
use crate::{
    capture::Capture,
    clock::Reading,
    source::{BankCounters, SourceError},
};
use probe_flow::{interval::Interval, ledger::Identity, ticks::TickClock};

/// What a rotation came to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rotation {
    /// Interfaces whose interval was ended.
    pub interfaces: usize,
    /// Flows that were written.
    pub flows: usize,
    /// How long it took.
    pub duration: Duration,
}

/// What ends with an interval.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    /// End the interval only; the capture goes on.
    Rotation,
    /// The capture as well.
    Last,
}

/// A bank whose records have all been handed over.
struct ClosedBank {
    /// Its number, 0 or 1.
    bank: u8,
    /// Clock of the ticks of its records.
    tick_clock: TickClock,
}

impl Manager {
    /// Ends the running interval of all interfaces and hands their flows to the writeout.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Source`]: the source cannot switch banks. Nothing is lost: the intervals go on.
    pub fn rotate(&self) -> Result<Rotation, ManagerError> {
        let begin = Instant::now();
        let mut inner = self.inner.lock();
        inner.compare_with_links(begin);
        let all: Vec<_> = inner.captures.values().cloned().collect();
        // Before the switch and not after the drains, which take a while: from the switch on packets
        // belong to the next interval, and none may be older than its start.
        let now = self.read_clock();
        let intervals = inner.end_intervals(&all, Ending::Rotation, now)?;
        let duration = begin.elapsed();
        let flows = intervals.iter().map(|interval| interval.flows.len()).sum();
        let rotation = Rotation {
            interfaces: intervals.len(),
            flows,
            duration,
        };
        self.emit(inner, intervals);
        *self.last_rotation.lock() = self.read_clock().moment.wall;
        (self.options.on_rotation)(duration);
        Ok(rotation)
    }

    /// Takes in everything that has been counted so far, without ending an interval: what the
    /// kernel keeps back to make fewer records of it, and the counters. Switches the source's banks.
    /// Readers of status and flows do the same first (see [`Self::lock_flushed`]).
    ///
    /// # Errors
    ///
    /// [`ManagerError::Source`]: the source cannot switch banks. Nothing is lost: the next flush takes
    /// it in.
    pub fn flush(&self) -> Result<(), ManagerError> {
        let mut inner = self.inner.lock();
        if !inner.captures.is_empty() {
            inner.flush()?;
        }
        Ok(())
    }

    /// Takes the lock for a reader, and flushes, so that the reader is shown all that was there when
    /// it asked. Of many readers that wait for the lock, one flush serves all: it waits for grace
    /// periods of RCU. If the flush fails, an error is logged and the counts are older.
    pub(super) fn lock_flushed(&self) -> MutexGuard<'_, Inner> {
        let asked = Instant::now();
        let mut inner = self.inner.lock();
        if !inner.captures.is_empty()
            && inner.flushed_at < asked
            && let Err(error) = inner.flush()
        {
            tracing::error!(%error, "cannot flush for a reader; it gets older counts");
        }
        inner
    }

    /// Hands ended intervals to the writeout, after giving back the lock under which they ended. In between,
    /// nobody takes them for handed over ([`Self::wait_for_writeout`]).
    pub(super) fn emit(&self, inner: MutexGuard<'_, Inner>, intervals: Vec<Interval>) {
        let _emitting = self.emitting.lock();
        drop(inner);
        for interval in intervals {
            self.audit(&interval);
            (self.options.writeout)(interval);
        }
    }

    /// Waits until every interval that has ended is with the writeout. Takes as long as a rotation that
    /// goes on.
    fn wait_for_writeout(&self) {
        drop(self.inner.lock());
        drop(self.emitting.lock());
    }

    /// Flushes ([`Self::flush`]), then hands over the running interval of all interfaces, or of those named,
    /// one after the other, each as it would be if it ended now. Capture goes on, and one copy is there at
    /// a time. Stops early if `visit` says so. Returns the clock of the flows' ticks.
    ///
    /// When this returns, every interval that ended before one that was handed over is with the writeout:
    /// no packet is in neither.
    pub fn flush_and_visit_intervals(
        &self,
        ifaces: &[&str],
        mut visit: impl FnMut(Interval) -> ControlFlow<()>,
    ) -> TickClock {
        let tick_clock = self.lock_flushed().source.tick_clock();
        for capture in self.captures(ifaces) {
            let interval = capture.running_interval(|| self.read_clock(), tick_clock.clone());
            if visit(interval).is_break() {
                break;
            }
        }
        self.wait_for_writeout();
        tick_clock
    }

    /// Checks the identities of a closed ledger. Each kind is told once, with its numbers; how
    /// often and how much is in the metrics and in the stored intervals.
    fn audit(&self, interval: &Interval) {
        for identity in Identity::ALL {
            let violation = interval.ledger.violation(identity);
            if violation == 0 || self.told[identity as usize].swap(true, Ordering::Relaxed) {
                continue;
            }
            tracing::error!(
                iface = %interval.iface,
                by = violation,
                recorded = interval.ledger.recorded.packets,
                ledger = %interval.ledger,
                "the ledger does not add up, {} ({}): this is a defect, please report it",
                identity.formula(),
                identity.unit()
            );
        }
    }
}

impl Inner {
    /// Takes in what all captures have counted. Their intervals go on.
    pub(super) fn flush(&mut self) -> Result<(), SourceError> {
        let closed = self.close_bank()?;
        for capture in self.captures.values() {
            capture.settle(closed.bank, &self.counters_of(capture));
        }
        Ok(())
    }

    /// Ends the intervals of these captures and flushes all others. `now` was read just before.
    pub(super) fn end_intervals(
        &mut self,
        ending: &[Arc<Capture>],
        kind: Ending,
        now: Reading,
    ) -> Result<Vec<Interval>, SourceError> {
        let ClosedBank { bank, tick_clock } = self.close_bank()?;
        let mut intervals = Vec::with_capacity(ending.len());
        for capture in self.captures.values() {
            let counters = self.counters_of(capture);
            if !ending.iter().any(|other| Arc::ptr_eq(other, capture)) {
                capture.settle(bank, &counters);
                continue;
            }
            let tick_clock = tick_clock.clone();
            intervals.push(match kind {
                Ending::Rotation => capture.settle_and_rotate(bank, &counters, now, tick_clock),
                Ending::Last => capture.settle_and_end(bank, &counters, now, tick_clock),
            });
        }
        Ok(intervals)
    }

    /// Switches banks and waits until all records of the closed one are in flows or in local
    /// buffers: then its counters can be read, and agree with them.
    fn close_bank(&mut self) -> Result<ClosedBank, SourceError> {
        let begin = Instant::now();
        let bank = self.source.switch_bank()?;
        let tick_clock = self.source.tick_clock();
        self.flushed_at = begin;
        self.open_bank = 1 - bank;
        self.sync_drains(Some(bank));
        Ok(ClosedBank { bank, tick_clock })
    }

    /// Returns once every record submitted before has been handed over, with what was kept back of
    /// a closed bank. A stream that has failed hands over nothing more, which the ledger then shows;
    /// the flows that are there are written all the same.
    pub(super) fn sync_drains(&self, closed_bank: Option<u8>) {
        let pending: Vec<_> = self
            .drains
            .iter()
            .map(|drain| drain.sync(closed_bank))
            .collect();
        for answer in pending {
            match answer.recv() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "cannot drain a stream"),
                Err(_) => tracing::error!("a drain thread is gone"),
            }
        }
    }

    fn counters_of(&self, capture: &Capture) -> BankCounters {
        self.source.counters(capture.interface.ifindex).unwrap_or_else(|error| {
            tracing::error!(iface = %capture.interface.name, %error, "cannot read the counters");
            BankCounters::default()
        })
    }
}
