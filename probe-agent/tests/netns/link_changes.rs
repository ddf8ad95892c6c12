//! Links that come, go and are replaced while the agent runs.

use super::{
    agent::{Agent, Installation},
    eventually,
    flows::{assert_nothing_lost, files, stored_intervals},
    reload::configured,
    run, skip,
    testbed::{Offloads, Testbed},
};

/// A second link between the ends of the testbed.
const ADD: &str = "link add late0 type veth peer name late1 netns ";

/// Links that come at once.
const MANY: i64 = 40;

/// Echo requests to each link.
const PINGS: i64 = 3;

#[test]
fn a_link_is_captured_while_it_exists() {
    if !skip::kernel_or_skip(&["ip", "ethtool", "ping"]) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let installation = Installation::new("{ late0: {} }", "1d");
    let agent = installation.start(&testbed.host);
    installation.log_that_says("no interface is captured");
    assert_eq!(capturing(&agent), 0);

    add_link(&testbed);
    eventually("the new link is captured", || {
        (capturing(&agent) == 1).then_some(())
    });
    ping(&testbed);
    testbed.host.ip("link delete late0\n");
    eventually("the link that has gone has its final writeout", || {
        (capturing(&agent) == 0 && files(&installation.json(), "jsonl").len() == 1).then_some(())
    });
    assert_eq!(pings(&installation), [PINGS]);

    add_link(&testbed);
    eventually("its successor is captured", || {
        (capturing(&agent) == 1).then_some(())
    });
    ping(&testbed);
    // Gone and back between two checks of the links: told apart by its index.
    testbed.host.ip("link delete late0\n");
    add_link(&testbed);
    eventually("the link that was replaced has its final writeout", || {
        (files(&installation.json(), "jsonl").len() == 2).then_some(())
    });
    eventually("its successor is captured", || {
        (capturing(&agent) == 1).then_some(())
    });
    ping(&testbed);
    assert!(agent.terminate().success(), "the agent's exit code");
    assert_eq!(pings(&installation), [PINGS; 3]);
    assert_nothing_lost(&installation.json());
}

/// At a start and when they appear together: each link has an outcome of its own, whatever the others'
/// is.
#[test]
fn one_link_that_refuses_among_many_is_named_and_the_others_are_captured() {
    if !skip::kernel_or_skip(&["ip", "bpftool"]) {
        return;
    }
    let testbed = Testbed::without_links();
    let add = |first| {
        let links = (first..first + MANY).map(|number| format!("link add m{number} type bridge\n"));
        testbed.host.ip(&links.collect::<String>());
    };
    add(0);
    // A bridge does not take native XDP.
    let picky = "{ '/^m/': {}, m7: { hook: xdp-native }, m47: { hook: xdp-native } }";
    let installation = configured(picky, "");
    let agent = installation.start(&testbed.host);
    assert_eq!(capturing(&agent), MANY - 1);
    add(MANY);
    eventually("the new ones are captured, but one", || {
        (capturing(&agent) == 2 * MANY - 2).then_some(())
    });
    let hooks = agent.attached().links.len();
    assert_eq!(hooks.cast_signed() as i64, 2 * (2 * MANY - 2));
    let log = installation.log_that_says("interface m47: ");
    let refused: Vec<_> = log
        .lines()
        .filter(|line| line.contains("interface is not captured"))
        .collect();
    assert_eq!(refused.len(), 2, "{refused:?}");
    for (line, link) in refused.into_iter().zip(["m7", "m47"]) {
        assert!(line.contains(&format!("interface {link}: ")), "{line}");
        assert!(line.contains("xdp-native: refused, EOPNOTSUPP"), "{line}");
    }
    assert!(agent.terminate().success(), "the agent's exit code");
}

fn capturing(agent: &Agent) -> i64 {
    agent.metrics().sum("probe_interfaces_capturing", "")
}

fn add_link(testbed: &Testbed) {
    testbed.host.ip(&format!(
        "{ADD}{}\naddress add 198.18.1.1/24 dev late0\nlink set late0 up\n",
        testbed.peer.name()
    ));
    testbed
        .peer
        .ip("address add 198.18.1.2/24 dev late1\nlink set late1 up\n");
}

fn ping(testbed: &Testbed) {
    let mut ping = testbed.host.command("ping");
    ping.args(["-n", "-c", &PINGS.to_string(), "-i", "0.05", "198.18.1.2"]);
    run(&mut ping);
}

/// Echo requests by interval.
fn pings(installation: &Installation) -> Vec<i64> {
    let intervals = stored_intervals(&installation.json());
    let sent = intervals.iter().map(|interval| {
        let echo = interval
            .flows
            .iter()
            .filter(|flow| flow["ip_protocol"] == 1);
        echo.filter_map(|flow| flow["packets_sent"].as_i64()).sum()
    });
    sent.collect()
}
