//! The metrics one by one.

use std::time::Duration;

use prometheus::Histogram;

use probe_capture::status::Issue;

use super::{Direction, Metrics, count::Count, gauges::InterfaceGauges};

/// The metrics one by one, as the last scrape gave them, for embedders and tests. Without the `iface`
/// label all interfaces share one series, whatever name is given.
impl Metrics {
    /// IP octets in flows.
    pub fn observe_bytes_total(&self, iface: &str, direction: Direction) -> u64 {
        self.counter(iface, Count::Bytes(direction))
    }

    /// Packets that could not be parsed as they should.
    pub fn observe_capture_issues(&self, iface: &str, issue: Issue) -> u64 {
        self.counter(iface, Count::Issue(issue))
    }

    /// Share of the link's packets that were seen, 1 is all. `None` before it is known.
    pub fn observe_coverage(&self, iface: &str, direction: Direction) -> Option<f64> {
        self.gauges(iface).coverage[direction as usize]
    }

    /// Flows in the log.
    pub fn observe_flows(&self, iface: &str) -> u64 {
        self.gauges(iface).flows
    }

    /// Share of the largest local buffer in use, 0 to 1.
    pub fn observe_global_buffer_usage(&self, iface: &str) -> f64 {
        self.gauges(iface).buffer_usage
    }

    /// Interfaces that are being captured.
    pub fn observe_interfaces_capturing(&self) -> u64 {
        self.state.lock().gauges.interfaces
    }

    /// Packets seen that are neither in flows nor lost.
    pub fn observe_ledger_residue(&self, iface: &str) -> i64 {
        self.gauges(iface).residue
    }

    /// Packets lost because the agent did not keep up.
    pub fn observe_packets_dropped(&self, iface: &str) -> u64 {
        self.counter(iface, Count::Dropped)
    }

    /// Packets counted in flows.
    pub fn observe_packets_processed(&self, iface: &str) -> u64 {
        self.counter(iface, Count::Processed)
    }

    /// Packets in flows by direction.
    pub fn observe_packets_total(&self, iface: &str, direction: Direction) -> u64 {
        self.counter(iface, Count::Packets(direction))
    }

    /// Records how long a rotation took.
    pub fn on_rotation(&self, took: Duration) {
        self.rotation_duration.observe(took.as_secs_f64());
    }

    /// Records how long it took from the kernel's word of a link to its capture.
    pub fn on_link_captured(&self, took: Duration) {
        self.link_capture_latency.observe(took.as_secs_f64());
    }

    /// How long it takes from the kernel's word of a link to its capture, in seconds.
    pub fn observe_link_capture_latency(&self) -> Histogram {
        self.link_capture_latency.clone()
    }

    /// How long rotations take, in seconds.
    pub fn observe_rotation_duration(&self) -> Histogram {
        self.rotation_duration.clone()
    }

    /// Sets the counters of interfaces to 0 and goes on from there. Only tests may: counters must
    /// not go back.
    #[doc(hidden)]
    pub fn reset_counters_for_testing(&self) {
        self.state.lock().kept.reset();
    }

    fn counter(&self, iface: &str, count: Count) -> u64 {
        self.state.lock().kept.counter(self.series(iface), count)
    }

    fn gauges(&self, iface: &str) -> InterfaceGauges {
        let state = self.state.lock();
        let gauges = state.gauges.by_name.get(self.series(iface));
        gauges.cloned().unwrap_or_default()
    }

    /// The name under which an interface is kept, without its label.
    const fn series<'a>(&self, iface: &'a str) -> &'a str {
        if self.with_iface { iface } else { "" }
    }
}
