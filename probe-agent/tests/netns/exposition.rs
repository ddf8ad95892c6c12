//! The metrics: what Prometheus accepts, what moves with the traffic, and that they equal the flows.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use super::{
    agent::Installation,
    flows::{assert_nothing_lost, stored_intervals, stored_total},
    generators::{ping, transfer},
    skip,
    testbed::{HOST_V6, LINK, Offloads, PEER_V4, PEER_V6, Testbed},
};

const IFACE: &str = r#"iface="probe0""#;
const RCVD: &str = r#"direction="rcvd""#;
const SENT: &str = r#"direction="sent""#;

#[test]
fn metrics_move_with_the_traffic_and_equal_the_flows() {
    if !skip::kernel_or_skip(&["ip", "ethtool", "iperf3", "ping", "promtool"]) {
        return;
    }
    let testbed = Testbed::new(Offloads::On);
    let installation = Installation::new(&format!("{{ {LINK}: {{}} }}"), "1d");
    let agent = installation.start(&testbed.host);
    check_by_promtool(&agent.exposition());
    assert_eq!(agent.metrics().sum("probe_interfaces_capturing", ""), 1);

    let before = agent.settled_metrics();
    ping(&testbed.host, PEER_V4, 200);
    let after_ping = agent.settled_metrics();
    for (direction, packets) in [(RCVD, 5), (SENT, 5)] {
        let moved = |name| after_ping.sum(name, direction) - before.sum(name, direction);
        assert_eq!(moved("probe_packets_total"), packets, "{direction}");
        // `ping -s 200`: with 8 octets of ICMP and 20 of IPv4.
        assert_eq!(moved("probe_bytes_total"), packets * 228, "{direction}");
    }

    transfer(&testbed.host, &testbed.peer, PEER_V6, &[]);
    transfer(&testbed.peer, &testbed.host, HOST_V6, &[]);
    testbed.wait_until_quiet();
    let last = agent.settled_metrics();
    check_by_promtool(&agent.exposition());
    assert!(agent.terminate().success(), "the agent's exit code");

    let json = installation.json();
    assert_nothing_lost(&json);
    let stored = stored_total(&json);
    let sums = [
        ("probe_packets_total", RCVD, stored.packets_rcvd),
        ("probe_packets_total", SENT, stored.packets_sent),
        ("probe_bytes_total", RCVD, stored.bytes_rcvd),
        ("probe_bytes_total", SENT, stored.bytes_sent),
    ];
    for (name, direction, stored) in sums {
        assert_eq!(last.sum(name, direction), signed(stored), "{name}");
    }
    let processed = signed(stored.packets_rcvd + stored.packets_sent);
    assert_eq!(last.sum("probe_packets_processed_total", IFACE), processed);
    let ledgers = stored_intervals(&json);
    let seen: i64 = ledgers.iter().map(|interval| interval.ledger("seen")).sum();
    assert_eq!(last.sum("probe_packets_seen_total", IFACE), seen);
    assert_eq!(last.sum("probe_packets_dropped_total", IFACE), 0);
}

#[track_caller]
fn check_by_promtool(exposition: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    let mut stdin = promtool.stdin.take().expect("piped");
    stdin
        .write_all(exposition.as_bytes())
        .expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{told}");
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("a small number")
}
