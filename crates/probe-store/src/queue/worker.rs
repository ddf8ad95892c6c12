//! Writes intervals, one at a time, with retries.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use tracing::{error, warn};

use super::lane::Lane;
use crate::{SinkStats, WriteoutError, WriteoutHandler};
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
        while let Some(interval) = lane.next() {
            let is_written = self.write_with_retries(lane, &interval);
            let stored_bytes = self.handler.stored_bytes();
            lane.on_done(|stats| {
                if is_written {
                    stats.on_written(stored_bytes);
                } else {
                    stats.on_failed();
                }
            });
        }
        lane.on_end();
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
            let error = match self.attempt(interval) {
                Ok(()) => return true,
                Err(error) => error,
            };
            let may_retry = error.is_transient() && attempt < policy.max_attempts;
            if may_retry {
                warn!(
                    sink = self.stats.sink(),
                    iface = &*interval.iface,
                    attempt,
                    ?backoff,
                    %error,
                    "interval not written yet, trying again"
                );
            }
            if !may_retry || !lane.pause(backoff) {
                self.log_given_up(interval, attempt, &error);
                return false;
            }
            self.stats.on_retry();
            backoff = (backoff * 2).min(policy.max_backoff);
        }
        false
    }

    /// A panic of the handler costs the interval, not the sink: handlers keep no state between
    /// intervals that a panic could leave half-changed, other than their counters.
    fn attempt(&mut self, interval: &Interval) -> Result<(), WriteoutError> {
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
        result.inspect_err(|error| self.stats.on_error(&error.to_string()))
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
