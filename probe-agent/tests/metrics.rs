//! Metrics: values against the status they follow.

#[path = "metrics/form.rs"]
mod form;
#[path = "metrics/series.rs"]
mod series;
#[path = "metrics/sinks.rs"]
mod sinks;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use probe_agent::metrics::{Direction, Metrics, MetricsOptions};
use probe_capture::{
    source::{Attachment, Costs, ProgramCost, Records, Unattributed},
    status::{CoverageStatus, InterfaceStatus, Issue, Status, StatusReader, WatchStatus},
};
use probe_common::control::Tally;
use probe_flow::{
    coverage::{Compared, CoverageState, LostHook, Unseen},
    flow::FlowCounters,
    ledger::{Ledger, Loss},
};

/// A status that the test sets.
#[derive(Default)]
struct Script(Mutex<Status>);

impl StatusReader for Script {
    fn flush_and_read(&self) -> Status {
        self.0.lock().expect("no test panics with it").clone()
    }
}

impl Script {
    fn set(&self, interfaces: impl IntoIterator<Item = InterfaceStatus>) {
        let interfaces = interfaces.into_iter().map(|it| (Arc::clone(&it.iface), it));
        self.0.lock().expect("no test panics with it").interfaces = interfaces.collect();
    }
}

/// Packets that each interface lost.
const LOST: [(Loss, u64); 7] = [
    (Loss::NonIp, 1),
    (Loss::InvalidIpHeader, 2),
    (Loss::Truncated, 3),
    (Loss::TooManyHeaders, 4),
    (Loss::Filtered, 5),
    (Loss::RingFull, 6),
    (Loss::LocalBufferFull, 7),
];

/// An interface with `packets` received packets in flows, the losses of [`LOST`], and a residue of
/// 3.
fn interface(name: &str, packets: u64) -> InterfaceStatus {
    let mut ledger = Ledger::default();
    ledger.flows.add(packets, packets * 100);
    for (loss, packets) in LOST {
        ledger.losses[loss as usize].add(packets, 0);
    }
    ledger.seen.add(packets + ledger.lost_packets() + 3, 0);
    ledger.later_fragments = 11;
    ledger.unattributed_fragments = 5;
    ledger.short_transports = 12;
    ledger.beyond_frame.add(13, 900);
    ledger.overflow_packets = 14;
    InterfaceStatus {
        iface: name.into(),
        // Links have indices of their own.
        ifindex: name.bytes().fold(1, |index, octet| {
            (index * 31 + u32::from(octet)) % 0xff_ffff
        }),
        attachment: Attachment {
            ingress: "xdp-native",
            egress: "tcx",
            reason: String::new(),
        },
        started_at: Timestamp::UNIX_EPOCH,
        ledger,
        totals: FlowCounters {
            packets_rcvd: packets - 1,
            packets_sent: 1,
            bytes_rcvd: packets * 100 - 40,
            bytes_sent: 40,
        },
        flows: 7,
        local_buffer_usage: 0.25,
        flow_log_bytes: 640,
        watch: WatchStatus::default(),
    }
}

/// The value of a series in the text format.
#[track_caller]
fn value(text: &str, series: &str) -> f64 {
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let found = found.unwrap_or_else(|| panic!("{series} is not in\n{text}"));
    found.parse().expect("a number")
}

fn scrape(metrics: &Metrics, status: &Script) -> String {
    metrics
        .scrape(status, &[])
        .expect("the metrics can be encoded")
}

