//! From what a scrape read to the text: every series of every metric, made anew.

use std::{collections::BTreeMap, sync::Arc};

use probe_capture::{
    source::ProgramCost,
    status::{Issue, Status, WatchStatus},
    trouble,
};
use probe_flow::ledger::Loss;
use prometheus::{
    Histogram, TextEncoder,
    core::Metric as _,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

use super::{
    Direction,
    count::{Count, Counts},
    gauges::{Gauges, InterfaceGauges},
    process::ProcessCounts,
    table::{self, Definition, Kind},
};

pub(super) use self::sinks::SinkSums;

mod sinks;

/// All that the series are made from.
pub(super) struct Scrape<'a> {
    /// Whether interfaces have series of their own. If not, all share an empty name.
    pub(super) with_iface: bool,
    pub(super) status: &'a Status,
    pub(super) counters: &'a BTreeMap<Arc<str>, Counts>,
    pub(super) gauges: &'a Gauges,
    pub(super) sinks: SinkSums,
    /// `None` where /proc is not there.
    pub(super) process: Option<ProcessCounts>,
    pub(super) rotation_duration: &'a Histogram,
    pub(super) link_capture_latency: &'a Histogram,
}

/// Values by those of the labels, in the order of the definition.
type Samples<'a> = Vec<(Vec<&'a str>, f64)>;

/// Where the series of a metric come from.
enum Family {
    /// A counter or gauge.
    Values(for<'a> fn(&'a Scrape<'_>) -> Samples<'a>),
    /// One that is observed as things happen.
    Observed(for<'a> fn(&'a Scrape<'_>) -> &'a Histogram),
}

use Family::{Observed, Values};

/// Every metric with its values, sorted by name, as Prometheus' own libraries do. Tests hold the order,
/// and that none of [`table::ALL`] is missing.
#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the path of a method is for one lifetime of a scrape, and not for all"
)]
const FAMILIES: &[(Definition, Family)] = &[
    (table::ATTACH_REASON, Values(|it| it.attach_reason())),
    (table::ATTACHED, Values(|it| it.attached())),
    (
        table::BUILD_INFO,
        Values(|_| vec![(vec![crate::VERSION, crate::COMMIT], 1.0)]),
    ),
    (
        table::BYTES,
        Values(|it| it.counts(Direction::ALL.map(Count::Bytes))),
    ),
    (
        table::CAPTURE_ISSUES,
        Values(|it| it.counts(Issue::ALL.map(Count::Issue))),
    ),
    (table::CAPTURE_STATE, Values(|it| it.capture_state())),
    (table::CLOCK_STEPS, Values(|it| it.clock_steps())),
    (
        table::COMPACTION_FAILING,
        Values(|it| it.stores(|store| Some(flag(store.compaction.error.is_some())))),
    ),
    (
        table::COMPACTED_DAYS,
        Values(|it| it.stores(|store| Some(float(store.compaction.days)))),
    ),
    (table::COVERAGE, Values(|it| it.coverage())),
    (
        table::DETACHED_SECONDS,
        Values(|it| it.counts([Count::DetachedSeconds])),
    ),
    (table::DRAIN_LAG, Values(|it| it.drain_lag())),
    (
        table::FLOW_LOG_MEMORY,
        Values(|it| it.gauge(|it| float(it.flow_log_bytes))),
    ),
    (table::FLOWS, Values(|it| it.gauge(|it| float(it.flows)))),
    (
        table::BUFFER_USAGE,
        Values(|it| it.gauge(|it| it.buffer_usage)),
    ),
    (
        table::INTERFACES_CAPTURING,
        Values(|it| single(float(it.gauges.interfaces))),
    ),
    (
        table::LEDGER_RESIDUE,
        Values(|it| it.gauge(|it| signed_float(it.residue))),
    ),
    (
        table::LINK_CAPTURE_LATENCY,
        Observed(|it| it.link_capture_latency),
    ),
    (
        table::LINK_PACKETS,
        Values(|it| it.counts(Direction::ALL.map(Count::Link))),
    ),
    (
        table::LOST_PACKETS,
        Values(|it| it.counts(Loss::ALL.map(Count::Lost))),
    ),
    (table::MAP_MEMORY, Values(|it| it.map_memory())),
    (
        table::OVERFLOW_PACKETS,
        Values(|it| it.counts([Count::Overflow])),
    ),
    (
        table::PACKETS_DROPPED,
        Values(|it| it.counts([Count::Dropped])),
    ),
    (
        table::PACKETS_PROCESSED,
        Values(|it| it.counts([Count::Processed])),
    ),
    (table::PACKETS_SEEN, Values(|it| it.counts([Count::Seen]))),
    (
        table::PACKETS,
        Values(|it| it.counts(Direction::ALL.map(Count::Packets))),
    ),
    (
        table::PROGRAM_SECONDS,
        Values(|it| it.programs(|it| it.run_time.as_secs_f64())),
    ),
    (
        table::PROGRAM_RUNS,
        Values(|it| it.programs(|it| float(it.runs))),
    ),
    (
        table::REATTACHED,
        Values(|it| it.counts([Count::Reattached])),
    ),
    (table::RECORDS, Values(|it| it.records())),
    (
        table::RETENTION_FAILING,
        Values(|it| it.stores(|store| Some(flag(store.error.is_some())))),
    ),
    (
        table::RETENTION_HELD,
        Values(|it| it.stores(|store| Some(flag(store.held.is_some())))),
    ),
    (
        table::RING_FILL,
        Values(|it| single(it.status.costs.ring_fill.unwrap_or_default())),
    ),
    (
        table::ROTATION_DURATION,
        Observed(|it| it.rotation_duration),
    ),
    (
        table::STORE_BYTES,
        Values(|it| it.stores(|store| Some(float(store.bytes)))),
    ),
    (
        table::STORE_FREE,
        Values(|it| it.stores(|store| store.free_bytes.map(float))),
    ),
    (
        table::STORE_MOVED,
        Values(|it| it.stores(|store| Some(flag(store.moved.is_some())))),
    ),
    (
        table::STORE_OLDEST,
        Values(|it| it.stores(|store| Some(signed_float(store.oldest?.as_second())))),
    ),
    (table::TROUBLES, Values(|it| it.troubles())),
    (
        table::UNDECODABLE_RECORDS,
        Values(|it| single(float(it.status.unattributed.undecodable))),
    ),
    (
        table::UNKNOWN_INTERFACE_PACKETS,
        Values(|it| single(float(it.status.unattributed.unknown_interface.packets))),
    ),
    (
        table::WRITEOUT_INTERVALS,
        Values(|it| it.writeout_intervals()),
    ),
    (table::WRITEOUT_QUEUE, Values(|it| it.writeout_queue())),
    (table::WRITEOUT_TROUBLE, Values(|it| it.writeout_trouble())),
    (
        table::PROCESS_CPU,
        Values(|it| it.of_process(|it| it.cpu_seconds)),
    ),
    (
        table::PROCESS_MAX_FILES,
        Values(|it| it.of_process(|it| float(it.max_files))),
    ),
    (
        table::PROCESS_FILES,
        Values(|it| it.of_process(|it| float(it.open_files))),
    ),
    (
        table::PROCESS_RESIDENT,
        Values(|it| it.of_process(|it| float(it.resident_bytes))),
    ),
    (
        table::PROCESS_THREADS,
        Values(|it| it.of_process(|it| float(it.threads))),
    ),
    (
        table::PROCESS_VIRTUAL,
        Values(|it| it.of_process(|it| float(it.virtual_bytes))),
    ),
];

