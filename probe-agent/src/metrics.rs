//! Prometheus metrics, fresh at every scrape.
//!
//! Nothing is counted twice: the metrics follow the ledgers and totals of the captures, which a
//! scrape reads through a [`StatusReader`]. Counters advance by what was added since the last
//! scrape, so they stay monotonic when a capture starts again from 0, and when interfaces come and
//! go under a sum over all of them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use parking_lot::Mutex;
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, TextEncoder,
};

use probe_capture::{
    source::{Costs, Strays},
    status::{InterfaceStatus, Status, StatusReader, WatchStatus},
};
use probe_store::stats::{SinkCounts, SinkReader};

mod count;
mod names;
mod observe;
mod process;
mod series;
pub mod table;

use count::Count;
pub use count::Direction;
use names::Names;
pub use names::{EXPIRE_AFTER, MAX_INTERFACES, OTHER};
use process::ProcessCounts;
use series::{Families, Maker, labels};

/// Bounds of the buckets of the rotation's duration, in seconds.
pub const ROTATION_BUCKETS: [f64; 10] =
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0];

/// Bounds of the histogram of how soon new links are captured, in seconds.
pub const LINK_CAPTURE_BUCKETS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The sinks by name. Those of the same name are added up.
pub type SinkReaders = Arc<[(String, Arc<dyn SinkReader>)]>;

/// How the metrics are kept.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MetricsOptions {
    /// Leaves the `iface` label out: counters and gauges are sums over all interfaces, the buffer
    /// usage is the largest of any.
    pub disable_iface_tracking: bool,
}

/// All metrics of the agent.
pub struct Metrics {
    families: Families,
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
    attach_reason: Option<IntGaugeVec>,
    capture_state: IntGaugeVec,
    coverage: GaugeVec,
    link_packets: IntCounterVec,
    reattached: IntCounterVec,
    detached_seconds: IntCounterVec,
    unclaimed_packets: IntCounter,
    undecodable_records: IntCounter,
    interfaces_capturing: IntGauge,
    rotation_duration: Histogram,
    link_capture_latency: Histogram,
    writeout_intervals: IntCounterVec,
    writeout_queue: IntGaugeVec,
    program_runs: IntCounterVec,
    program_seconds: CounterVec,
    map_memory: IntGaugeVec,
    flow_log_memory: IntGaugeVec,
    records: IntCounterVec,
    ring_fill: Gauge,
    drain_lag: Gauge,
    process_cpu: Counter,
    process_resident: IntGauge,
    process_virtual: IntGauge,
    process_files: IntGauge,
    process_max_files: IntGauge,
    process_threads: IntGauge,
    /// Taken for the whole of a scrape: two at once would count the same packets twice.
    last_scrape: Mutex<LastScrape>,
}

#[derive(Default)]
struct LastScrape {
    /// All interfaces that are counted, those that are closed too.
    interfaces: BTreeMap<Arc<str>, InterfaceStatus>,
    strays: Strays,
    costs: Costs,
    process: ProcessCounts,
    names: Names,
    sinks: HashMap<String, SinkCounts>,
}

