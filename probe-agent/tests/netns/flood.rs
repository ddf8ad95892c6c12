//! A flood in which every packet is a new flow: memory stays bounded, totals exact, and another
//! interface does not notice. `cargo xtask bench e2e --flood 60` does it for longer and faster.

use std::{fs, time::Duration};

use probe_common::headers::{ETHERNET_LEN, IPV4_MIN_LEN};

use super::{
    agent::{Agent, Installation},
    flows::{Counts, StoredInterval, stored_intervals},
    netns::Namespace,
    packets::frame::{Ipv4, UDP, udp},
    process::status_kib,
    sender::Sender,
    skip,
    testbed::{LINK, Testbed, quiet_testbed, wait_until_up},
    within,
};

const TOOLS: [&str; 3] = ["ip", "tc", "ethtool"];

/// The interface without flood, and its other end.
const CALM: &str = "calm0";
const CALM_PEER: &str = "calm1";
const CALM_FLOWS: u32 = 100;
/// Between two loops over these flows.
const BREATH: Duration = Duration::from_millis(20);
const FOR_EVER: u64 = u64::MAX >> 1;

const MAX_FLOWS: u32 = 5000;
/// New flows of a wave.
const WAVE: u32 = 60_000;
/// What the second wave may add to memory: the first has filled the log.
const GROWTH_KIB: u64 = 2048;
const IP_OCTETS: u64 = 20 + 8 + 22;

#[test]
fn every_packet_is_a_new_flow() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = quiet_testbed();
    add_calm_link(&testbed);
    let interfaces = format!("{{ {LINK}: {{ hook: tc }}, {CALM}: {{ hook: tc }} }}");
    let capture = format!("{{ max_flows: {MAX_FLOWS} }}");
    let installation = Installation::with_capture(&interfaces, "1d", &capture);
    let agent = installation.start(&testbed.host);
    let calm = frames(0..CALM_FLOWS);
    let calm = Sender::start_on(&testbed, CALM_PEER, &calm, FOR_EVER, BREATH);

    flood(&testbed, &agent, 0);
    let full = heap_kib(&agent);
    flood(&testbed, &agent, 1);
    let later = heap_kib(&agent);
    let sent = calm.stop();
    let calm_packets = sent.loops * u64::from(CALM_FLOWS);
    wait_until_seen(&agent, CALM, calm_packets);
    agent.settled_metrics();
    assert!(agent.terminate().success(), "the agent's exit code");

    let intervals = stored_intervals(&installation.json());
    let flooded = only(&intervals, LINK);
    let packets = 2 * u64::from(WAVE);
    let lost = lost(flooded);
    assert_eq!(
        packets_of(flooded).0 + lost.0,
        packets,
        "{}",
        flooded.ledger
    );
    let octets = packets_of(flooded).1 + lost.1;
    assert_eq!(octets, packets * IP_OCTETS, "{}", flooded.ledger);
    // Beside the flows that fit, one for all others, which go to one port of one prefix.
    let limit = MAX_FLOWS as usize;
    let flows = flooded.flows.len();
    assert!((limit..limit + 10).contains(&flows), "{flows} flows");

    let ordinary = only(&intervals, CALM);
    assert_eq!(packets_of(ordinary).0, calm_packets, "{}", ordinary.ledger);
    assert_eq!(ordinary.flows.len(), CALM_FLOWS as usize);
    for flow in &ordinary.flows {
        assert_eq!(flow["packets_rcvd"], sent.loops, "{flow}");
    }
    assert!(
        later <= full + GROWTH_KIB,
        "{full} KiB with a full log, {later} KiB afterwards"
    );
    eprintln!("{packets} flows: {full} KiB, then {later} KiB; lost, by name: {lost:?}");
}

/// A second pair of interfaces, on which no host sends by itself.
fn add_calm_link(testbed: &Testbed) {
    let peer = testbed.peer.name();
    let pair = format!("link add {CALM} type veth peer name {CALM_PEER} netns {peer}\n");
    testbed.host.ip(&pair);
    for (namespace, link) in [(&testbed.host, CALM), (&testbed.peer, CALM_PEER)] {
        be_silent(namespace, link);
        namespace.ip(&format!("link set {link} up\n"));
    }
    wait_until_up(&testbed.host, CALM);
    wait_until_up(&testbed.peer, CALM_PEER);
}

