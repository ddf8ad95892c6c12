//! From what a scrape read to the text: every series of every metric, made anew.

use std::{collections::BTreeMap, sync::Arc};

use probe_capture::status::Status;
use prometheus::{
    Histogram, TextEncoder,
    core::Metric as _,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

use super::{
    count::Counts,
    gauges::Gauges,
    process::ProcessCounts,
    table::{Definition, Kind},
};
use families::{FAMILIES, Family};

pub(super) use self::sinks::SinkSums;

mod agent;
mod families;
mod interfaces;
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

/// Gives the text. One family after the other: all series together are megabytes.
pub(super) fn render(scrape: &Scrape<'_>) -> prometheus::Result<String> {
    let mut text = String::new();
    for (definition, family) in FAMILIES {
        let metrics = match family {
            Family::Values(samples) => metrics(definition, samples(scrape), scrape.with_iface),
            Family::Observed(histogram) => vec![histogram(scrape).metric()],
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
