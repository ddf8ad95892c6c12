//! Series of the sinks.

use std::{collections::BTreeMap, sync::Arc};

use probe_store::{
    report::StoreReport,
    stats::{SinkCounts, SinkReader, SinkTroubleKind},
};

use super::{Samples, Scrape, flag, float};

/// Counts of the sinks by name: those of the same name are added up.
#[derive(Debug, Default)]
pub(in crate::metrics) struct SinkSums(BTreeMap<String, SinkSum>);

/// Counts and state of the sinks of one name.
#[derive(Debug, Default)]
struct SinkSum {
    counts: SinkCounts,
    troubles: Vec<SinkTroubleKind>,
    store: Option<StoreReport>,
}

impl SinkSums {
    pub(in crate::metrics) fn from_readers(sinks: &[(String, Arc<dyn SinkReader>)]) -> Self {
        let mut sums = BTreeMap::<String, SinkSum>::new();
        for (name, sink) in sinks {
            let (counts, state) = (sink.counts(), sink.state());
            let sum = sums.entry(name.clone()).or_default();
            sum.counts.written += counts.written;
            sum.counts.failed += counts.failed;
            sum.counts.dropped += counts.dropped;
            sum.counts.queue_length += counts.queue_length;
            sum.troubles.extend(state.trouble.map(|it| it.kind));
            sum.troubles
                .extend(state.overrun.map(|_| SinkTroubleKind::Overrun));
            sum.store = sum.store.take().or(state.store);
        }
        Self(sums)
    }
}

impl Scrape<'_> {
    pub(super) fn writeout_intervals(&self) -> Samples<'_> {
        let sinks = self.sinks.0.iter();
        sinks
            .flat_map(|(sink, SinkSum { counts, .. })| {
                let results = [
                    ("written", counts.written),
                    ("failed", counts.failed),
                    ("dropped", counts.dropped),
                ];
                results.map(|(result, intervals)| (vec![&**sink, result], float(intervals)))
            })
            .collect()
    }

    pub(super) fn writeout_queue(&self) -> Samples<'_> {
        let sinks = self.sinks.0.iter();
        sinks
            .map(|(sink, sum)| (vec![&**sink], float(sum.counts.queue_length)))
            .collect()
    }

    /// All kinds have a series, so that one which is over shows 0.
    pub(super) fn writeout_trouble(&self) -> Samples<'_> {
        let sinks = self.sinks.0.iter();
        sinks
            .flat_map(|(sink, sum)| {
                SinkTroubleKind::ALL.map(|kind| {
                    let is_so = sum.troubles.contains(&kind);
                    (vec![&**sink, kind.name()], flag(is_so))
                })
            })
            .collect()
    }

    /// All kinds here as well.
    pub(super) fn store_troubles(&self) -> Samples<'_> {
        let stores = self.sinks.0.iter();
        let stores = stores.filter_map(|(sink, sum)| Some((sink, sum.store.as_ref()?)));
        stores
            .flat_map(|(sink, store)| {
                let troubles = store.troubles();
                troubles.map(|(kind, is_so)| (vec![&**sink, kind], flag(is_so)))
            })
            .collect()
    }

    pub(super) fn stores(&self, value: fn(&StoreReport) -> Option<f64>) -> Samples<'_> {
        let sinks = self.sinks.0.iter();
        sinks
            .filter_map(|(sink, sum)| Some((vec![&**sink], value(sum.store.as_ref()?)?)))
            .collect()
    }
}
