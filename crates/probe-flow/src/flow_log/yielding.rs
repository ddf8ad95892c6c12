//! Letting others have the CPU in the middle of long work.
//!
//! A rotation of a million flows takes ten milliseconds. Where the thread that rotates and the one that
//! drains share a CPU, the scheduler gives each several of them in a row: it checks at most once a tick.
//! A drain thread that has to wait for so long is a pause of the capture.

/// Flows after which others are let: a tenth of a millisecond.
const FLOWS: usize = 1 << 13;

/// Counts flows, and gives the CPU away in between.
#[derive(Default)]
pub(super) struct Yielding {
    flows: usize,
}

impl Yielding {
    /// One more flow is done.
    #[inline]
    pub(super) fn flow(&mut self) {
        self.flows += 1;
        if self.flows.is_multiple_of(FLOWS) {
            std::thread::yield_now();
        }
    }
}
