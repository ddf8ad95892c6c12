//! Prometheus metrics, fresh at every scrape.
//!
//! Nothing is counted twice: the metrics follow the ledgers and totals of the captures, which a
//! scrape reads through a [`StatusReader`]. Counters advance by what was added since the last
//! scrape, so they stay monotonic when a capture starts again from 0, and when interfaces come and
//! go under a sum over all of them.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use prometheus::{
    GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
};

use crate::{
    source::Strays,
    status::{InterfaceStatus, Status, StatusReader, WatchStatus},
};

mod count;
mod observe;
mod series;
pub mod table;

use count::Count;
pub use count::{Direction, Issue};
use series::{Maker, labels};

/// Bounds of the buckets of the rotation's duration, in seconds.
pub const ROTATION_BUCKETS: [f64; 10] =
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0];

/// What a sink did since the agent started, and what waits for it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SinkCounts {
    /// Intervals stored.
    pub written: u64,
    /// Intervals that could not be stored.
    pub failed: u64,
    /// Intervals that found the queue full.
    pub dropped: u64,
    /// Intervals in the queue now.
    pub queue_length: u64,
}

/// Where the numbers of a sink come from.
pub trait SinkReader: Send + Sync {
    /// Reads the numbers now. Changes nothing; only `queue_length` ever shrinks.
    fn counts(&self) -> SinkCounts;
}

/// The sinks by name. Those of the same name are added up.
pub type SinkReaders = Arc<[(String, Arc<dyn SinkReader>)]>;

/// How the metrics are kept.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MetricsOptions {
    /// Leaves the `iface` label out: counters and gauges are sums over all interfaces, the buffer
    /// usage is the largest of any.
    pub disable_iface_tracking: bool,
}

/// All metrics of the agent, in a registry of their own.
pub struct Metrics {
    registry: Registry,
    with_iface: bool,
    packets_processed: IntCounterVec,
    packets_dropped: IntCounterVec,
    packets_seen: IntCounterVec,
    packets: IntCounterVec,
    bytes: IntCounterVec,
    lost_packets: IntCounterVec,
    capture_issues: IntCounterVec,
    ledger_residue: IntGaugeVec,
    buffer_usage: GaugeVec,
    flows: IntGaugeVec,
    attached: IntGaugeVec,
    capture_state: IntGaugeVec,
    coverage: GaugeVec,
    link_packets: IntCounterVec,
    reattached: IntCounterVec,
    detached_seconds: IntCounterVec,
    unclaimed_packets: IntCounter,
    undecodable_records: IntCounter,
    interfaces_capturing: IntGauge,
    rotation_duration: Histogram,
    writeout_intervals: IntCounterVec,
    writeout_queue: IntGaugeVec,
    /// Taken for the whole of a scrape: two at once would count the same packets twice.
    last_scrape: Mutex<LastScrape>,
}

#[derive(Default)]
struct LastScrape {
    status: Status,
    sinks: HashMap<String, SinkCounts>,
}

impl Metrics {
    /// Makes and registers all metrics.
    pub fn new(options: MetricsOptions) -> Self {
        let registry = Registry::new();
        let with_iface = !options.disable_iface_tracking;
        let make = Maker {
            registry: &registry,
            with_iface,
        };
        let build = make.vector(&table::BUILD_INFO, IntGaugeVec::new);
        build
            .with_label_values(&[crate::VERSION, crate::COMMIT])
            .set(1);
        Self {
            with_iface,
            packets_processed: make.counters(&table::PACKETS_PROCESSED),
            packets_dropped: make.counters(&table::PACKETS_DROPPED),
            packets_seen: make.counters(&table::PACKETS_SEEN),
            packets: make.counters(&table::PACKETS),
            bytes: make.counters(&table::BYTES),
            lost_packets: make.counters(&table::LOST_PACKETS),
            capture_issues: make.counters(&table::CAPTURE_ISSUES),
            ledger_residue: make.vector(&table::LEDGER_RESIDUE, IntGaugeVec::new),
            buffer_usage: make.vector(&table::BUFFER_USAGE, GaugeVec::new),
            flows: make.vector(&table::FLOWS, IntGaugeVec::new),
            attached: make.vector(&table::ATTACHED, IntGaugeVec::new),
            capture_state: make.vector(&table::CAPTURE_STATE, IntGaugeVec::new),
            coverage: make.vector(&table::COVERAGE, GaugeVec::new),
            link_packets: make.counters(&table::LINK_PACKETS),
            reattached: make.counters(&table::REATTACHED),
            detached_seconds: make.counters(&table::DETACHED_SECONDS),
            unclaimed_packets: make.counter(&table::UNCLAIMED_PACKETS),
            undecodable_records: make.counter(&table::UNDECODABLE_RECORDS),
            interfaces_capturing: make.gauge(&table::INTERFACES_CAPTURING),
            rotation_duration: make.histogram(&table::ROTATION_DURATION, &ROTATION_BUCKETS),
            writeout_intervals: make.counters(&table::WRITEOUT_INTERVALS),
            writeout_queue: make.vector(&table::WRITEOUT_QUEUE, IntGaugeVec::new),
            last_scrape: Mutex::default(),
            registry,
        }
    }

