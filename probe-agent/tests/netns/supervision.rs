//! Programs that are removed behind the agent's back, and a capture that goes blind.

use std::{process::Command, time::Duration};

use probe_common::control::{InterfaceTable, maps};
use rstest::rstest;

use super::{
    PATIENCE,
    agent::{Agent, Installation},
    eventually,
    flows::{assert_nothing_lost, stored_intervals, stored_total},
    generators::ping,
    run, skip,
    testbed::{LINK, Offloads, PEER_V4, Testbed},
    traffic::Chatter,
    within,
};

pub(crate) const TOOLS: [&str; 5] = ["ip", "tc", "ethtool", "ping", "bpftool"];

/// A loss is noticed within so much time.
pub(crate) const NOTICED: Duration = Duration::from_secs(5);

/// `ping` of the testbed sends so many requests.
pub(crate) const PINGS: u64 = 5;

/// Every link of ours is detached as an administrator would do it.
#[rstest]
#[case::tc("tc", &["ingress tcx", "egress tcx"])]
#[case::generic_xdp("xdp-generic", &["ingress xdp-generic", "egress tcx"])]
#[case::native_xdp("xdp-native", &["ingress xdp-native", "egress tcx"])]
fn programs_that_are_detached_are_attached_again(#[case] hook: &str, #[case] lost: &[&str]) {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let installation = Installation::new(&format!("{{ {LINK}: {{ hook: {hook} }} }}"), "1d");
    let agent = installation.start(&testbed.host);
    ping(&testbed.host, PEER_V4, 200);
    for link in agent.attached().links {
        detach(link);
    }
    wait_for_state(&agent, "detached", NOTICED);
    let (_, status) = agent.command(&["status"]);
    assert!(!status.contains("settings were changed"), "{status}");
    assert!(status.contains("programs were removed"), "{status}");
    for hook in lost {
        installation.log_that_says(&format!("{hook}: our program was detached"));
    }
    within(NOTICED, "our programs are back", || {
        (agent.metrics().sum("probe_reattached_total", "") == 1).then_some(())
    });
    ping(&testbed.host, PEER_V4, 200);
    assert!(agent.terminate().success(), "the agent's exit code");

    let json = installation.json();
    assert_nothing_lost(&json);
    let stored = stored_total(&json);
    assert_eq!([stored.packets_rcvd, stored.packets_sent], [2 * PINGS; 2]);
    let interval = &stored_intervals(&json)[0];
    assert_eq!(interval.ledger("reattached"), 1);
    assert!(interval.ledger("detached_ms") > 0, "{}", interval.ledger);
}

/// Not every change of a link is a loss.
#[test]
fn a_link_that_goes_down_and_up_keeps_its_programs() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let installation = Installation::new(&format!("{{ {LINK}: {{ hook: xdp-native }} }}"), "1d");
    let agent = installation.start(&testbed.host);
    let before = agent.attached();
    ping(&testbed.host, PEER_V4, 200);
    testbed.host.ip(&format!("link set {LINK} down\n"));
    eventually("the agent checks it", || {
        let moved = agent.metrics().sum("probe_link_packets_total", "sent");
        (moved.cast_unsigned() >= PINGS).then_some(())
    });
    wait_for_state(&agent, "down", NOTICED);
    let (_, status) = agent.command(&["status"]);
    for part in [" down ", "the link is switched off or has no carrier"] {
        assert!(status.contains(part), "{part}: {status}");
    }
    testbed.host.ip(&format!("link set {LINK} up\n"));
    eventually("the link is up again", || {
        let state = format!("/sys/class/net/{LINK}/operstate");
        let state = run(testbed.host.command("cat").arg(state));
        (state.trim() == "up").then_some(())
    });
    ping(&testbed.host, PEER_V4, 200);
    wait_for_state(&agent, "idle", NOTICED);
    assert_eq!(agent.attached(), before);
    assert_eq!(agent.metrics().sum("probe_reattached_total", ""), 0);
    assert!(agent.terminate().success(), "the agent's exit code");
    let json = installation.json();
    assert_nothing_lost(&json);
    let intervals = stored_intervals(&json);
    let pings = intervals[0]
        .flows
        .iter()
        .filter(|flow| flow["ip_protocol"] == 1);
    let sent: i64 = pings.filter_map(|flow| flow["packets_sent"].as_i64()).sum();
    assert_eq!(sent.cast_unsigned(), 2 * PINGS);
}

