//! Whether the capture is alive: asked by the watchdog.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc::RecvTimeoutError},
    time::{Duration, Instant},
};

use super::{Inner, Manager};
use crate::status::InterfaceStatus;

/// Which part does not answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unhealthy {
    /// Somebody holds the manager.
    #[error("the manager has been busy for {0:?}")]
    Manager(Duration),
    /// A drain thread hangs.
    #[error("the drain thread {number} has not answered for {waited:?}")]
    Drain {
        /// Number of the drain thread, from 0.
        number: usize,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A drain thread has ended.
    #[error("the drain thread {0} is gone")]
    Gone(usize),
}

impl Manager {
    /// Whether the manager and every drain thread answer within this time. Records how long the
    /// slowest of the threads took to hand over what lay in its stream.
    ///
    /// # Errors
    ///
    /// [`Unhealthy::Manager`]: the manager is locked for all of `patience`. [`Unhealthy::Drain`]: a
    /// drain thread does not answer in what is left of it. [`Unhealthy::Gone`]: a drain thread has
    /// ended.
    pub fn check_health(&self, patience: Duration) -> Result<(), Unhealthy> {
        let asked = Instant::now();
        let answers: Vec<_> = {
            let inner = self.inner.try_lock_for(patience);
            let inner = inner.ok_or(Unhealthy::Manager(patience))?;
            let drains = inner.drains.iter();
            drains.map(|drain| (Instant::now(), drain.ping())).collect()
        };
        let mut lag = Duration::ZERO;
        for (number, (pinged, answer)) in answers.into_iter().enumerate() {
            let waited = asked.elapsed();
            match answer.recv_timeout(patience.saturating_sub(waited)) {
                Ok(()) => lag = lag.max(pinged.elapsed()),
                Err(RecvTimeoutError::Timeout) => {
                    let waited = pinged.elapsed();
                    *self.drain_lag.lock() = Some(waited);
                    return Err(Unhealthy::Drain { number, waited });
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Unhealthy::Gone(number)),
            }
        }
        *self.drain_lag.lock() = Some(lag);
        Ok(())
    }
}

impl Inner {
    /// What closed captures have counted.
    pub(super) fn closed(&self) -> BTreeMap<Arc<str>, InterfaceStatus> {
        let closed = self.history.iter();
        closed
            .map(|(name, history)| (name.clone(), history.status(name)))
            .collect()
    }
}
