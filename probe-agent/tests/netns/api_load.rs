//! A thousand clients at once, during rotations and under traffic: each gets a right answer, and no
//! packet is lost for it.

use std::thread;

use serde_json::Value;

use super::{
    agent::{Agent, Installation},
    flows::{assert_nothing_lost, assert_same_flows, stored_flows, stored_intervals},
    skip,
    testbed::{LINK, Offloads, Testbed},
    traffic::{Chatter, IN_HASTE},
};

const CLIENTS: usize = 1000;
const PATHS: [&str; 3] = [
    "/api/v1/status",
    "/api/v1/flows?sort=packets&limit=10",
    "/metrics",
];

/// Rotations that must have happened by now.
fn rotations(agent: &Agent) -> i64 {
    agent
        .metrics()
        .sum("probe_rotation_duration_seconds_count", "")
}

#[track_caller]
fn check(path: &str, answer: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    if path == "/metrics" {
        assert!(body.contains("probe_packets_seen_total{"), "{body}");
        return;
    }
    let answer: Value = serde_json::from_str(body).expect("JSON");
    if path == PATHS[0] {
        let ledger = &answer["interfaces"][LINK]["ledger"];
        let count = |name: &str| ledger[name].as_u64().expect("a count");
        assert!(count("seen") >= count("flows"), "{ledger}");
        let losses = ledger["losses"].as_object().expect("losses");
        for name in ["ring_full", "local_buffer_full"] {
            assert_eq!(losses[name], 0, "{ledger}");
        }
    } else {
        let flows = answer["flows"].as_array().expect("flows");
        let sum = |key: &str| -> u64 { flows.iter().filter_map(|it| it[key].as_u64()).sum() };
        let total = answer["total"]["packets_rcvd"].as_u64().expect("a total");
        assert!(sum("packets_rcvd") <= total, "{answer}");
        let complete = answer["truncated"] == false;
        assert!(!complete || sum("packets_rcvd") == total, "{answer}");
    }
}

#[test]
fn a_thousand_clients_disturb_nothing() {
    if !skip::kernel_or_skip(&["ip", "ethtool"]) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let installation = Installation::new(&format!("{{ {LINK}: {{ hook: tc }} }}"), "1s");
    let agent = installation.start(&testbed.host);
    let chatter = Chatter::start(&testbed, IN_HASTE);
    let before = rotations(&agent);
    let mut answered = 0;
    // Again until rotations have happened meanwhile: what takes a second on one machine takes ten on
    // another.
    while answered < CLIENTS || rotations(&agent) < before + 3 {
        let agent = &agent;
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let path = PATHS[client % PATHS.len()];
                    scope.spawn(move || (path, agent.request(path)))
                })
                .collect();
            for client in clients {
                let (path, answer) = client.join().expect("a client");
                check(path, &answer.expect("an answer"));
                answered += 1;
            }
        });
    }
    let said = chatter.finish();
    assert!(agent.terminate().success(), "the agent's exit code");
    let json = installation.json();
    assert_same_flows(&stored_flows(&json), &said);
    assert_nothing_lost(&json);
    assert!(stored_intervals(&json).len() > 3);
}
