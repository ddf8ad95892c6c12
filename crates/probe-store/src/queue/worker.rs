//! Writes intervals, one at a time, with retries.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use tracing::{error, info, warn};

use super::lane::{Lane, Work};
use crate::{SinkStats, WriteoutError, WriteoutHandler, stats::Look};
use probe_flow::interval::Interval;

/// A sink's handler with its counters.
pub(super) struct Worker {
    handler: Box<dyn WriteoutHandler>,
    stats: Arc<SinkStats>,
}

impl Worker {
    pub(super) fn new(handler: Box<dyn WriteoutHandler>, stats: Arc<SinkStats>) -> Self {
        Self { handler, stats }
    }

    /// The life of a sink's thread.
    pub(super) fn run(&mut self, lane: &Lane) {
        self.maintain();
        loop {
            match lane.next() {
                Work::Write(interval) => self.write_from(lane, &interval),
                Work::Maintain => self.maintain(),
                Work::ConfirmClock => self.look_after(|handler| handler.confirm_clock()),
                Work::End => break,
            }
        }
        lane.on_end();
    }

    fn write_from(&mut self, lane: &Lane, interval: &Interval) {
        let is_written = self.write_with_retries(lane, interval);
        let stored_bytes = self.handler.stored_bytes();
        lane.on_done(|stats| {
            if is_written {
                stats.on_written(stored_bytes);
            } else {
                stats.on_failed();
            }
        });
    }

    /// What there is to do between writes.
    pub(super) fn maintain(&mut self) {
        self.look();
        self.look_after(|handler| handler.maintain());
    }

    /// Takes in whether the next interval can be stored. What hangs is told as if it were a write.
    fn look(&mut self) {
        self.stats.on_look();
        let found = catch_unwind(AssertUnwindSafe(|| self.handler.look()));
        // A panic tells nothing about the place.
        let found = found.unwrap_or(Ok(()));
        let sink = self.stats.sink();
        match (self.stats.on_look_end(found.as_ref().err()), found) {
            (Look::Began, Err(error)) => warn!(sink, %error, "the sink cannot store now"),
            (Look::Ended { failed_for }, _) => {
                info!(
                    sink,
                    failed_for_s = failed_for.as_secs(),
                    "the sink can store again"
                );
            }
            _ => {}
        }
    }

    /// Lets the handler do something beside its writes, and takes note of what it then keeps. A
    /// panic must not cost the sink.
    fn look_after(&mut self, task: impl FnOnce(&mut dyn WriteoutHandler)) {
        self.stats.on_upkeep();
        let done = catch_unwind(AssertUnwindSafe(|| task(&mut *self.handler)));
        self.stats.on_upkeep_end();
        if done.is_err() {
            error!(
                sink = self.stats.sink(),
                "the sink panicked beside its writes"
            );
        }
        self.stats.set_report(self.handler.report());
    }

    /// Tries once to write an interval, and counts the result.
    pub(super) fn write_once(&mut self, interval: &Interval) {
        match self.attempt(interval) {
            Ok(()) => self.stats.on_written(self.handler.stored_bytes()),
            Err(error) => {
                self.log_given_up(interval, 1, &error);
                self.stats.on_failed();
            }
        }
    }

    fn write_with_retries(&mut self, lane: &Lane, interval: &Interval) -> bool {
        let policy = *lane.policy();
        let mut backoff = policy.first_backoff;
        for attempt in 1.. {
            let is_last = attempt >= policy.max_attempts || lane.is_closing();
            let error = match self.attempt(interval) {
                Ok(()) => return true,
                Err(error) => error,
            };
            if is_last || !error.is_transient() {
                self.log_given_up(interval, attempt, &error);
                return false;
            }
            // The 1st, 2nd, 4th …: enough to see that it goes on.
            if attempt.is_power_of_two() {
                warn!(
                    sink = self.stats.sink(),
                    iface = &*interval.iface,
                    attempt,
                    ?backoff,
                    %error,
                    "interval not written yet, trying again"
                );
            }
            lane.pause(backoff);
            if lane.take_confirmation() {
                self.look_after(|handler| handler.confirm_clock());
            }
            self.stats.on_retry();
            backoff = (backoff * 2).min(policy.max_backoff);
        }
        false
    }

    /// A panic of the handler costs the interval, not the sink: handlers keep no state between
    /// intervals that a panic could leave half-changed, other than their counters.
    fn attempt(&mut self, interval: &Interval) -> Result<(), WriteoutError> {
        self.stats.on_attempt();
        let result = catch_unwind(AssertUnwindSafe(|| self.handler.write(interval)));
        let result = result.unwrap_or_else(|payload| {
            let message = payload
                .downcast_ref::<&str>()
                .map(|message| (*message).to_owned())
                .or_else(|| payload.downcast_ref::<String>().cloned());
            Err(WriteoutError::Panic {
                iface: Arc::clone(&interval.iface),
                reason: message.unwrap_or_else(|| "no message".to_owned()),
            })
        });
        if let Some(failed_for) = self.stats.on_attempt_end(interval, result.as_ref().err()) {
            let failed_for_s = failed_for.as_secs();
            info!(
                sink = self.stats.sink(),
                failed_for_s, "the sink stores again"
            );
        }
        self.stats.set_report(self.handler.report());
        result
    }

    fn log_given_up(&self, interval: &Interval, attempts: u32, error: &WriteoutError) {
        error!(
            sink = self.stats.sink(),
            iface = &*interval.iface,
            start = %interval.start,
            end = %interval.end,
            flows = interval.flows.len(),
            packets = interval.totals.packets(),
            attempts,
            %error,
            "interval lost for this sink"
        );
    }
}
