//! What counters need to know of the scrapes before, so that they never go back.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use jiff::Timestamp;
use probe_capture::status::{InterfaceStatus, Status};

use super::{
    count::{Count, Counts},
    names::Names,
};

/// Which interface has series of which name, and what they have counted.
#[derive(Default)]
pub(super) struct Kept {
    names: Names,
    /// What the last status said of each interface, those that are closed too.
    last: BTreeMap<Arc<str>, Counted>,
    /// What the series of each name count.
    counters: BTreeMap<Arc<str>, Counts>,
}

/// Counts of an interface, and since when.
#[derive(Clone, Copy)]
struct Counted {
    /// Index of the link; 0 where it is no longer captured.
    ifindex: u32,
    started_at: Timestamp,
    counts: Counts,
}

impl From<&InterfaceStatus> for Counted {
    fn from(status: &InterfaceStatus) -> Self {
        Self {
            ifindex: status.ifindex,
            started_at: status.started_at,
            counts: Counts::from_status(status),
        }
    }
}

impl Counted {
    /// What stays the same when a link is renamed.
    const fn link(&self) -> (u32, Timestamp) {
        (self.ifindex, self.started_at)
    }
}

impl Kept {
    /// Takes in a status: advances each counter by what was added since the last one.
    pub(super) fn on_status(&mut self, status: &Status, with_iface: bool, now: Instant) {
        for iface in status.interfaces.keys() {
            self.names.enter(iface, with_iface);
        }
        for iface in self.names.expire(status, now) {
            self.counters.remove(&iface);
            // If it comes back its series begins again with all that was counted.
            self.last.remove(&iface);
        }
        let mut last = BTreeMap::new();
        let before_by_link: BTreeMap<_, _> = self
            .last
            .values()
            .filter(|counted| counted.ifindex != 0)
            .map(|counted| (counted.link(), *counted))
            .collect();
        // Captured ones last: one that came back is both.
        for (iface, status) in status.closed.iter().chain(&status.interfaces) {
            let Some(name) = self.names.name(iface, with_iface) else {
                continue;
            };
            let now = Counted::from(status);
            // A capture that counts from 0 has another start.
            let before = last.get(iface).or_else(|| self.last.get(iface));
            let before = before.filter(|before| before.started_at == now.started_at);
            // What a renamed link has counted is in the series of its old name already.
            let before = before_by_link.get(&now.link()).or(before);
            let counters = self.counters.entry(name).or_default();
            counters.advance(&now.counts, before.map(|before| &before.counts));
            last.insert(iface.clone(), now);
        }
        self.last = last;
    }

    /// The name under which an interface has its series, if it has any.
    pub(super) fn name(&mut self, iface: &Arc<str>, with_iface: bool) -> Option<Arc<str>> {
        self.names.name(iface, with_iface)
    }

    /// What the series of each name count.
    pub(super) const fn counters(&self) -> &BTreeMap<Arc<str>, Counts> {
        &self.counters
    }

    /// What the series of this name counts.
    pub(super) fn counter(&self, name: &str, count: Count) -> u64 {
        let counts = self.counters.get(name);
        counts.map_or(0, |counts| counts.value(count))
    }

    /// Sets all counters to 0; they go on with what is added from now on.
    pub(super) fn reset(&mut self) {
        for counts in self.counters.values_mut() {
            *counts = Counts::default();
        }
    }
}
