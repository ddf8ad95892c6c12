//! Registering what the table defines, and naming the series of an interface.

use prometheus::{
    Counter, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    core::Collector,
};

use super::table::Definition;

/// Makes metrics from their definitions. The definitions are constants, and a test makes all of
/// them, so a metric that cannot be made is a defect found there.
pub(super) struct Maker<'a> {
    pub(super) registry: &'a Registry,
    pub(super) with_iface: bool,
}

impl Maker<'_> {
    pub(super) fn counters(&self, definition: &Definition) -> IntCounterVec {
        self.vector(definition, IntCounterVec::new)
    }

    pub(super) fn vector<T: Collector + Clone + 'static>(
        &self,
        definition: &Definition,
        new: impl FnOnce(Opts, &[&str]) -> prometheus::Result<T>,
    ) -> T {
        let options = Opts::new(definition.name, definition.help);
        let vector = new(options, &definition.labels(self.with_iface));
        self.register(vector.expect("the definition is valid"))
    }

    pub(super) fn counter(&self, definition: &Definition) -> IntCounter {
        let counter = IntCounter::new(definition.name, definition.help);
        self.register(counter.expect("the definition is valid"))
    }

    pub(super) fn counter_f64(&self, definition: &Definition) -> Counter {
        let counter = Counter::new(definition.name, definition.help);
        self.register(counter.expect("the definition is valid"))
    }

    pub(super) fn gauge_f64(&self, definition: &Definition) -> Gauge {
        let gauge = Gauge::new(definition.name, definition.help);
        self.register(gauge.expect("the definition is valid"))
    }

    pub(super) fn gauge(&self, definition: &Definition) -> IntGauge {
        let gauge = IntGauge::new(definition.name, definition.help);
        self.register(gauge.expect("the definition is valid"))
    }

    pub(super) fn histogram(&self, definition: &Definition, buckets: &[f64]) -> Histogram {
        let options =
            HistogramOpts::new(definition.name, definition.help).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(options).expect("the definition is valid"))
    }

    fn register<T: Collector + Clone + 'static>(&self, metric: T) -> T {
        self.registry
            .register(Box::new(metric.clone()))
            .expect("every name is defined once");
        metric
    }
}

/// The values of the labels of an interface's series: its name first, unless that is left out.
pub(super) fn labels<'a>(
    with_iface: bool,
    iface: &'a str,
    rest: impl IntoIterator<Item = &'a str>,
) -> Vec<&'a str> {
    let iface = with_iface.then_some(iface);
    iface.into_iter().chain(rest).collect()
}
