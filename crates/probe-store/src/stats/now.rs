//! How a sink is at the moment: whether attempts to store fail, for which interface, and whether something hangs.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use probe_flow::interval::Interval;

use super::{SinkTrouble, SinkTroubleKind};
use crate::{WriteoutError, report::StoreReport};

/// A write that takes longer hangs, as far as one can tell from outside.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(5);

/// What is so at the moment.
#[derive(Debug, Default)]
pub(super) struct Now {
    /// What the last look at the place has found.
    place: Option<Failing>,
    /// By interface, what its last attempt has met. Another interface may be stored all the while.
    attempts: BTreeMap<Arc<str>, FailedAttempt>,
    /// When the running attempt began.
    pub(super) attempt: Option<Instant>,
    /// When the running look at the place began.
    pub(super) look: Option<Instant>,
    /// When the sink began to look after what it keeps, if it still does.
    pub(super) upkeep: Option<Instant>,
    /// Since when the queue runs over.
    pub(super) overrun: Option<Instant>,
    pub(super) store: Option<StoreReport>,
}

/// Attempts fail, or would.
#[derive(Debug)]
pub(super) struct Failing {
    pub(super) since: Instant,
    /// The last error, and what helps.
    error: Arc<str>,
    remedy: &'static str,
}

/// Attempts to store intervals of one interface fail.
#[derive(Debug)]
struct FailedAttempt {
    failing: Failing,
    /// End of the interval that was tried last.
    end: Timestamp,
    /// It is of a kind that a look sees as well.
    is_of_place: bool,
    /// A look has failed since, so that one which does not tells that it is over.
    is_seen_by_look: bool,
}

impl Failing {
    fn new(error: &WriteoutError, since: Option<Instant>) -> Self {
        Self {
            since: since.unwrap_or_else(Instant::now),
            error: error.to_string().into(),
            remedy: error.remedy(),
        }
    }
}

/// What a look at the place of a sink has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Look {
    Same,
    /// Nothing can be stored from now on.
    Began,
    /// It can be again.
    Ended {
        failed_for: Duration,
    },
}

impl Now {
    /// The oldest of what fails.
    pub(super) fn failing(&self) -> Option<&Failing> {
        let attempts = self.attempts.values().map(|it| &it.failing);
        attempts.chain(&self.place).min_by_key(|it| it.since)
    }

    pub(super) fn on_failed_attempt(&mut self, interval: &Interval, error: &WriteoutError) {
        let iface = &interval.iface;
        let since = self.attempts.get(iface).map(|it| it.failing.since);
        let attempt = FailedAttempt {
            failing: Failing::new(error, since),
            end: interval.end,
            is_of_place: error.is_of_place(),
            is_seen_by_look: false,
        };
        self.attempts.insert(Arc::clone(iface), attempt);
    }

    /// Ends the trouble of the interface, and that of interfaces which are gone: the queue is in order, and
    /// this interval is of the rotation after the next, of which they have had none.
    pub(super) fn on_stored(&mut self, interval: &Interval) {
        self.place = None;
        self.attempts
            .retain(|iface, it| *iface != interval.iface && interval.start <= it.end);
    }

    pub(super) fn on_look_error(&mut self, error: &WriteoutError) {
        self.place = Some(Failing::new(error, self.place.take().map(|it| it.since)));
        for attempt in self.attempts.values_mut() {
            attempt.is_seen_by_look |= attempt.is_of_place;
        }
    }

    /// What a look cannot see stays.
    pub(super) fn on_look_ok(&mut self) {
        self.place = None;
        self.attempts.retain(|_, it| !it.is_seen_by_look);
    }

    pub(super) fn trouble(&self, queue_length: u64) -> Option<SinkTrouble> {
        // Nobody waits for upkeep but the intervals behind it.
        let upkeep = self.upkeep.filter(|_| queue_length > 0);
        let running = self.attempt.or(self.look).or(upkeep);
        let stuck = running.filter(|begin| begin.elapsed() >= STUCK_AFTER);
        let none = || "".into();
        let (kind, since, error, remedy) = if let Some(since) = stuck {
            let remedy = "see whether its disk or mount answers (`dmesg`, `ls` in its directory)";
            (SinkTroubleKind::Stuck, since, none(), remedy)
        } else if let Some(it) = self.failing() {
            (
                SinkTroubleKind::Failing,
                it.since,
                Arc::clone(&it.error),
                it.remedy,
            )
        } else {
            let remedy = "give it a faster disk, or raise rotation.interval";
            (SinkTroubleKind::Overrun, self.overrun?, none(), remedy)
        };
        Some(SinkTrouble {
            kind,
            lasts: since.elapsed(),
            error,
            remedy,
        })
    }
}
