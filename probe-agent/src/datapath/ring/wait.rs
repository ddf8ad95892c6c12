//! Waiting for the ring: until it fills up, somebody calls, or the time is over.

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

use crate::{datapath::DatapathError, source::Waker};

/// What the reader sleeps on.
///
/// Edge-triggered: a ring that holds a record is always readable, but only the programs' wake-up,
/// when it has filled up to [`probe_common::control::globals::WAKE_BYTES`], makes an edge.
#[derive(Debug)]
pub(super) struct Wait {
    epoll: OwnedFd,
    calls: Arc<OwnedFd>,
}

impl Wait {
    pub(super) fn new(ring: impl AsFd) -> Result<Self, DatapathError> {
        Self::open(ring).map_err(|source| DatapathError::Wait(source.into()))
    }

    fn open(ring: impl AsFd) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let calls = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let edges = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, ring, EventData::new_u64(0), edges)?;
        epoll::add(&epoll, &calls, EventData::new_u64(1), edges)?;
        Ok(Self {
            epoll,
            calls: Arc::new(calls),
        })
    }

    /// Returns at a wake-up of the programs, at a call of the waker (also one before), or after so
    /// long.
    pub(super) fn wait(&self, at_most: Duration) {
        let timeout = at_most.try_into().ok();
        let mut events = Vec::with_capacity(2);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            // Nothing that is open for as long as this can fail; were it otherwise, the reader must
            // not spin.
            Err(error) => {
                tracing::error!(%error, "cannot wait for the ring");
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
        let wait = Wait::new(&ring).unwrap();
        wait.waker().wake();
        let begin = Instant::now();
        wait.wait(Duration::from_secs(20));
        assert!(begin.elapsed() < Duration::from_secs(10), "it was called");
        let begin = Instant::now();
        wait.wait(Duration::from_millis(20));
        assert!(begin.elapsed() >= Duration::from_millis(20), "by nobody");
    }
}
