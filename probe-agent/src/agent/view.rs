//! What the endpoints see of the agent.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use probe_api::{
    AgentView, SinkStore,
    v1::{
        flows::interval::UnwrittenInterval,
        rotation::{DurationBucket, DurationHistogram},
        status::{Crowded, RetentionHold, SinkStatus, SinkTrouble, StatusReport, StoreStatus},
    },
};
use probe_capture::{
    manager::Manager,
    schedule::IntervalSetting,
    status::{Status, StatusReader},
    trouble::Trouble,
};
use probe_store::{report::StoreReport, stats::SinkReader};
use prometheus::core::Metric as _;

use crate::{
    lifecycle::readiness::Readiness,
    metrics::{Metrics, SinkReaders},
    troubles,
};

/// The parts that the endpoints read.
pub struct View {
    /// The metrics that `/metrics` serves.
    pub metrics: Arc<Metrics>,
    /// What the metrics follow.
    pub manager: Arc<Manager>,
    /// What the metrics of the sinks follow.
    pub sinks: SinkReaders,
    /// The readiness that `/readyz` tells.
    pub readiness: Readiness,
    /// The interval of rotations in force.
    pub interval: IntervalSetting,
}

/// Reads the state with what all states say is wrong, as [`AgentView::troubles`] has it.
struct WithStates<'a>(&'a View);

impl StatusReader for WithStates<'_> {
    fn flush_and_read(&self) -> Status {
        let mut status = self.0.manager.flush_and_read();
        let waiting = self.0.waiting_for();
        let mut found: Vec<_> = waiting.into_iter().map(troubles::not_ready).collect();
        for (iface, it) in &status.interfaces {
            // Thousands of links are well.
            if troubles::may_be_of(it) {
                found.extend(troubles::of_interface(iface, &it.into()));
            }
        }
        found.extend(troubles::undecodable(status.unattributed.undecodable));
        let now = jiff::Timestamp::now();
        for (sink, it) in self.0.sinks() {
            found.extend(troubles::of_sink(&sink, &it, now));
        }
        status.troubles.extend(found);
        status
    }
}

impl AgentView for View {
    fn metrics(&self) -> Result<String, String> {
        let text = self.metrics.scrape(&WithStates(self), &self.sinks);
        text.map_err(|error| error.to_string())
    }

    fn waiting_for(&self) -> Vec<&'static str> {
        self.readiness.pending()
    }

    fn sinks(&self) -> BTreeMap<String, SinkStatus> {
        let sinks = self.sinks.iter();
        sinks
            .map(|(name, sink)| (name.clone(), sink_status(&**sink)))
            .collect()
    }

    fn troubles(&self, report: &StatusReport) -> Vec<Trouble> {
        troubles::of_report(report)
    }

    fn stores(&self) -> Vec<SinkStore> {
        let sinks = self.sinks.iter();
        sinks
            .filter_map(|(name, sink)| sink_store(name, &**sink))
            .collect()
    }

    fn confirm_clock(&self) {
        self.sinks.iter().for_each(|(_, sink)| sink.confirm_clock());
    }

    fn rotation_durations(&self) -> DurationHistogram {
        let observed = self.metrics.observe_rotation_duration().metric();
        let histogram = observed.get_histogram();
        let buckets = histogram.get_bucket().iter().map(|bucket| DurationBucket {
            le_seconds: bucket.upper_bound(),
            count: bucket.cumulative_count(),
        });
        DurationHistogram {
            count: histogram.get_sample_count(),
            sum_seconds: histogram.get_sample_sum(),
            buckets: buckets.collect(),
        }
    }

    fn rotation_interval(&self) -> Duration {
        self.interval.interval()
    }
}

fn sink_status(sink: &dyn SinkReader) -> SinkStatus {
    let (counts, state) = (sink.counts(), sink.state());
    SinkStatus {
        written: counts.written,
        failed: counts.failed,
        dropped: counts.dropped,
        queue_length: counts.queue_length,
        trouble: state.trouble.map(|trouble| SinkTrouble {
            kind: trouble.kind.name().to_owned(),
            seconds: trouble.lasts.as_secs(),
            error: trouble.error.to_string(),
            remedy: trouble.remedy.to_owned(),
        }),
        overrun_seconds: state.overrun.map(|lasts| lasts.as_secs()),
        store: state.store.as_ref().map(store_status),
    }
}

fn sink_store(name: &str, sink: &dyn SinkReader) -> Option<SinkStore> {
    let root = sink.root()?.to_owned();
    let unwritten = sink.unwritten().into_iter().map(|it| UnwrittenInterval {
        iface: it.iface.to_string(),
        start: it.start,
        end: it.end,
    });
    Some(SinkStore {
        sink: name.to_owned(),
        root,
        unwritten: unwritten.collect(),
    })
}

fn store_status(store: &StoreReport) -> StoreStatus {
    StoreStatus {
        bytes: store.bytes,
        free_bytes: store.free_bytes,
        oldest: store.oldest,
        bytes_per_day: store.bytes_per_day,
        growth_seen_seconds: store.growth_seen.map(|seen| seen.as_secs()),
        max_age_seconds: store.max_age.map(|age| age.as_secs()),
        max_size_bytes: store.max_size_bytes,
        min_free_bytes: store.min_free_bytes,
        age_deletes_at: store.age_deletes_at,
        size_deletes_at: store.size_deletes_at,
        free_deletes_at: store.free_deletes_at,
        full_at: store.full_at,
        is_filling: store.is_filling,
        short_bytes: store.short_bytes,
        crowded: store.crowded.map(|crowded| Crowded {
            since: crowded.since,
            taken_bytes: crowded.taken_bytes,
        }),
        early_days: store.early.days,
        early_bytes: store.early.bytes,
        held: store.held.map(|held| RetentionHold {
            reference: held.reference,
            ahead_seconds: held.ahead.as_secs(),
            held_bytes: held.held_bytes,
        }),
        error: store.error.as_deref().map(str::to_owned),
        moved: store.moved.as_deref().map(str::to_owned),
        compacted_days: store.compaction.days,
        compaction_error: store.compaction.error.as_deref().map(str::to_owned),
    }
}
