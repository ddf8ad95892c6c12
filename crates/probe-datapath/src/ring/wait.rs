//! Waiting for the rings: until one fills up, somebody calls, or the time is over.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use rustix::{
    buffer::spare_capacity,
    event::{
        EventfdFlags,
        epoll::{self, CreateFlags, EventData, EventFlags},
        eventfd,
    },
    io::{self, Errno},
};

use crate::DatapathError;
use probe_capture::source::Waker;

/// What the reader sleeps on.
///
/// Edge-triggered: a ring that holds a record is always readable, but only the programs' wake-up,
/// when it has filled up to [`probe_common::control::globals::WAKE_BYTES`], makes an edge.
#[derive(Debug)]
pub(super) struct Wait {
    epoll: OwnedFd,
    calls: Arc<OwnedFd>,
    /// What it sleeps on: the rings, and the calls.
    sources: usize,
}

impl Wait {
    pub(super) fn new<Ring: AsFd>(
        rings: impl IntoIterator<Item = Ring>,
    ) -> Result<Self, DatapathError> {
        Self::open(rings).map_err(|source| DatapathError::Wait(source.into()))
    }

    fn open<Ring: AsFd>(rings: impl IntoIterator<Item = Ring>) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let calls = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let edges = EventFlags::IN | EventFlags::ET;
        // Which of them it was does not matter: the reader that wakes up polls all of them.
        let mut sources = 0;
        let mut add = |source: &dyn AsFd| {
            sources += 1;
            epoll::add(&epoll, source, EventData::new_u64(0), edges)
        };
        for ring in rings {
            add(&ring)?;
        }
        add(&calls)?;
        Ok(Self {
            epoll,
            calls: Arc::new(calls),
            sources,
        })
    }

    /// Returns at a wake-up of the programs, at a call of the waker (also one before), or after so
    /// long.
    pub(super) fn wait(&self, at_most: Duration) {
        let timeout = at_most.try_into().ok();
        // Room for all: one that is left over would wake the next wait.
        let mut events = Vec::with_capacity(self.sources);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            // Nothing that is open for as long as this can fail; were it otherwise, the reader must
            // not spin.
            Err(error) => {
                tracing::error!(%error, "cannot wait for the rings");
                std::thread::sleep(at_most);
            }
        }
    }

    pub(super) fn waker(&self) -> Waker {
        let calls = self.calls.clone();
        // A counter that is full (after 2^64 calls) would wake all the same.
        Waker::new(move || {
            let _ = io::write(&*calls, &1_u64.to_ne_bytes());
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rustix::event::{EventfdFlags, eventfd};

    use super::Wait;

    #[test]
    fn a_call_before_the_wait_is_not_lost_and_wakes_once() {
        let ring = eventfd(0, EventfdFlags::empty()).unwrap();
        let wait = Wait::new([&ring]).unwrap();
        wait.waker().wake();
        let begin = Instant::now();
        wait.wait(Duration::from_secs(20));
        assert!(begin.elapsed() < Duration::from_secs(10), "it was called");
        let begin = Instant::now();
        wait.wait(Duration::from_millis(20));
        assert!(begin.elapsed() >= Duration::from_millis(20), "by nobody");
    }

    #[test]
    fn each_ring_wakes_and_all_at_once_wake_once() {
        let ring = || eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        let rings = [ring(), ring(), ring(), ring()];
        let wait = Wait::new(&rings).unwrap();
        let wake = |ring| rustix::io::write(ring, &1_u64.to_ne_bytes()).unwrap();
        let sleeps_for = |at_most| {
            let begin = Instant::now();
            wait.wait(Duration::from_millis(at_most));
            begin.elapsed()
        };
        for ring in &rings {
            wake(ring);
            assert!(sleeps_for(20_000) < Duration::from_secs(10), "woken");
        }
        for ring in &rings {
            wake(ring);
        }
        assert!(sleeps_for(20_000) < Duration::from_secs(10), "woken by all");
        assert!(
            sleeps_for(20) >= Duration::from_millis(20),
            "nothing is left"
        );
    }
}