/// Gives the text. One family after the other: all series together are megabytes.
pub(super) fn render(scrape: &Scrape<'_>) -> prometheus::Result<String> {
    let mut text = String::new();
    for (definition, family) in FAMILIES {
        let metrics = match family {
            Values(samples) => metrics(definition, samples(scrape), scrape.with_iface),
            Observed(histogram) => vec![histogram(scrape).metric()],
        };
        if metrics.is_empty() {
            continue;
        }
        let mut family = MetricFamily::default();
        family.set_name(definition.name.to_owned());
        family.set_help(definition.help.to_owned());
        family.set_field_type(match definition.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        family.set_metric(metrics);
        TextEncoder::new().encode_utf8(&[family], &mut text)?;
    }
    Ok(text)
}

fn metrics(definition: &Definition, samples: Samples<'_>, with_iface: bool) -> Vec<Metric> {
    let mut metrics: Vec<_> = samples
        .into_iter()
        .map(|(values, value)| {
            let labels = definition.labels.iter().zip(values);
            let labels = labels.filter(|(name, _)| with_iface || **name != "iface");
            let mut labels: Vec<_> = labels.map(|(name, value)| label(name, value)).collect();
            labels.sort_by(|a, b| a.name().cmp(b.name()));
            let mut metric = Metric::from_label(labels);
            if definition.kind == Kind::Counter {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            } else {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            metric
        })
        .collect();
    let values = |metric: &Metric| -> Vec<String> {
        let labels = metric.get_label().iter();
        labels.map(|label| label.value().to_owned()).collect()
    };
    metrics.sort_by_cached_key(values);
    metrics
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}

/// The sample of a metric without labels.
fn single(value: f64) -> Samples<'static> {
    vec![(Vec::new(), value)]
}

impl Scrape<'_> {
    /// Counters of interfaces, each with the value of its label, if it has one.
    fn counts<const N: usize>(&self, counts: [Count; N]) -> Samples<'_> {
        let mut samples = Samples::with_capacity(self.counters.len() * N);
        for (name, values) in self.counters {
            for count in counts {
                let labels = [&**name].into_iter().chain(count.label());
                samples.push((labels.collect(), float(values.value(count))));
            }
        }
        samples
    }

    /// A gauge of interfaces without further labels. Without the label `iface` there is a sum over
    /// none, too.
    fn gauge(&self, value: fn(&InterfaceGauges) -> f64) -> Samples<'_> {
        if !self.with_iface && self.gauges.by_name.is_empty() {
            return vec![(vec![""], value(&InterfaceGauges::default()))];
        }
        let gauges = self.gauges.by_name.iter();
        gauges
            .map(|(name, gauges)| (vec![&**name], value(gauges)))
            .collect()
    }

    fn attached(&self) -> Samples<'_> {
        let gauges = self.gauges.by_name.iter();
        gauges
            .flat_map(|(name, gauges)| {
                let hooks = gauges.hooks.iter();
                hooks.map(|([ingress, egress], interfaces)| {
                    (vec![&**name, *ingress, *egress], float(*interfaces))
                })
            })
            .collect()
    }

    /// Only where interfaces have series of their own.
    fn attach_reason(&self) -> Samples<'_> {
        let interfaces = self.status.interfaces.iter();
        let named = interfaces
            .filter(|(iface, _)| self.with_iface && self.gauges.by_name.contains_key(&***iface));
        named
            .map(|(iface, status)| (vec![&**iface, &*status.attachment.reason], 1.0))
            .collect()
    }

    /// All kinds have a series, so that one which is over shows 0.
    fn troubles(&self) -> Samples<'_> {
        let of_kind = |kind| {
            let troubles = self.status.troubles.iter();
            troubles.filter(|it| it.kind == kind).count() as u64
        };
        trouble::TroubleKind::ALL
            .map(|kind| (vec![kind.name()], float(of_kind(kind))))
            .into()
    }

    /// All states have a series, so that one which is over shows 0.
    fn capture_state(&self) -> Samples<'_> {
        let gauges = self.gauges.by_name.iter();
        gauges
            .flat_map(|(name, gauges)| {
                let states = WatchStatus::STATES.into_iter().zip(gauges.states);
                states.map(|(state, interfaces)| (vec![&**name, state], float(interfaces)))
            })
            .collect()
    }

    /// No ratio rather than a wrong one where it is not known yet.
    fn coverage(&self) -> Samples<'_> {
        let gauges = self.gauges.by_name.iter();
        gauges
            .flat_map(|(name, gauges)| {
                let ratios = Direction::ALL.into_iter().zip(gauges.coverage);
                ratios.filter_map(|(direction, ratio)| {
                    Some((vec![&**name, direction.name()], ratio?))
                })
            })
            .collect()
    }

    fn clock_steps(&self) -> Samples<'_> {
        let steps = self.status.clock_steps;
        vec![
            (vec!["forward"], float(steps.forward)),
            (vec!["backward"], float(steps.backward)),
        ]
    }

    fn programs(&self, value: fn(&ProgramCost) -> f64) -> Samples<'_> {
        let programs = self.status.costs.programs.iter();
        programs
            .map(|cost| (vec![&*cost.program], value(cost)))
            .collect()
    }

    fn map_memory(&self) -> Samples<'_> {
        let maps = self.status.costs.maps.iter();
        maps.map(|(map, bytes)| (vec![&**map], float(*bytes)))
            .collect()
    }

    fn records(&self) -> Samples<'_> {
        let records = self.status.costs.records;
        vec![
            (vec!["ring"], float(records.ring)),
            (vec!["cache"], float(records.cache)),
        ]
    }

    fn drain_lag(&self) -> Samples<'_> {
        let lag = self.status.costs.drain_lag.unwrap_or_default();
        single(lag.as_secs_f64())
    }

    fn of_process(&self, value: fn(&ProcessCounts) -> f64) -> Samples<'_> {
        let process = self.process.as_ref();
        process.map_or_else(Vec::new, |process| single(value(process)))
    }
}

/// As Prometheus has all values.
#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus has no other numbers"
)]
const fn float(number: u64) -> f64 {
    number as f64
}

/// A state that is so or not.
fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

/// The same for a number below 0.
#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus has no other numbers"
)]
const fn signed_float(number: i64) -> f64 {
    number as f64
}