#[test]
fn every_value_follows_the_status() {
    let (metrics, status) = (Metrics::new(MetricsOptions::default()), Script::default());
    status.set([interface("eth0", 1000), interface("eth1", 5)]);
    metrics.observe_rotation_duration().observe(0.003);
    let text = scrape(&metrics, &status);
    let expected = [
        ("probe_packets_processed_total{iface=\"eth0\"}", 1000.0),
        ("probe_packets_processed_total{iface=\"eth1\"}", 5.0),
        ("probe_packets_dropped_total{iface=\"eth0\"}", 6.0 + 7.0),
        (
            "probe_packets_seen_total{iface=\"eth0\"}",
            1000.0 + 28.0 + 3.0,
        ),
        (
            "probe_packets_total{direction=\"rcvd\",iface=\"eth0\"}",
            999.0,
        ),
        (
            "probe_packets_total{direction=\"sent\",iface=\"eth0\"}",
            1.0,
        ),
        (
            "probe_bytes_total{direction=\"rcvd\",iface=\"eth0\"}",
            99_960.0,
        ),
        ("probe_bytes_total{direction=\"sent\",iface=\"eth0\"}", 40.0),
        (
            "probe_lost_packets_total{iface=\"eth0\",loss=\"non_ip\"}",
            1.0,
        ),
        (
            "probe_lost_packets_total{iface=\"eth0\",loss=\"local_buffer_full\"}",
            7.0,
        ),
        (
            "probe_capture_issues_total{iface=\"eth0\",issue_type=\"invalid_ip_header\"}",
            2.0,
        ),
        (
            "probe_capture_issues_total{iface=\"eth0\",issue_type=\"truncated\"}",
            3.0,
        ),
        (
            "probe_capture_issues_total{iface=\"eth0\",issue_type=\"too_many_headers\"}",
            4.0,
        ),
        (
            "probe_capture_issues_total{iface=\"eth0\",issue_type=\"later_fragment\"}",
            11.0,
        ),
        (
            "probe_capture_issues_total{iface=\"eth0\",issue_type=\"unattributed_fragment\"}",
            5.0,
        ),
        (
            "probe_capture_issues_total{iface=\"eth0\",issue_type=\"short_transport\"}",
            12.0,
        ),
        (
            "probe_capture_issues_total{iface=\"eth0\",issue_type=\"length_beyond_frame\"}",
            13.0,
        ),
        ("probe_ledger_residue_packets{iface=\"eth0\"}", 3.0),
        ("probe_flows{iface=\"eth1\"}", 7.0),
        ("probe_overflow_packets_total{iface=\"eth1\"}", 14.0),
        ("probe_global_buffer_usage_ratio{iface=\"eth0\"}", 0.25),
        ("probe_interfaces_capturing", 2.0),
        ("probe_rotation_duration_seconds_bucket{le=\"0.001\"}", 0.0),
        ("probe_rotation_duration_seconds_bucket{le=\"0.005\"}", 1.0),
        ("probe_rotation_duration_seconds_bucket{le=\"1\"}", 1.0),
    ];
    for (series, number) in expected {
        assert!(
            (value(&text, series) - number).abs() < 1e-9,
            "{series} in\n{text}"
        );
    }
    let attached =
        "probe_attached_interfaces{egress=\"tcx\",iface=\"eth0\",ingress=\"xdp-native\"}";
    assert!((value(&text, attached) - 1.0).abs() < 1e-9);
}

#[test]
fn scraping_twice_counts_nothing_twice() {
    let (metrics, status) = (Metrics::new(MetricsOptions::default()), Script::default());
    status.set([interface("eth0", 10)]);
    // But for the process, which goes on.
    let scrape_capture = || {
        let text = scrape(&metrics, &status);
        let capture = text.lines().filter(|line| !line.contains("process_"));
        capture.collect::<Vec<_>>().join("\n")
    };
    let first = scrape_capture();
    assert_eq!(first, scrape_capture());
    status.set([interface("eth0", 25)]);
    scrape(&metrics, &status);
    assert_eq!(metrics.observe_packets_processed("eth0"), 25);
    assert_eq!(metrics.observe_packets_total("eth0", Direction::Rcvd), 24);
    assert_eq!(metrics.observe_bytes_total("eth0", Direction::Sent), 40);
    assert_eq!(
        metrics.observe_capture_issues("eth0", Issue::Lost(Loss::Truncated)),
        3
    );
    assert_eq!(metrics.observe_packets_dropped("eth0"), 13);
    assert_eq!(metrics.observe_flows("eth0"), 7);
    assert_eq!(metrics.observe_interfaces_capturing(), 1);
    assert!((metrics.observe_global_buffer_usage("eth0") - 0.25).abs() < 1e-9);
}

