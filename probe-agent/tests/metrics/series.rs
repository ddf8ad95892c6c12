//! Which interfaces have series, and for how long.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use probe_agent::metrics::{EXPIRE_AFTER, MAX_INTERFACES, Metrics, MetricsOptions};
use probe_capture::status::InterfaceStatus;

use super::{Script, interface, scrape, value};

/// The same counts, of an interface that is closed.
fn close(status: &Script, iface: InterfaceStatus) {
    let mut status = status.0.lock().expect("no test panics with it");
    status.interfaces.remove(&iface.iface);
    status.closed.insert(Arc::clone(&iface.iface), iface);
}

#[test]
fn the_series_of_a_vanished_interface_expire_and_what_it_counted_last_is_shown() {
    for disable_iface_tracking in [false, true] {
        let metrics = Metrics::new(MetricsOptions {
            disable_iface_tracking,
        });
        let status = Script::default();
        let start = Instant::now();
        let scrape = |after: Duration| {
            let text = metrics.scrape_at(&status, &[], start + after);
            text.expect("the metrics can be encoded")
        };
        let processed = |text: &str, alone: f64, sum: f64| {
            let (series, expected) = if disable_iface_tracking {
                ("probe_packets_processed_total", sum)
            } else {
                ("probe_packets_processed_total{iface=\"eth1\"}", alone)
            };
            assert!((value(text, series) - expected).abs() < 1e-9, "{text}");
        };
        status.set([interface("eth0", 10), interface("eth1", 20)]);
        processed(&scrape(Duration::ZERO), 20.0, 30.0);

        // Five packets more, its last, since the last scrape.
        close(&status, interface("eth1", 25));
        let text = scrape(Duration::from_secs(1));
        processed(&text, 25.0, 35.0);
        assert!(
            !text.contains("probe_flows{iface=\"eth1\"}"),
            "no gauges: {text}"
        );
        assert!((value(&text, "probe_interfaces_capturing") - 1.0).abs() < 1e-9);
        processed(&scrape(EXPIRE_AFTER), 25.0, 35.0);
        for late in [1, 2, 100] {
            let text = scrape(EXPIRE_AFTER + Duration::from_secs(late));
            assert!(!text.contains("\"eth1\""), "{text}");
            if disable_iface_tracking {
                processed(&text, 0.0, 35.0);
            }
        }
        // It comes back and goes on from where it was.
        status.0.lock().expect("no panic").closed.clear();
        status.set([interface("eth0", 10), interface("eth1", 28)]);
        processed(&scrape(3 * EXPIRE_AFTER), 28.0, 38.0);
    }
}

#[test]
fn an_interface_that_comes_and_goes_between_two_scrapes_is_counted() {
    let (metrics, status) = (Metrics::new(MetricsOptions::default()), Script::default());
    close(&status, interface("eth0", 10));
    let text = scrape(&metrics, &status);
    let series = "probe_packets_processed_total{iface=\"other\"}";
    assert!((value(&text, series) - 10.0).abs() < 1e-9, "{text}");
}

/// A capture goes on under another name, and its status with all counts since it began.
#[test]
fn a_renamed_link_counts_every_packet_once() {
    for disable_iface_tracking in [false, true] {
        let metrics = Metrics::new(MetricsOptions {
            disable_iface_tracking,
        });
        let status = Script::default();
        let sum = |text: &str| -> f64 {
            let lines = text.lines();
            let series = lines.filter(|line| line.starts_with("probe_packets_processed_total"));
            let values = series.filter_map(|line| line.rsplit(' ').next());
            values
                .map(|value| value.parse::<f64>().expect("a number"))
                .sum()
        };
        status.set([interface("eth0", 10), interface("eth1", 100)]);
        scrape(&metrics, &status);
        let renamed = |packets| InterfaceStatus {
            iface: "lan0".into(),
            ..interface("eth0", packets)
        };
        status.set([renamed(12), interface("eth1", 100)]);
        let text = scrape(&metrics, &status);
        assert!((sum(&text) - 112.0).abs() < 1e-9, "{text}");
        // Two links that swap their names.
        let swapped = [
            InterfaceStatus {
                iface: "lan0".into(),
                ..interface("eth1", 105)
            },
            InterfaceStatus {
                iface: "eth1".into(),
                ..renamed(13)
            },
        ];
        status.set(swapped);
        let text = scrape(&metrics, &status);
        assert!((sum(&text) - 118.0).abs() < 1e-9, "{text}");
    }
}

#[test]
fn interfaces_beyond_the_cap_are_summed_as_other() {
    let (metrics, status) = (Metrics::new(MetricsOptions::default()), Script::default());
    let first = |count: usize| (0..count).map(|number| interface(&format!("eth{number:04}"), 10));
    status.set(first(MAX_INTERFACES));
    assert!(!scrape(&metrics, &status).contains("\"other\""));
    status.set(first(MAX_INTERFACES + 3));
    for _ in 0..2 {
        let text = scrape(&metrics, &status);
        for (series, sum) in [
            ("probe_packets_processed_total{iface=\"other\"}", 30.0),
            ("probe_flows{iface=\"other\"}", 21.0),
            ("probe_interfaces_capturing", 259.0),
        ] {
            assert!((value(&text, series) - sum).abs() < 1e-9, "{series}");
        }
        let of_processed = |line: &&str| line.starts_with("probe_packets_processed_total{");
        let series = text.lines().filter(of_processed).count();
        assert_eq!(series, MAX_INTERFACES + 1);
        assert!(!text.contains("\"eth0256\""));
    }
}