impl Metrics {
    /// Makes and registers all metrics.
    pub fn new(options: MetricsOptions) -> Self {
        let mut families = Families::new();
        let with_iface = !options.disable_iface_tracking;
        let mut make = Maker {
            families: &mut families,
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
            attach_reason: with_iface.then(|| make.vector(&table::ATTACH_REASON, IntGaugeVec::new)),
            capture_state: make.vector(&table::CAPTURE_STATE, IntGaugeVec::new),
            coverage: make.vector(&table::COVERAGE, GaugeVec::new),
            link_packets: make.counters(&table::LINK_PACKETS),
            reattached: make.counters(&table::REATTACHED),
            detached_seconds: make.counters(&table::DETACHED_SECONDS),
            unclaimed_packets: make.counter(&table::UNCLAIMED_PACKETS),
            undecodable_records: make.counter(&table::UNDECODABLE_RECORDS),
            interfaces_capturing: make.gauge(&table::INTERFACES_CAPTURING),
            rotation_duration: make.histogram(&table::ROTATION_DURATION, &ROTATION_BUCKETS),
            link_capture_latency: make
                .histogram(&table::LINK_CAPTURE_LATENCY, &LINK_CAPTURE_BUCKETS),
            writeout_intervals: make.counters(&table::WRITEOUT_INTERVALS),
            writeout_queue: make.vector(&table::WRITEOUT_QUEUE, IntGaugeVec::new),
            program_runs: make.counters(&table::PROGRAM_RUNS),
            program_seconds: make.vector(&table::PROGRAM_SECONDS, CounterVec::new),
            map_memory: make.vector(&table::MAP_MEMORY, IntGaugeVec::new),
            flow_log_memory: make.vector(&table::FLOW_LOG_MEMORY, IntGaugeVec::new),
            records: make.counters(&table::RECORDS),
            ring_fill: make.gauge_f64(&table::RING_FILL),
            drain_lag: make.gauge_f64(&table::DRAIN_LAG),
            process_cpu: make.counter_f64(&table::PROCESS_CPU),
            process_resident: make.gauge(&table::PROCESS_RESIDENT),
            process_virtual: make.gauge(&table::PROCESS_VIRTUAL),
            process_files: make.gauge(&table::PROCESS_FILES),
            process_max_files: make.gauge(&table::PROCESS_MAX_FILES),
            process_threads: make.gauge(&table::PROCESS_THREADS),
            last_scrape: Mutex::default(),
            families,
        }
    }

    /// Reads the state of captures and sinks and gives all metrics in Prometheus' text format.
    /// Flushes the captures first, which blocks for milliseconds.
    pub fn scrape(
        &self,
        status: &dyn StatusReader,
        sinks: &[(String, Arc<dyn SinkReader>)],
    ) -> prometheus::Result<String> {
        self.scrape_at(status, sinks, Instant::now())
    }

    /// As [`Self::scrape`], at a moment that the caller names.
    pub fn scrape_at(
        &self,
        status: &dyn StatusReader,
        sinks: &[(String, Arc<dyn SinkReader>)],
        now: Instant,
    ) -> prometheus::Result<String> {
        let mut last = self.last_scrape.lock();
        let status = status.flush_and_read();
        self.set_gauges(&status, &mut last.names);
        self.on_costs(&status.costs, &last.costs);
        last.costs = status.costs.clone();
        self.on_strays(status.strays, last.strays);
        last.strays = status.strays;
        self.on_interfaces(status, &mut last, now);
        self.on_process(&mut last.process);
        self.on_sinks(sinks, &mut last.sinks);
        self.encode()
    }

    fn encode(&self) -> prometheus::Result<String> {
        let mut text = String::new();
        for family in self.families.values() {
            TextEncoder::new().encode_utf8(&family.gather(), &mut text)?;
        }
        Ok(text)
    }

    fn on_interfaces(&self, status: Status, last: &mut LastScrape, now: Instant) {
        for iface in last.names.expire(&status, now) {
            self.forget(&iface);
            // If it comes back its series begins again with all that was counted.
            last.interfaces.remove(&iface);
        }
        let counted = status.interfaces.iter().chain(&status.closed);
        for (iface, now) in counted {
            let Some(name) = last.names.of(iface, self.with_iface) else {
                continue;
            };
            // A capture that counts from 0 has another start.
            let before = last.interfaces.get(iface);
            let before = before.filter(|before| before.started_at == now.started_at);
            for count in Count::all() {
                let counted = before.map_or(0, |before| count.read(before));
                let added = count.read(now).saturating_sub(counted);
                self.counter(count, &name).inc_by(added);
            }
        }
        let mut counted = status.closed;
        counted.retain(|iface, _| last.names.of(iface, self.with_iface).is_some());
        counted.extend(status.interfaces);
        last.interfaces = counted;
    }