fn be_silent(namespace: &Namespace, link: &str) {
    namespace.enter(|| {
        let path = format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6");
        fs::write(path, "1").expect("a setting of the link");
    });
}

/// Sends a wave of flows that were in none before, and waits until all of it has its address.
#[track_caller]
fn flood(testbed: &Testbed, agent: &Agent, wave: u32) {
    let first = 1_000_000 + wave * WAVE;
    let frames = frames(first..first + WAVE);
    let sent = Sender::start(testbed, &frames, 1, Duration::ZERO).finish(Duration::from_mins(1));
    assert!(sent.refused.is_empty(), "{sent:?}");
    wait_until_seen(agent, LINK, u64::from((wave + 1) * WAVE));
    agent.settled_metrics();
}

#[track_caller]
fn wait_until_seen(agent: &Agent, link: &str, packets: u64) {
    within(Duration::from_mins(1), "all packets are seen", || {
        let label = format!("iface=\"{link}\"");
        let seen = agent.metrics().sum("probe_packets_seen_total", &label);
        (u64::try_from(seen) == Ok(packets)).then_some(())
    });
}

/// Frames of these flows to a MAC address that is not here: the low half of a flow's number is in its
/// source address, the rest in its source port.
pub(super) fn frames(flows: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    const SOURCE: usize = ETHERNET_LEN + 12;
    const PORTS: usize = ETHERNET_LEN + IPV4_MIN_LEN;
    let template = Ipv4::of(UDP).frame(&udp(22));
    let frame = |flow: u32| {
        let mut frame = template.clone();
        let [_, high, a, b] = flow.to_be_bytes();
        frame[..6].copy_from_slice(&[0x02, 0, 0, 0, 0, 0x99]);
        frame[SOURCE + 2..SOURCE + 4].copy_from_slice(&[a, b]);
        // Neither port is one that is aggregated away.
        frame[PORTS..PORTS + 2].copy_from_slice(&(20_000 + u16::from(high)).to_be_bytes());
        frame[PORTS + 2..PORTS + 4].copy_from_slice(&10_007_u16.to_be_bytes());
        frame
    };
    flows.map(frame).collect()
}

/// Memory of the agent's own: the mapped ring, of which more and more is touched, aside.
#[track_caller]
fn heap_kib(agent: &Agent) -> u64 {
    status_kib(agent.id(), "RssAnon").expect("a living agent")
}

/// The one interval of an interface.
#[track_caller]
fn only<'a>(intervals: &'a [StoredInterval], link: &str) -> &'a StoredInterval {
    let mut its = intervals.iter().filter(|it| it.ledger["iface"] == link);
    let first = its.next().expect("an interval");
    assert!(its.next().is_none(), "one interval of {link}");
    assert_eq!(first.ledger["residue"], 0, "{}", first.ledger);
    first
}

/// Packets and octets in the stored flows.
fn packets_of(interval: &StoredInterval) -> (u64, u64) {
    let number = |flow: &serde_json::Value, key: &str| flow[key].as_u64().expect("a number");
    let mut total = Counts::default();
    for flow in &interval.flows {
        total.packets_rcvd += number(flow, "packets_rcvd") + number(flow, "packets_sent");
        total.bytes_rcvd += number(flow, "bytes_rcvd") + number(flow, "bytes_sent");
    }
    (total.packets_rcvd, total.bytes_rcvd)
}

/// Packets and octets that the agent says it did not keep up with.
fn lost(interval: &StoredInterval) -> (u64, u64) {
    let sum = |key: &str| -> u64 {
        let by_name = &interval.ledger[key];
        let names = ["ring_full", "local_buffer_full"];
        names
            .iter()
            .filter_map(|name| by_name[*name].as_u64())
            .sum()
    };
    (sum("losses"), sum("loss_bytes"))
}
