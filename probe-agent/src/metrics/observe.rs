//! The metrics as handles.

use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

use probe_capture::status::Issue;

use super::{Direction, Metrics, count::Count, series::labels};

/// The metrics one by one, for embedders and tests. Without the `iface` label all interfaces share
/// one series, whatever name is given.
impl Metrics {
    /// IP octets in flows.
    pub fn observe_bytes_total(&self, iface: &str, direction: Direction) -> IntCounter {
        self.counter(Count::Bytes(direction), iface)
    }

    /// Packets that could not be parsed as they should.
    pub fn observe_capture_issues(&self, iface: &str, issue: Issue) -> IntCounter {
        self.counter(Count::Issue(issue), iface)
    }

    /// Share of the link's packets that were seen. Not there before it is known.
    pub fn observe_coverage(&self, iface: &str, direction: Direction) -> Gauge {
        self.coverage
            .with_label_values(&labels(self.with_iface, iface, [direction.name()]))
    }

    /// Flows in the log.
    pub fn observe_flows(&self, iface: &str) -> IntGauge {
        self.flows
            .with_label_values(&labels(self.with_iface, iface, None))
    }

    /// Share of the largest local buffer in use.
    pub fn observe_global_buffer_usage(&self, iface: &str) -> Gauge {
        self.buffer_usage
            .with_label_values(&labels(self.with_iface, iface, None))
    }

    /// Interfaces that are being captured.
    pub fn observe_interfaces_capturing(&self) -> IntGauge {
        self.interfaces_capturing.clone()
    }

    /// Packets seen that are neither in flows nor lost.
    pub fn observe_ledger_residue(&self, iface: &str) -> IntGauge {
        self.ledger_residue
            .with_label_values(&labels(self.with_iface, iface, None))
    }

    /// Packets lost because the agent did not keep up.
    pub fn observe_packets_dropped(&self, iface: &str) -> IntCounter {
        self.counter(Count::Dropped, iface)
    }

    /// Packets counted in flows.
    pub fn observe_packets_processed(&self, iface: &str) -> IntCounter {
        self.counter(Count::Processed, iface)
    }

    /// Packets in flows by direction.
    pub fn observe_packets_total(&self, iface: &str, direction: Direction) -> IntCounter {
        self.counter(Count::Packets(direction), iface)
    }

    /// Notes how long a rotation took. The one metric that is observed as it happens.
    pub fn on_rotation(&self, took: std::time::Duration) {
        self.rotation_duration.observe(took.as_secs_f64());
    }

    /// Notes how long it took from the kernel's word of a link to its capture.
    pub fn on_link_captured(&self, took: std::time::Duration) {
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

    /// Sets all counters to 0 and goes on from there. Only tests may: counters must not go back.
    #[doc(hidden)]
    pub fn reset_counters_for_testing(&self) {
        let _scrape = self.last_scrape.lock();
        for count in Count::all() {
            self.counters(count).reset();
        }
        self.writeout_intervals.reset();
    }
}