    fn on_costs(&self, now: &Costs, before: &Costs) {
        for cost in &now.programs {
            let mut earlier = before.programs.iter();
            let before = earlier.find(|before| before.program == cost.program);
            let before = before.cloned().unwrap_or_default();
            let added = cost.run_time.saturating_sub(before.run_time);
            self.program_seconds
                .with_label_values(&[&cost.program])
                .inc_by(added.as_secs_f64());
            self.program_runs
                .with_label_values(&[&cost.program])
                .inc_by(cost.runs.saturating_sub(before.runs));
        }
        for (map, bytes) in &now.maps {
            self.map_memory
                .with_label_values(&[map])
                .set(signed(*bytes));
        }
        for (from, now, before) in [
            ("ring", now.records.ring, before.records.ring),
            ("cache", now.records.cache, before.records.cache),
        ] {
            let series = self.records.with_label_values(&[from]);
            series.inc_by(now.saturating_sub(before));
        }
        self.ring_fill.set(now.ring_fill.unwrap_or_default());
        let lag = now.drain_lag.unwrap_or_default();
        self.drain_lag.set(lag.as_secs_f64());
    }

    fn on_process(&self, last: &mut ProcessCounts) {
        let Some(now) = ProcessCounts::read() else {
            return;
        };
        self.process_cpu
            .inc_by((now.cpu_seconds - last.cpu_seconds).max(0.0));
        self.process_resident.set(signed(now.resident_bytes));
        self.process_virtual.set(signed(now.virtual_bytes));
        self.process_files.set(signed(now.open_files));
        self.process_max_files.set(signed(now.max_files));
        self.process_threads.set(signed(now.threads));
        *last = now;
    }

    fn on_strays(&self, now: Strays, before: Strays) {
        let unclaimed = now.unclaimed.packets;
        self.unclaimed_packets
            .inc_by(unclaimed.saturating_sub(before.unclaimed.packets));
        self.undecodable_records
            .inc_by(now.undecodable.saturating_sub(before.undecodable));
    }

    fn set_gauges(&self, status: &Status, names: &mut Names) {
        self.interfaces_capturing
            .set(signed(status.interfaces.len() as u64));
        for gauge in [
            &self.attached,
            &self.capture_state,
            &self.flows,
            &self.flow_log_memory,
            &self.ledger_residue,
        ] {
            gauge.reset();
        }
        self.coverage.reset();
        self.buffer_usage.reset();
        if let Some(reasons) = &self.attach_reason {
            reasons.reset();
        }
        let mut groups: BTreeMap<Arc<str>, Vec<&InterfaceStatus>> = BTreeMap::new();
        for (iface, now) in &status.interfaces {
            let name = names.enter(iface, self.with_iface);
            let hooks = [now.attachment.ingress, now.attachment.egress];
            self.attached
                .with_label_values(&labels(self.with_iface, &name, hooks))
                .inc();
            self.set_capture_state(&name, &now.watch);
            if let Some(reasons) = self.attach_reason.as_ref().filter(|_| *name == **iface) {
                let reason = now.attachment.reason.as_str();
                reasons.with_label_values(&[iface, reason]).set(1);
            }
            groups.entry(name).or_default().push(now);
        }
        if !self.with_iface {
            groups.entry("".into()).or_default();
        }
        for (name, interfaces) in groups {
            self.set_gauges_of(&name, interfaces);
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
        let (mut flows, mut memory, mut residue, mut usage) = (0, 0, 0, 0_f64);
        let mut coverage: [Option<f64>; 2] = [None; 2];
        for now in interfaces {
            flows += now.flows;
            memory += now.flow_log_bytes;
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
        self.flow_log_memory
            .with_label_values(&labels(self.with_iface, iface, None))
            .set(signed(memory));
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

    /// Removes the counters of an interface that is gone. (Its gauges went with it.)
    fn forget(&self, iface: &str) {
        // An error would say that there is no such series, which is what is wanted.
        for count in Count::all() {
            let labels = labels(self.with_iface, iface, count.label());
            let _ = self.counters(count).remove_label_values(&labels);
        }
    }
}

/// Gauges are signed; a number of things never comes near the limit.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
