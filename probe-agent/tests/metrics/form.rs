//! The form: the table of metrics, the manual, and Prometheus' own checker.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use probe_agent::metrics::{Metrics, MetricsOptions, table};
use probe_capture::source::{Costs, ProgramCost};
use probe_flow::ledger::Loss;
use probe_store::stats::{SinkCounts, SinkReader};

use super::{Fixed, Script, watched};

/// A full scrape, so that every metric of the table has a series.
fn full_scrape(options: MetricsOptions) -> String {
    let (metrics, status) = (Metrics::new(options), Script::default());
    status.set([watched("eth0", Vec::new())]);
    status.0.lock().expect("no panic").costs = Costs {
        programs: vec![ProgramCost::default()],
        maps: vec![("RECORDS".to_owned(), 4096)],
        ..Costs::default()
    };
    let sink: Arc<dyn SinkReader> = Arc::new(Fixed(SinkCounts::default()));
    let sinks = [("parquet".to_owned(), sink)];
    metrics.scrape(&status, &sinks).expect("encoded")
}

#[test]
fn the_table_and_the_registry_have_the_same_metrics() {
    let text = full_scrape(MetricsOptions::default());
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let exported: BTreeSet<_> = types.filter_map(|line| line.split(' ').next()).collect();
    let defined: BTreeSet<_> = table::ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(exported, defined);
}

#[test]
fn promtool_accepts_the_metrics() {
    for disable_iface_tracking in [false, true] {
        let text = full_scrape(MetricsOptions {
            disable_iface_tracking,
        });
        let promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut promtool) = promtool else {
            let required = std::env::var_os("PROBE_REQUIRE_TOOLS").is_some();
            assert!(
                !required,
                "promtool is missing: install the package prometheus"
            );
            eprintln!("skipped: promtool is missing (package prometheus)");
            return;
        };
        let mut stdin = promtool.stdin.take().expect("piped");
        stdin.write_all(text.as_bytes()).expect("promtool reads");
        drop(stdin);
        let output = promtool.wait_with_output().expect("promtool ends");
        let told = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.is_empty(), "{told}");
    }
}

#[test]
fn the_manual_lists_every_metric() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/METRICS.md");
    let text = fs::read_to_string(&path).expect("docs/METRICS.md");
    let (head, rest) = text
        .split_once("<!-- metrics -->\n")
        .expect("start of the table");
    let (found, tail) = rest
        .split_once("<!-- /metrics -->")
        .expect("end of the table");
    let wanted = table::markdown();
    if std::env::var_os("PROBE_UPDATE_DOCS").is_some() {
        let updated = format!("{head}<!-- metrics -->\n{wanted}<!-- /metrics -->{tail}");
        fs::write(&path, updated).expect("docs/METRICS.md can be written");
        return;
    }
    assert_eq!(
        found, wanted,
        "docs/METRICS.md differs from the code; run this test with PROBE_UPDATE_DOCS=1"
    );
    for loss in Loss::ALL {
        assert!(
            tail.contains(&format!("`{}`", loss.name())),
            "{}",
            loss.name()
        );
    }
}
