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
use probe_capture::{
    source::{Costs, ProgramCost},
    status::Issue,
};
use probe_flow::ledger::Loss;
use probe_store::stats::{SinkCounts, SinkReader};

use super::{Script, sinks::Fixed, watched};

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
    let exported: Vec<_> = types.filter_map(|line| line.split(' ').next()).collect();
    let defined: BTreeSet<_> = table::ALL.iter().map(|metric| metric.name).collect();
    assert!(
        exported.iter().eq(&defined),
        "{exported:#?}\nby name: {defined:#?}"
    );
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

/// Values of the labels that the tables of losses and issues decide.
fn losses_and_issues() -> String {
    let losses = Loss::ALL
        .map(|loss| format!("`{}`", loss.name()))
        .join(", ");
    let issues = Issue::ALL
        .map(|issue| format!("`{}`", issue.name()))
        .join(", ");
    format!("* `loss`: {losses}\n* `issue_type`: {issues}\n")
}

#[test]
fn the_manual_lists_every_metric() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/METRICS.md");
    let found = fs::read_to_string(&path).expect("docs/METRICS.md");
    let mut wanted = found.clone();
    for (marker, text) in [
        ("metrics", table::markdown()),
        ("losses", losses_and_issues()),
    ] {
        let (start, end) = (
            format!("<!-- {marker} -->\n"),
            format!("<!-- /{marker} -->"),
        );
        let (head, rest) = wanted.split_once(&start).expect("start of the table");
        let (_, tail) = rest.split_once(&end).expect("end of the table");
        wanted = format!("{head}{start}{text}{end}{tail}");
    }
    if std::env::var_os("PROBE_UPDATE_DOCS").is_some() {
        fs::write(&path, wanted).expect("docs/METRICS.md can be written");
        return;
    }
    assert_eq!(
        found, wanted,
        "docs/METRICS.md differs from the code; run `cargo xtask docs`"
    );
}

#[test]
fn the_help_of_dropped_packets_names_the_losses_that_it_sums() {
    let dropped = table::ALL
        .iter()
        .find(|metric| metric.name == "probe_packets_dropped_total")
        .expect("a metric");
    for loss in Loss::ALL {
        let (name, is_named) = (loss.name(), dropped.help.contains(loss.name()));
        assert_eq!(is_named, loss.is_with_record(), "{name}: {}", dropped.help);
    }
}