/// `eth0` sees half of what it receives and all that it sends.
fn watched(name: &str, lost: Vec<LostHook>) -> InterfaceStatus {
    let of = |state, ratio, link| CoverageStatus {
        state,
        ratio: Some(ratio),
        compared: Compared {
            link,
            ..Compared::default()
        },
        cause: None,
    };
    InterfaceStatus {
        watch: WatchStatus {
            lost,
            is_down: false,
            reattached: 2,
            detached: Duration::from_millis(3900),
            changed: Duration::ZERO,
            was_lost: [false; 2],
            unseen: Unseen::default(),
            coverage: [
                of(CoverageState::Partial, 0.5, 100),
                of(CoverageState::Ok, 1.0, 70),
            ],
        },
        ..interface(name, 10)
    }
}

#[test]
fn coverage_and_attachment_follow_the_status() {
    let (metrics, status) = (Metrics::new(MetricsOptions::default()), Script::default());
    let lost = LostHook {
        direction: 0,
        hook: "tcx",
        occupant: None,
    };
    status.set([watched("eth0", Vec::new()), watched("eth1", vec![lost])]);
    status.0.lock().expect("no panic").unattributed = Unattributed {
        unknown_interface: Tally {
            packets: 5,
            bytes: 300,
        },
        undecodable: 1,
    };
    scrape(&metrics, &status);
    let text = scrape(&metrics, &status);
    let expected = [
        (
            "probe_coverage_ratio{direction=\"rcvd\",iface=\"eth0\"}",
            0.5,
        ),
        (
            "probe_coverage_ratio{direction=\"sent\",iface=\"eth0\"}",
            1.0,
        ),
        (
            "probe_link_packets_total{direction=\"rcvd\",iface=\"eth0\"}",
            100.0,
        ),
        (
            "probe_link_packets_total{direction=\"sent\",iface=\"eth0\"}",
            70.0,
        ),
        ("probe_capture_state{iface=\"eth0\",state=\"partial\"}", 1.0),
        ("probe_capture_state{iface=\"eth0\",state=\"ok\"}", 0.0),
        (
            "probe_capture_state{iface=\"eth1\",state=\"detached\"}",
            1.0,
        ),
        ("probe_capture_state{iface=\"eth1\",state=\"partial\"}", 0.0),
        ("probe_reattached_total{iface=\"eth0\"}", 2.0),
        ("probe_detached_seconds_total{iface=\"eth0\"}", 3.0),
        ("probe_unknown_interface_packets_total", 5.0),
        ("probe_undecodable_records_total", 1.0),
    ];
    for (series, number) in expected {
        assert!(
            (value(&text, series) - number).abs() < 1e-9,
            "{series} in\n{text}"
        );
    }
    // Nothing moved yet: no ratio rather than a wrong one.
    status.set([interface("eth0", 10)]);
    let text = scrape(&metrics, &status);
    assert!(!text.contains("probe_coverage_ratio{"), "{text}");
    assert!(text.contains("probe_capture_state{iface=\"eth0\",state=\"idle\"} 1"));
}

#[test]
fn a_capture_that_starts_again_does_not_turn_counters_back() {
    let (metrics, status) = (Metrics::new(MetricsOptions::default()), Script::default());
    status.set([interface("eth0", 10)]);
    scrape(&metrics, &status);
    let restarted = InterfaceStatus {
        started_at: Timestamp::from_second(60).expect("a time"),
        ..interface("eth0", 4)
    };
    status.set([restarted]);
    scrape(&metrics, &status);
    assert_eq!(metrics.observe_packets_processed("eth0"), 14);
}

