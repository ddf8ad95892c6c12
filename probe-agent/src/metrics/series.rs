//! Registering what the table defines, and naming the series of an interface.

use std::collections::BTreeMap;

use prometheus::{
    Counter, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    core::Collector,
};

use super::table::Definition;

/// Each metric in a registry of its own, by its name: a registry copies all series that it has before
/// the first is written, which for all metrics together are megabytes that the allocator then keeps
/// for the thread.
pub(super) type Families = BTreeMap<&'static str, Registry>;

/// Makes metrics from their definitions. The definitions are constants, and a test makes all of
/// them, so a metric that cannot be made is a defect found there.
pub(super) struct Maker<'a> {
    pub(super) families: &'a mut Families,
    pub(super) with_iface: bool,
}

impl Maker<'_> {
    pub(super) fn counters(&mut self, definition: &Definition) -> IntCounterVec {
        self.vector(definition, IntCounterVec::new)
    }

    pub(super) fn vector<T: Collector + Clone + 'static>(
        &mut self,
        definition: &Definition,
        new: impl FnOnce(Opts, &[&str]) -> prometheus::Result<T>,
    ) -> T {
        let options = Opts::new(definition.name, definition.help);
        let vector = new(options, &definition.labels(self.with_iface));
        self.register(definition, vector.expect("the definition is valid"))
    }

    pub(super) fn counter(&mut self, definition: &Definition) -> IntCounter {
        let counter = IntCounter::new(definition.name, definition.help);
        self.register(definition, counter.expect("the definition is valid"))
    }

    pub(super) fn counter_f64(&mut self, definition: &Definition) -> Counter {
        let counter = Counter::new(definition.name, definition.help);
        self.register(definition, counter.expect("the definition is valid"))
    }

    pub(super) fn gauge_f64(&mut self, definition: &Definition) -> Gauge {
        let gauge = Gauge::new(definition.name, definition.help);
        self.register(definition, gauge.expect("the definition is valid"))
    }

    pub(super) fn gauge(&mut self, definition: &Definition) -> IntGauge {
        let gauge = IntGauge::new(definition.name, definition.help);
        self.register(definition, gauge.expect("the definition is valid"))
    }

    pub(super) fn histogram(&mut self, definition: &Definition, buckets: &[f64]) -> Histogram {
        let options =
            HistogramOpts::new(definition.name, definition.help).buckets(buckets.to_vec());
        self.register(
            definition,
            Histogram::with_opts(options).expect("the definition is valid"),
        )
    }

    fn register<T: Collector + Clone + 'static>(
        &mut self,
        definition: &Definition,
        metric: T,
    ) -> T {
        let family = self.families.entry(definition.name).or_default();
        family
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
