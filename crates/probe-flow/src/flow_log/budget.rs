//! The flows that all flow logs together may keep.
//!
//! A limit for each log does not bound a host with a thousand interfaces. So the logs share a
//! count. Each takes room from it ahead of need, in chunks, since the logs are filled by several
//! threads and a new flow must not cost a line of memory that they fight for; known flows never
//! touch it. What a log does not need it gives back at its rotation.
//!
//! It bounds flows. The memory of flows that are gone counts only as far as their table frees it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use probe_common::control::MAX_INTERFACES;

/// Most flows that a log takes room for at once. An idle interface withholds at most so many.
const MAX_CHUNK: usize = 256;

/// A chunk is at most this part of what is free: as the budget runs out, chunks shrink down to
/// single flows, so that the first logs to come do not take what the others need.
const SHARES: usize = MAX_INTERFACES as usize;

/// A limit on the flows of several flow logs together.
#[derive(Debug)]
pub struct FlowBudget {
    limit: AtomicUsize,
    /// Flows that the logs have, and room that they took for more. The atomics guard no other
    /// memory, so they need no ordering.
    taken: AtomicUsize,
}

impl Default for FlowBudget {
    /// A budget without a limit.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl FlowBudget {
    /// A budget for so many flows.
    pub const fn new(limit: usize) -> Self {
        Self {
            limit: AtomicUsize::new(limit),
            taken: AtomicUsize::new(0),
        }
    }

    /// Changes the limit. Flows beyond a lower one stay until they are idle; until as many are gone,
    /// no log gets room for new ones.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Relaxed);
    }

    /// Flows that the logs have or took room for.
    pub fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    fn free(&self) -> usize {
        self.limit.load(Relaxed).saturating_sub(self.taken())
    }

    /// Takes room for one flow or more, but at most so many. Returns 0 if none is left.
    fn take(&self, most: usize) -> usize {
        let limit = self.limit.load(Relaxed);
        let chunk = |taken| {
            let free = limit.saturating_sub(taken);
            (free / SHARES).clamp(1, MAX_CHUNK).min(free).min(most)
        };
        let grown = self.taken.fetch_update(Relaxed, Relaxed, |taken| {
            Some(chunk(taken)).filter(|it| *it > 0).map(|it| taken + it)
        });
        grown.map_or(0, chunk)
    }

    fn give_back(&self, flows: usize) {
        self.taken.fetch_sub(flows, Relaxed);
    }
}

/// The room that one flow log has taken from a budget. Gives it back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    budget: Arc<FlowBudget>,
    /// Flows that fit, those that are there included.
    flows: usize,
}

impl Room {
    pub(super) const fn new(budget: Arc<FlowBudget>) -> Self {
        Self { budget, flows: 0 }
    }

    /// Whether a new flow needs [`Self::grow`] first, with `len` flows in the log.
    #[inline]
    pub(super) const fn is_used_up(&self, len: usize) -> bool {
        len >= self.flows
    }

    /// Takes room for more flows, for `max_flows` at most altogether. Returns whether there was
    /// any.
    pub(super) fn grow(&mut self, max_flows: usize) -> bool {
        let taken = self.budget.take(max_flows.saturating_sub(self.flows));
        self.flows += taken;
        taken > 0
    }

    /// How many flows the log can have if it grows now, and no other one does.
    pub(super) fn reach(&self, max_flows: usize) -> usize {
        max_flows.min(self.flows.saturating_add(self.budget.free()))
    }

    /// Gives back what `len` flows do not need.
    pub(super) fn shrink(&mut self, len: usize) {
        self.budget.give_back(self.flows.saturating_sub(len));
        self.flows = self.flows.min(len);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests;
