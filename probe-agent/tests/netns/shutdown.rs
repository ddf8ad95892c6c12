//! The end by SIGTERM: everything is written, nothing stays attached.

use std::process::Command;

use rstest::rstest;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    agent::{Installation, built_binary, programs_on_links},
    eventually,
    flows::{Counts, assert_nothing_lost, assert_same_flows, stored_flows, stored_total},
    generators::{ping, transfer},
    metrics::Metrics,
    reload::configured,
    run, skip,
    testbed::{LINK, Offloads, PEER_V4, PEER_V6, Testbed},
    traffic::{AT_EASE, Chatter},
    witness::Witness,
};

const READERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/readers.py");
const TOOLS: [&str; 8] = [
    "ip", "tc", "ethtool", "iperf3", "ping", "tcpdump", "tshark", "bpftool",
];

/// By default these would end the process.
#[test]
fn signals_that_come_at_the_start_are_for_later() {
    if !skip::kernel_or_skip(&["ip"]) {
        return;
    }
    let testbed = Testbed::with_bridges(&["one"]);
    let installation = configured("{ one: {} }", "");
    let process = installation.spawn(&testbed.host, &[], &built_binary());
    installation.log_that_says("starting");
    for signal in [Signal::USR1, Signal::USR2, Signal::HUP] {
        process.signal(signal);
    }
    installation.log_that_says("reloaded: ");
}

#[test]
fn sigterm_in_the_middle_of_an_interval_writes_everything() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::On);
    let installation = Installation::new(&format!("{{ {LINK}: {{}} }}"), "1d");
    let agent = installation.start(&testbed.host);
    let witness = Witness::start(&testbed);
    for to in [PEER_V4, PEER_V6] {
        transfer(&testbed.host, &testbed.peer, to, &[]);
        transfer(&testbed.host, &testbed.peer, to, &["--reverse"]);
        ping(&testbed.host, to, 200);
    }
    let seen = witness.finish();
    let metrics = agent.settled_metrics();
    assert_eq!(agent.terminate().code(), Some(0));

    let log = installation.log();
    let outcome = log.lines().last().unwrap_or_default();
    assert!(outcome.contains("stopped, all flows written"), "{log}");
    assert!(!log.contains("is ready"), "it is not, at its end:\n{log}");
    assert_same_flows(&stored_flows(&installation.json()), &seen);
    assert_nothing_lost(&installation.json());
    let stored = sums(stored_total(&installation.json()));
    assert_eq!(of_metrics(&metrics), stored, "metrics");
    if skip::python_or_skip(&["duckdb", "polars"]) {
        let mut python = Command::new("python3");
        let read = run(python.arg(READERS).arg(installation.parquet()));
        let read: Value = serde_json::from_str(&read).expect("sums by reader");
        for reader in ["duckdb", "polars"] {
            assert_eq!(read[reader], stored, "{reader}");
        }
    }
}

/// A process that was told that the agent is ready may stop it.
#[test]
fn sigterm_right_after_the_agent_is_ready_is_a_clean_end() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let installation = Installation::new(&format!("{{ {LINK}: {{}} }}"), "1d");
    for start in 1..=10 {
        let agent = installation.start(&testbed.host);
        assert_eq!(agent.terminate().code(), Some(0), "start {start}");
    }
}

/// Also while packets are coming in: what the last interval saw, it has.
#[rstest]
#[case::generic_xdp("xdp-generic")]
#[case::native_xdp("xdp-native")]
#[case::tc("tc")]
fn sigterm_under_traffic_leaves_nothing_attached(#[case] hook: &str) {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let before = programs_on_links(&testbed.host);
    let installation = Installation::new(&format!("{{ {LINK}: {{ hook: {hook} }} }}"), "1d");
    let agent = installation.start(&testbed.host);
    let attached = agent.attached();
    let chatter = Chatter::start(&testbed, AT_EASE);
    eventually("flows are counted", || {
        (agent.metrics().sum("probe_packets_total", "") > 1000).then_some(())
    });
    assert_eq!(agent.terminate().code(), Some(0));
    attached.wait_until_gone();
    assert_eq!(programs_on_links(&testbed.host), before);
    chatter.finish();
    assert_nothing_lost(&installation.json());
    assert!(!installation.path().join("probe.sock").exists());
}

fn of_metrics(metrics: &Metrics) -> Value {
    let by_direction =
        |name| ["rcvd", "sent"].map(|direction| metrics.sum(name, &format!("\"{direction}\"")));
    json!({"packets": by_direction("probe_packets_total"), "bytes": by_direction("probe_bytes_total")})
}

fn sums(counts: Counts) -> Value {
    json!({
        "packets": [counts.packets_rcvd, counts.packets_sent],
        "bytes": [counts.bytes_rcvd, counts.bytes_sent],
    })
}
