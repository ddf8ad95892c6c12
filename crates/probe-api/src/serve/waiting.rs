//! Connections of members that wait for a place: first those that ask something.

use std::{collections::VecDeque, future::poll_fn, task::Poll};

use tokio::time::Instant;

use super::{PATIENCE, Peer};

/// Connections of each kind that wait. More that ask wait in the kernel, and others behind them.
const MAX_WAITING: usize = 256;

/// Connections without a place, the oldest first.
pub(super) struct Waiting<T> {
    /// They have not sent the head of a request, and get only what is free.
    silent: VecDeque<(Instant, T)>,
    /// They have sent one.
    asking: VecDeque<T>,
}

impl<T: Peer> Waiting<T> {
    pub(super) const fn new() -> Self {
        Self {
            silent: VecDeque::new(),
            asking: VecDeque::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.silent.is_empty() && self.asking.is_empty()
    }

    /// Whether so many ask, or have just come and may be about to, that no more are to be accepted.
    pub(super) fn is_full(&self) -> bool {
        let oldest = self.silent.front();
        let is_young = oldest.is_some_and(|(since, _)| since.elapsed() < PATIENCE);
        self.asking.len() >= MAX_WAITING || is_young && self.silent.len() >= MAX_WAITING
    }

    /// A newcomer, which may be about to ask. Of too many the oldest silent one is closed.
    pub(super) fn push(&mut self, io: T) {
        if self.silent.len() >= MAX_WAITING {
            self.silent.pop_front();
        }
        self.silent.push_back((Instant::now(), io));
    }

    /// Waits until a silent one has sent a request, or is gone.
    pub(super) async fn asked(&mut self) {
        let io = poll_fn(|context| {
            let mut silent = self.silent.iter();
            let readable = silent.position(|(_, io)| io.poll_readable(context).is_ready());
            readable
                .and_then(|position| self.silent.remove(position))
                .map_or(Poll::Pending, Poll::Ready)
        });
        let (_, io) = io.await;
        self.asking.push_back(io);
    }

    /// Lets in those who get a place: `admit` gives back who gets none, though another's may be taken;
    /// `is_free` tells whether there is one that nobody has.
    pub(super) fn admit<D>(
        &mut self,
        door: &mut D,
        admit: impl Fn(&mut D, T) -> Option<T>,
        is_free: impl Fn(&D) -> bool,
    ) {
        while let Some(io) = self.asking.pop_front() {
            if let Some(io) = admit(door, io) {
                self.asking.push_front(io);
                return;
            }
        }
        while is_free(door)
            && let Some((since, io)) = self.silent.pop_front()
        {
            if let Some(io) = admit(door, io) {
                self.silent.push_front((since, io));
                return;
            }
        }
    }
}