/// The programs are attached and run, but their maps no longer know the interface.
#[test]
fn a_blind_capture_is_told_from_a_quiet_link() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let installation = Installation::new(&format!("{{ {LINK}: {{}} }}"), "1d");
    let agent = installation.start(&testbed.host);
    let slots = agent.map(maps::INTERFACES).to_string();
    let all_interfaces = agent.map(maps::ALL_INTERFACES).to_string();
    let key = testbed.host.enter(|| ifindex(LINK)).to_le_bytes();
    let key = key.map(|octet| octet.to_string());
    let bpftool = |words: &[&str]| run(Command::new("bpftool").arg("map").args(words));
    let [a, b, c, d] = key.each_ref().map(String::as_str);

    let chatter = Chatter::start(&testbed, Duration::from_millis(5));
    wait_for_state(&agent, "ok", PATIENCE);
    // A section has one value, which is all of it.
    let zeros = vec!["0"; size_of::<InterfaceTable>()];
    let update = ["update", "id", &slots, "key", "0", "0", "0", "0", "value"];
    bpftool(&[&update[..], &zeros].concat());
    bpftool(&["delete", "id", &all_interfaces, "key", a, b, c, d]);
    wait_for_state(&agent, "blind", PATIENCE);
    let exposition = agent.exposition();
    for direction in ["rcvd", "sent"] {
        let series =
            format!("probe_coverage_ratio{{direction=\"{direction}\",iface=\"{LINK}\"}} 0\n");
        assert!(exposition.contains(&series), "{exposition}");
    }
    assert!(
        agent
            .metrics()
            .sum("probe_unknown_interface_packets_total", "")
            > 0
    );
    // A machine reads the same as people do.
    let (exit, answer) = agent.command(&["status", "--json"]);
    assert_eq!(exit.code(), Some(5), "{answer}");
    let status: serde_json::Value = serde_json::from_str(&answer).expect("one object");
    let troubles = status["troubles"].as_array().expect("a list");
    let told: Vec<_> = troubles
        .iter()
        .map(|it| ["kind", "subject"].map(|key| it[key].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(told, [["blind", LINK]; 2], "{answer}");
    assert_eq!(agent.metrics().sum("probe_troubles", "kind=\"blind\""), 2);
    installation.log_that_says("capture is blind: our programs get frames");
    drop(chatter);
    let (_, answer) = agent.command(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&answer).expect("one object");
    let missed = status["interfaces"][LINK]["uncovered_packets"].as_u64();
    // Three windows of each direction made the state.
    assert!(
        missed.is_some_and(|missed| missed >= 2 * 3 * 20),
        "{answer}"
    );
    assert_eq!(status["interfaces"][LINK]["detached_packets"], 0);
    assert!(agent.terminate().success(), "the agent's exit code");
    let interval = &stored_intervals(&installation.json())[0];
    assert_eq!(
        interval.ledger("residue"),
        0,
        "what was seen has its address"
    );
    let ratio = interval.ledger["coverage"]["rcvd"]["ratio"].as_f64();
    assert!(
        ratio.is_some_and(|ratio| ratio < 0.9),
        "{}",
        interval.ledger
    );
}

/// Index of a link of the calling thread's namespace.
pub(crate) fn ifindex(link: &str) -> u32 {
    let shown = run(Command::new("ip").args(["-o", "link", "show", "dev", link]));
    let index = shown.split(':').next().and_then(|it| it.parse().ok());
    index.expect("a number first")
}

pub(crate) fn detach(link: u32) {
    run(Command::new("bpftool").args(["link", "detach", "id", &link.to_string()]));
}

/// Waits until the agent says so of its one interface.
#[track_caller]
pub(crate) fn wait_for_state(agent: &Agent, state: &str, patience: Duration) {
    let label = format!("state=\"{state}\"");
    within(patience, &format!("the capture is {state}"), || {
        (agent.metrics().sum("probe_capture_state", &label) == 1).then_some(())
    });
}
