//! What becomes of intervals in the sinks.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use probe_agent::metrics::{Metrics, MetricsOptions};
use probe_capture::clock::ClockSteps;
use probe_store::{
    report::{CompactionReport, Hold, StoreReport},
    stats::{SinkCounts, SinkReader, SinkState, SinkTrouble, SinkTroubleKind},
};

use super::{Script, value};

pub(super) struct Fixed(pub(super) SinkCounts);

impl SinkReader for Fixed {
    fn counts(&self) -> SinkCounts {
        self.0
    }

    /// Failing, and held by a clock that is ahead.
    fn state(&self) -> SinkState {
        SinkState {
            trouble: Some(SinkTrouble {
                kind: SinkTroubleKind::Failing,
                lasts: Duration::from_secs(7),
                error: "cannot write /flows: no space left".into(),
                remedy: "free space",
            }),
            store: Some(StoreReport {
                bytes: 8192,
                free_bytes: Some(4096),
                oldest: Some(Timestamp::UNIX_EPOCH),
                held: Some(Hold {
                    reference: Timestamp::UNIX_EPOCH,
                    ahead: SignedDuration::from_hours(24),
                    held_bytes: 4096,
                }),
                compaction: CompactionReport {
                    days: 3,
                    error: Some("a file is damaged".into()),
                },
                short_bytes: 100,
                ..StoreReport::default()
            }),
            overrun: Some(Duration::from_secs(3)),
        }
    }
}

#[test]
fn a_sink_in_trouble_and_what_it_keeps_are_told() {
    let (metrics, status) = (Metrics::new(MetricsOptions::default()), Script::default());
    status.0.lock().expect("no panic").clock_steps = ClockSteps {
        forward: 2,
        backward: 1,
        ..ClockSteps::default()
    };
    let sink: Arc<dyn SinkReader> = Arc::new(Fixed(SinkCounts::default()));
    let text = metrics.scrape(&status, &[("parquet".to_owned(), sink)]);
    let text = text.expect("encoded");
    for (series, expected) in [
        (
            "probe_writeout_trouble{kind=\"failing\",sink=\"parquet\"}",
            1.0,
        ),
        (
            "probe_writeout_trouble{kind=\"stuck\",sink=\"parquet\"}",
            0.0,
        ),
        (
            "probe_writeout_trouble{kind=\"overrun\",sink=\"parquet\"}",
            1.0,
        ),
        ("probe_store_trouble{kind=\"short\",sink=\"parquet\"}", 1.0),
        (
            "probe_store_trouble{kind=\"crowded\",sink=\"parquet\"}",
            0.0,
        ),
        ("probe_store_bytes{sink=\"parquet\"}", 8192.0),
        ("probe_store_free_bytes{sink=\"parquet\"}", 4096.0),
        (
            "probe_store_oldest_timestamp_seconds{sink=\"parquet\"}",
            0.0,
        ),
        ("probe_retention_held{sink=\"parquet\"}", 1.0),
        ("probe_retention_failing{sink=\"parquet\"}", 0.0),
        ("probe_store_moved{sink=\"parquet\"}", 0.0),
        ("probe_compactions_total{sink=\"parquet\"}", 3.0),
        ("probe_compaction_failing{sink=\"parquet\"}", 1.0),
        ("probe_clock_steps_total{direction=\"forward\"}", 2.0),
        ("probe_clock_steps_total{direction=\"backward\"}", 1.0),
    ] {
        let value = value(&text, series);
        assert!((value - expected).abs() < 1e-9, "{series}: {value}");
    }
}

#[test]
fn sinks_are_told_by_name_and_result() {
    let (metrics, status) = (Metrics::new(MetricsOptions::default()), Script::default());
    let sink = |name: &str, written| {
        let counts = SinkCounts {
            written,
            failed: 2,
            dropped: 1,
            queue_length: 4,
        };
        (
            name.to_owned(),
            Arc::new(Fixed(counts)) as Arc<dyn SinkReader>,
        )
    };
    let sinks = [sink("parquet", 10), sink("json", 5), sink("json", 6)];
    for _ in 0..2 {
        let text = metrics.scrape(&status, &sinks).expect("encoded");
        let intervals = |sink: &str, result: &str| {
            let labels = format!("{{result=\"{result}\",sink=\"{sink}\"}}");
            value(&text, &format!("probe_writeout_intervals_total{labels}"))
        };
        assert!((intervals("parquet", "written") - 10.0).abs() < 1e-9);
        assert!((intervals("parquet", "dropped") - 1.0).abs() < 1e-9);
        assert!((intervals("json", "written") - 11.0).abs() < 1e-9);
        assert!((intervals("json", "failed") - 4.0).abs() < 1e-9);
        let queue = value(&text, "probe_writeout_queue_length{sink=\"json\"}");
        assert!((queue - 8.0).abs() < 1e-9);
    }
}
