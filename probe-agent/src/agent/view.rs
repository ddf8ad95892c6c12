//! What the endpoints see of the agent.

use std::{sync::Arc, time::Duration};

use probe_api::{
    AgentView,
    v1::{
        rotation::{DurationBucket, DurationHistogram},
        status::SinkStatus,
    },
};
use probe_capture::{manager::Manager, schedule::IntervalSetting};
use probe_store::stats::SinkReader;
use prometheus::core::Metric as _;

use crate::{
    lifecycle::readiness::Readiness,
    metrics::{Metrics, SinkReaders},
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

impl AgentView for View {
    fn metrics(&self) -> Result<String, String> {
        let text = self.metrics.scrape(&*self.manager, &self.sinks);
        text.map_err(|error| error.to_string())
    }

    fn waiting_for(&self) -> Vec<&'static str> {
        self.readiness.pending()
    }

    fn sinks(&self) -> Vec<(String, SinkStatus)> {
        let status = |(name, sink): &(String, Arc<dyn SinkReader>)| {
            let counts = sink.counts();
            let status = SinkStatus {
                written: counts.written,
                failed: counts.failed,
                dropped: counts.dropped,
                queue_length: counts.queue_length,
            };
            (name.clone(), status)
        };
        self.sinks.iter().map(status).collect()
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
