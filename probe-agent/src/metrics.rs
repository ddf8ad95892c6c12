//! Prometheus metrics, fresh at every scrape.
//!
//! A scrape is a function of the [`Status`](probe_capture::status::Status) that it reads, of the sinks'
//! counts and of the process: `render` makes every series from them anew. Only what these do not know is
//! kept between scrapes:
//!
//! * `Kept`: which interfaces have series of their own, until when, and what those series count. So a
//!   counter stays monotonic when a capture starts again from 0, when a status is older than the one
//!   before, and when interfaces come and go under a sum over all of them;
//! * the two histograms, which are observed as things happen.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;
use prometheus::{Histogram, HistogramOpts};

use probe_capture::status::StatusReader;
use probe_store::stats::SinkReader;

mod count;
mod gauges;
mod kept;
mod names;
mod observe;
mod process;
mod render;
pub mod table;

pub use count::Direction;
use gauges::Gauges;
use kept::Kept;
pub use names::{EXPIRE_AFTER, MAX_INTERFACES, OTHER};
use process::ProcessCounts;
use render::{Scrape, SinkSums};

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
    with_iface: bool,
    rotation_duration: Histogram,
    link_capture_latency: Histogram,
    /// Taken for the whole of a scrape: two at once would count the same packets twice.
    state: Mutex<ScrapeState>,
}

/// What the lock of the metrics protects.
#[derive(Default)]
struct ScrapeState {
    kept: Kept,
    /// Gauges of the last scrape, for a reader that observes metrics one by one.
    gauges: Gauges,
}

impl Metrics {
    /// Metrics of an agent that has counted nothing yet.
    pub fn new(options: MetricsOptions) -> Self {
        Self {
            with_iface: !options.disable_iface_tracking,
            rotation_duration: histogram(&table::ROTATION_DURATION, &ROTATION_BUCKETS),
            link_capture_latency: histogram(&table::LINK_CAPTURE_LATENCY, &LINK_CAPTURE_BUCKETS),
            state: Mutex::default(),
        }
    }

    /// Reads the state of captures and sinks and gives all metrics in Prometheus' text format.
    /// Flushes the captures first, which blocks for milliseconds.
    ///
    /// # Errors
    ///
    /// A series cannot be encoded, which would be a defect of the agent.
    pub fn scrape(
        &self,
        status: &dyn StatusReader,
        sinks: &[(String, Arc<dyn SinkReader>)],
    ) -> prometheus::Result<String> {
        self.scrape_at(status, sinks, Instant::now())
    }

    /// As [`Self::scrape`], at a moment that the caller names.
    ///
    /// # Errors
    ///
    /// As [`Self::scrape`].
    pub fn scrape_at(
        &self,
        status: &dyn StatusReader,
        sinks: &[(String, Arc<dyn SinkReader>)],
        now: Instant,
    ) -> prometheus::Result<String> {
        let mut state = self.state.lock();
        let ScrapeState { kept, gauges } = &mut *state;
        let status = status.flush_and_read();
        kept.on_status(&status, self.with_iface, now);
        *gauges = Gauges::from_status(&status, |iface| kept.name(iface, self.with_iface));
        render::render(&Scrape {
            with_iface: self.with_iface,
            status: &status,
            counters: kept.counters(),
            gauges,
            sinks: SinkSums::from_readers(sinks),
            process: ProcessCounts::read(),
            rotation_duration: &self.rotation_duration,
            link_capture_latency: &self.link_capture_latency,
        })
    }
}

/// The definitions are constants, and a test makes all metrics, so one that cannot be made is a
/// defect found there.
fn histogram(definition: &table::Definition, buckets: &[f64]) -> Histogram {
    let options = HistogramOpts::new(definition.name, definition.help).buckets(buckets.to_vec());
    Histogram::with_opts(options).expect("the definition is valid")
}
