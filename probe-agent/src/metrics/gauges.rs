//! The gauges of interfaces, from a status and nothing else.

use std::{collections::BTreeMap, sync::Arc};

use probe_capture::status::{InterfaceStatus, Status, WatchStatus};

/// The gauges by name of their series.
#[derive(Clone, Debug, Default)]
pub(super) struct Gauges {
    /// Interfaces that are captured.
    pub(super) interfaces: u64,
    pub(super) by_name: BTreeMap<Arc<str>, InterfaceGauges>,
}

/// The gauges of an interface, or of all that share a name.
#[derive(Clone, Debug, Default)]
pub(super) struct InterfaceGauges {
    pub(super) flows: u64,
    pub(super) flow_log_bytes: u64,
    /// Sum over the interfaces.
    pub(super) residue: i64,
    /// Of the interface that used most, 0 to 1.
    pub(super) buffer_usage: f64,
    /// Of the interface that is covered worst, by direction; `None` before any is known.
    pub(super) coverage: [Option<f64>; 2],
    /// Interfaces in each state, in the order of [`WatchStatus::STATES`].
    pub(super) states: [u64; WatchStatus::STATES.len()],
    /// Interfaces by the hooks for received and for sent packets.
    pub(super) hooks: BTreeMap<[&'static str; 2], u64>,
}

impl Gauges {
    /// Sums the captured interfaces up by the names that their series have.
    pub(super) fn from_status(
        status: &Status,
        mut name: impl FnMut(&Arc<str>) -> Option<Arc<str>>,
    ) -> Self {
        let mut gauges = Self {
            interfaces: status.interfaces.len() as u64,
            by_name: BTreeMap::new(),
        };
        for (iface, status) in &status.interfaces {
            if let Some(name) = name(iface) {
                gauges.by_name.entry(name).or_default().add(status);
            }
        }
        gauges
    }
}

impl InterfaceGauges {
    fn add(&mut self, status: &InterfaceStatus) {
        self.flows += status.flows;
        self.flow_log_bytes += status.flow_log_bytes;
        self.residue += status.ledger.residue();
        self.buffer_usage = self.buffer_usage.max(status.local_buffer_usage);
        for (least, of_link) in self.coverage.iter_mut().zip(&status.watch.coverage) {
            let ratio = of_link.ratio.or(*least);
            *least = ratio.map(|ratio| ratio.min(least.unwrap_or(ratio)));
        }
        for (interfaces, state) in self.states.iter_mut().zip(WatchStatus::STATES) {
            *interfaces += u64::from(state == status.watch.state());
        }
        let hooks = [status.attachment.ingress, status.attachment.egress];
        *self.hooks.entry(hooks).or_default() += 1;
    }
}