#[test]
fn a_status_that_is_older_than_the_last_one_counts_nothing() {
    let (metrics, status) = (Metrics::new(MetricsOptions::default()), Script::default());
    status.set([interface("eth0", 10)]);
    scrape(&metrics, &status);
    status.set([interface("eth0", 9)]);
    scrape(&metrics, &status);
    assert_eq!(metrics.observe_packets_processed("eth0"), 10);
}

#[test]
fn the_costs_of_ourselves_are_told() {
    let (metrics, status) = (Metrics::new(MetricsOptions::default()), Script::default());
    let costs = |runs: u64| Costs {
        programs: vec![ProgramCost {
            program: "probe_tc_egress".to_owned(),
            runs,
            run_time: Duration::from_micros(runs),
        }],
        maps: vec![("RECORDS".to_owned(), 4096)],
        records: Records {
            ring: runs / 10,
            cache: 7,
        },
        ring_fill: Some(0.5),
        drain_lag: Some(Duration::from_millis(2)),
    };
    for runs in [1000, 3000] {
        status.0.lock().expect("no panic").costs = costs(runs);
        scrape(&metrics, &status);
    }
    let text = scrape(&metrics, &status);
    for (series, number) in [
        (
            "probe_program_runs_total{program=\"probe_tc_egress\"}",
            3000.0,
        ),
        (
            "probe_program_run_seconds_total{program=\"probe_tc_egress\"}",
            0.003,
        ),
        ("probe_map_memory_bytes{map=\"RECORDS\"}", 4096.0),
        ("probe_records_total{from=\"ring\"}", 300.0),
        ("probe_records_total{from=\"cache\"}", 7.0),
        ("probe_ring_fill_ratio", 0.5),
        ("probe_drain_lag_seconds", 0.002),
    ] {
        assert!(
            (value(&text, series) - number).abs() < 1e-9,
            "{series} in\n{text}"
        );
    }
    assert!(value(&text, "process_resident_memory_bytes") > 1e6);
    assert!(value(&text, "process_cpu_seconds_total") >= 0.0);
}

#[test]
fn without_the_label_everything_is_a_sum_that_never_goes_back() {
    let options = MetricsOptions {
        disable_iface_tracking: true,
    };
    let (metrics, status) = (Metrics::new(options), Script::default());
    let busy = InterfaceStatus {
        local_buffer_usage: 0.75,
        flow_log_bytes: 1280,
        ..interface("eth1", 20)
    };
    status.set([interface("eth0", 10), busy]);
    let text = scrape(&metrics, &status);
    assert!(!text.contains("iface="), "{text}");
    let expected = [
        ("probe_packets_processed_total", 30.0),
        ("probe_packets_total{direction=\"sent\"}", 2.0),
        ("probe_lost_packets_total{loss=\"ring_full\"}", 12.0),
        ("probe_flows", 14.0),
        ("probe_ledger_residue_packets", 6.0),
        ("probe_global_buffer_usage_ratio", 0.75),
        (
            "probe_attached_interfaces{egress=\"tcx\",ingress=\"xdp-native\"}",
            2.0,
        ),
    ];
    for (series, number) in expected {
        assert!(
            (value(&text, series) - number).abs() < 1e-9,
            "{series} in\n{text}"
        );
    }
    status.set([interface("eth0", 11)]);
    let text = scrape(&metrics, &status);
    assert!((value(&text, "probe_packets_processed_total") - 31.0).abs() < 1e-9);
    status.set([]);
    let text = scrape(&metrics, &status);
    assert!((value(&text, "probe_packets_processed_total") - 31.0).abs() < 1e-9);
    assert!(value(&text, "probe_flows").abs() < 1e-9);
}

#[test]
fn a_reset_starts_from_nought() {
    let (metrics, status) = (Metrics::new(MetricsOptions::default()), Script::default());
    status.set([interface("eth0", 10)]);
    scrape(&metrics, &status);
    metrics.reset_counters_for_testing();
    status.set([interface("eth0", 12)]);
    scrape(&metrics, &status);
    assert_eq!(metrics.observe_packets_processed("eth0"), 2);
}