    /// Reads the state of captures and sinks and gives all metrics in Prometheus' text format.
    /// May block for as long as `status` does.
    pub fn scrape(
        &self,
        status: &dyn StatusReader,
        sinks: &[(String, Arc<dyn SinkReader>)],
    ) -> prometheus::Result<String> {
        let mut last = self.last_scrape.lock();
        self.on_status(status.status(), &mut last.status);
        self.on_sinks(sinks, &mut last.sinks);
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    fn on_status(&self, status: Status, last: &mut Status) {
        for iface in last.interfaces.keys() {
            if self.with_iface && !status.interfaces.contains_key(iface) {
                self.forget(iface);
            }
        }
        for (iface, now) in &status.interfaces {
            // A capture that was started again counts from 0.
            let before = last.interfaces.get(iface);
            let before = before.filter(|before| before.started_at == now.started_at);
            for count in Count::all() {
                let counted = before.map_or(0, |before| count.read(before));
                let added = count.read(now).saturating_sub(counted);
                self.counter(count, iface).inc_by(added);
            }
        }
        self.on_strays(status.strays, last.strays);
        self.set_gauges(&status);
        *last = status;
    }

    fn on_strays(&self, now: Strays, before: Strays) {
        let unclaimed = now.unclaimed.packets;
        self.unclaimed_packets
            .inc_by(unclaimed.saturating_sub(before.unclaimed.packets));
        self.undecodable_records
            .inc_by(now.undecodable.saturating_sub(before.undecodable));
    }

    fn set_gauges(&self, status: &Status) {
        self.interfaces_capturing
            .set(signed(status.interfaces.len() as u64));
        self.attached.reset();
        self.capture_state.reset();
        self.coverage.reset();
        for (iface, now) in &status.interfaces {
            let hooks = [now.attachment.ingress, now.attachment.egress];
            self.attached
                .with_label_values(&labels(self.with_iface, iface, hooks))
                .inc();
            self.set_capture_state(iface, &now.watch);
            if self.with_iface {
                self.set_gauges_of(iface, [now]);
            }
        }
        if !self.with_iface {
            self.set_gauges_of("", status.interfaces.values());
        }
    }

    /// All states have a series, so that one which is over shows 0.
    fn set_capture_state(&self, iface: &str, watch: &WatchStatus) {
        for state in WatchStatus::STATES {
            self.capture_state
                .with_label_values(&labels(self.with_iface, iface, [state]))
                .add(i64::from(state == watch.state()));
        }
    }

    fn set_gauges_of<'a>(
        &self,
        iface: &str,
        interfaces: impl IntoIterator<Item = &'a InterfaceStatus>,
    ) {
        let (mut flows, mut residue, mut usage) = (0, 0, 0_f64);
        let mut coverage: [Option<f64>; 2] = [None; 2];
        for now in interfaces {
            flows += now.flows;
            residue += now.ledger.residue();
            usage = usage.max(now.local_buffer_usage);
            for (least, of_link) in coverage.iter_mut().zip(&now.watch.coverage) {
                let ratio = of_link.ratio.or(*least);
                *least = ratio.map(|ratio| ratio.min(least.unwrap_or(ratio)));
            }
        }
        for (direction, ratio) in Direction::ALL.into_iter().zip(coverage) {
            if let Some(ratio) = ratio {
                self.observe_coverage(iface, direction).set(ratio);
            }
        }
        self.observe_flows(iface).set(signed(flows));
        self.observe_ledger_residue(iface).set(residue);
        self.observe_global_buffer_usage(iface).set(usage);
    }

    fn on_sinks(
        &self,
        sinks: &[(String, Arc<dyn SinkReader>)],
        last: &mut HashMap<String, SinkCounts>,
    ) {
        let mut now: HashMap<String, SinkCounts> = HashMap::new();
        for (name, sink) in sinks {
            let counts = sink.counts();
            let sum = now.entry(name.clone()).or_default();
            sum.written += counts.written;
            sum.failed += counts.failed;
            sum.dropped += counts.dropped;
            sum.queue_length += counts.queue_length;
        }
        for (name, counts) in &now {
            let before = last.get(name).copied().unwrap_or_default();
            let results = [
                ("written", counts.written.saturating_sub(before.written)),
                ("failed", counts.failed.saturating_sub(before.failed)),
                ("dropped", counts.dropped.saturating_sub(before.dropped)),
            ];
            for (result, added) in results {
                let series = self.writeout_intervals.with_label_values(&[name, result]);
                series.inc_by(added);
            }
            self.writeout_queue
                .with_label_values(&[name])
                .set(signed(counts.queue_length));
        }
        *last = now;
    }

    const fn counters(&self, count: Count) -> &IntCounterVec {
        match count {
            Count::Processed => &self.packets_processed,
            Count::Dropped => &self.packets_dropped,
            Count::Seen => &self.packets_seen,
            Count::Packets(_) => &self.packets,
            Count::Bytes(_) => &self.bytes,
            Count::Lost(_) => &self.lost_packets,
            Count::Issue(_) => &self.capture_issues,
            Count::Link(_) => &self.link_packets,
            Count::Reattached => &self.reattached,
            Count::DetachedSeconds => &self.detached_seconds,
        }
    }

    fn counter(&self, count: Count, iface: &str) -> IntCounter {
        let labels = labels(self.with_iface, iface, count.label());
        self.counters(count).with_label_values(&labels)
    }

    /// Removes the series of an interface that is gone.
    fn forget(&self, iface: &str) {
        // An error would say that there is no such series, which is what is wanted.
        for count in Count::all() {
            let labels = labels(self.with_iface, iface, count.label());
            let _ = self.counters(count).remove_label_values(&labels);
        }
        let _ = self.flows.remove_label_values(&[iface]);
        let _ = self.ledger_residue.remove_label_values(&[iface]);
        let _ = self.buffer_usage.remove_label_values(&[iface]);
    }
}

/// Gauges are signed; a number of things never comes near the limit.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
