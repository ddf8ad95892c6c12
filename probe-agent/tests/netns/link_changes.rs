//! Links that come, go and are replaced while the agent runs.

use super::{
    agent::{Agent, Installation},
    flows::{assert_nothing_lost, files, stored_intervals},
    lab::{Lab, Offloads},
    process::{eventually, run},
    skip,
};

/// A second link between the ends of the lab.
const ADD: &str = "link add late0 type veth peer name late1 netns ";

/// Echo requests to each link.
const PINGS: i64 = 3;

#[test]
fn a_link_is_captured_while_it_exists() {
    if !skip::kernel_or_skip(&["ip", "ethtool", "ping"]) {
        return;
    }
    let lab = Lab::new(Offloads::Off);
    let installation = Installation::new("{ late0: {} }", "1d");
    let agent = installation.start(&lab.host);
    let log = installation.log();
    assert!(log.contains("no interface is captured"), "{log}");
    assert_eq!(capturing(&agent), 0);

    add_link(&lab);
    eventually("the new link is captured", || {
        (capturing(&agent) == 1).then_some(())
    });
    ping(&lab);
    lab.host.ip("link delete late0\n");
    eventually("the link that has gone has its final writeout", || {
        (capturing(&agent) == 0 && files(&installation.json(), "jsonl").len() == 1).then_some(())
    });
    assert_eq!(pings(&installation), [PINGS]);

    add_link(&lab);
    eventually("its successor is captured", || {
        (capturing(&agent) == 1).then_some(())
    });
    ping(&lab);
    // Gone and back between two looks at the links: told apart by its index.
    lab.host.ip("link delete late0\n");
    add_link(&lab);
    eventually("the link that was replaced has its final writeout", || {
        (files(&installation.json(), "jsonl").len() == 2).then_some(())
    });
    eventually("its successor is captured", || {
        (capturing(&agent) == 1).then_some(())
    });
    ping(&lab);
    assert!(agent.terminate().success(), "the agent's exit code");
    assert_eq!(pings(&installation), [PINGS; 3]);
    assert_nothing_lost(&installation.json());
}

fn capturing(agent: &Agent<'_>) -> i64 {
    agent.metrics().sum("probe_interfaces_capturing", "")
}

fn add_link(lab: &Lab) {
    lab.host.ip(&format!(
        "{ADD}{}\naddress add 198.18.1.1/24 dev late0\nlink set late0 up\n",
        lab.peer.name()
    ));
    lab.peer
        .ip("address add 198.18.1.2/24 dev late1\nlink set late1 up\n");
}

fn ping(lab: &Lab) {
    let mut ping = lab.host.command("ping");
    ping.args(["-n", "-c", &PINGS.to_string(), "-i", "0.05", "198.18.1.2"]);
    run(&mut ping);
}

/// Echo requests by interval.
fn pings(installation: &Installation) -> Vec<i64> {
    let intervals = stored_intervals(&installation.json());
    let sent = intervals.iter().map(|interval| {
        let echo = interval.flows.iter().filter(|flow| flow["proto"] == 1);
        echo.filter_map(|flow| flow["packets_sent"].as_i64()).sum()
    });
    sent.collect()
}
