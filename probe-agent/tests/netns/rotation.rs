//! Rotation under traffic: not a packet is lost, counted twice, or without an address.

use std::time::Duration;

use rstest::rstest;

use super::{
    agent::Installation,
    flows::{assert_nothing_lost, assert_same_flows, stored_flows, stored_intervals},
    skip,
    testbed::{LINK, Offloads, Testbed},
    traffic::{Chatter, IN_HASTE},
    within,
};

const ROTATIONS: usize = 20;

#[rstest]
#[case::native_xdp("xdp-native")]
#[case::tc("tc")]
fn twenty_rotations_under_traffic_lose_nothing(#[case] hook: &str) {
    if !skip::kernel_or_skip(&["ip", "ethtool"]) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let installation = Installation::new(&format!("{{ {LINK}: {{ hook: {hook} }} }}"), "1s");
    let agent = installation.start(&testbed.host);
    let chatter = Chatter::start(&testbed, IN_HASTE);
    let patience = Duration::from_mins(1);
    within(patience, "the rotations have happened", || {
        let written = agent
            .metrics()
            .sum("probe_rotation_duration_seconds_count", "");
        (written > i64::try_from(ROTATIONS).ok()?).then_some(())
    });
    let said = chatter.finish();
    assert!(agent.terminate().success(), "the agent's exit code");

    let json = installation.json();
    assert_same_flows(&stored_flows(&json), &said);
    assert_nothing_lost(&json);
    let intervals = stored_intervals(&json);
    assert!(intervals.len() > ROTATIONS, "{}", intervals.len());
    for pair in intervals.windows(2) {
        assert_eq!(pair[0].ledger["end"], pair[1].ledger["start"], "a gap");
    }
    // All but the last, which was still open when the traffic ended, are full of it.
    for interval in &intervals[1..ROTATIONS] {
        assert!(interval.ledger("flows") > 100, "{}", interval.ledger);
    }
}
