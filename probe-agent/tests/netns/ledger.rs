//! The ledger under stress: whatever happens to the agent, every packet that was sent is in a flow
//! or in a named loss, to the octet.

use std::{env, thread, time::Duration};

use rstest::rstest;
use rustix::process::Signal;

use super::{
    accounts::Accounts,
    agent::{Agent, Installation},
    eventually,
    flows::{StoredInterval, files, stored_intervals},
    sender::{Sender, Sent},
    skip,
    testbed::{LINK, quiet_testbed},
    traffic_mix::TrafficMix,
    within,
};

const TOOLS: [&str; 3] = ["ip", "tc", "ethtool"];

/// Packets of a flood, unless `PROBE_STRESS_PACKETS` says how many.
const PACKETS: u64 = 1_000_000;
/// Between two loops of a generator that only has to go on.
const BREATH: Duration = Duration::from_millis(30);
const LOCAL_BUFFER_FULL: &str = r#"loss="local_buffer_full""#;
const FOR_EVER: u64 = u64::MAX >> 1;

#[rstest]
#[case::tc("tc")]
#[case::native_xdp("xdp-native")]
#[case::generic_xdp("xdp-generic")]
fn a_flood_of_mixed_packets(#[case] hook: &str) {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let packets = env::var("PROBE_STRESS_PACKETS").map_or(PACKETS, |packets| {
        packets.parse().expect("PROBE_STRESS_PACKETS is a number")
    });
    let (testbed, mix) = (quiet_testbed(), TrafficMix::new());
    let installation = Installation::new(&format!("{{ {LINK}: {{ hook: {hook} }} }}"), "1s");
    let agent = installation.start(&testbed.host);
    let loops = packets.div_ceil(mix.frames.len() as u64);
    let sender = Sender::start(&testbed, &mix.frames, loops, Duration::ZERO);
    let sent = sender.finish(Duration::from_secs(20 + packets / 20_000));
    let accounts = settle(&installation, agent, &mix, &sent);
    tell(hook, &sent, &accounts);
}

/// The ring holds a thousand records, and the agent polls every few milliseconds.
#[test]
fn a_ring_that_is_too_small() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let (testbed, mix) = (quiet_testbed(), TrafficMix::new());
    let interfaces = format!("{{ {LINK}: {{ hook: tc }} }}");
    // Without the cache, which would add the packets up before the ring.
    let capture = "{ ring_buffer: 64KiB, cache_slots: 0 }";
    let installation = Installation::with_capture(&interfaces, "1s", capture);
    let agent = installation.start(&testbed.host);
    let loops = PACKETS / 4 / mix.frames.len() as u64;
    let sender = Sender::start(&testbed, &mix.frames, loops, Duration::ZERO);
    let sent = sender.finish(Duration::from_secs(30));
    let accounts = settle(&installation, agent, &mix, &sent);
    tell("64 KiB", &sent, &accounts);
    assert!(accounts.losses["ring_full"].packets > 0, "{accounts:?}");
}

/// While a rotation waits for the programs, records of the next interval find no room.
#[test]
fn a_local_buffer_that_is_too_small() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let (testbed, mix) = (quiet_testbed(), TrafficMix::new());
    let interfaces = format!("{{ {LINK}: {{ hook: tc }} }}");
    let rotation = "1s, local_buffers: { num: 1, size_limit: 4KiB }";
    // Without the cache, which would keep the records back.
    let installation = Installation::with_capture(&interfaces, rotation, "{ cache_slots: 0 }");
    let agent = installation.start(&testbed.host);
    // Until the first buffer has overflowed, at the first rotation or one of the next.
    let sender = Sender::start(&testbed, &mix.frames, FOR_EVER, Duration::ZERO);
    eventually("a buffer has overflowed", || {
        let lost = agent
            .metrics()
            .sum("probe_lost_packets_total", LOCAL_BUFFER_FULL);
        (lost > 0).then_some(())
    });
    let sent = sender.stop();
    let accounts = settle(&installation, agent, &mix, &sent);
    tell("4 KiB", &sent, &accounts);
    assert!(
        accounts.losses["local_buffer_full"].packets > 0,
        "{accounts:?}"
    );
}

/// While the link is down the kernel throws packets away before any hook; they are not seen, and
/// nothing else is lost.
#[test]
fn a_link_that_goes_down_and_up() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let (testbed, mix) = (quiet_testbed(), TrafficMix::new());
    let installation = Installation::new(&format!("{{ {LINK}: {{}} }}"), "1s");
    let agent = installation.start(&testbed.host);
    let sender = Sender::start(&testbed, &mix.frames, FOR_EVER, BREATH);
    for _ in 0..5 {
        testbed.host.ip(&format!("link set {LINK} down\n"));
        let before = seen(&agent);
        testbed.host.ip(&format!("link set {LINK} up\n"));
        eventually("packets are seen again", || {
            (seen(&agent) > before).then_some(())
        });
    }
    let sent = sender.stop();
    let before = agent.settled_metrics();
    let last = Sender::start(&testbed, &mix.frames, 1, Duration::ZERO);
    last.finish(Duration::from_secs(20));
    let more = mix.expected.seen.packets;
    let all = seen_in(&before) + more;
    eventually("all of the last loop is seen", || {
        (seen(&agent) >= all).then_some(())
    });
    assert_eq!(seen_in(&agent.settled_metrics()), all, "of the last loop");
    assert!(agent.terminate().success(), "the agent's exit code");
    let accounts = Accounts::read(&installation);
    assert_eq!(accounts.seen.packets, all, "{accounts:?}");
    let all_sent = mix.expected.times(sent.loops + 1);
    assert!(
        accounts.seen.packets <= all_sent.seen.packets,
        "{accounts:?}"
    );
}

/// Stopped for ten seconds, as by a hypervisor or a debugger: the ring may overflow meanwhile.
#[test]
fn an_agent_that_is_stopped_for_a_while() {
    const STOP: Duration = Duration::from_secs(10);
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let (testbed, mix) = (quiet_testbed(), TrafficMix::new());
    let installation = Installation::new(&format!("{{ {LINK}: {{ hook: tc }} }}"), "1s");
    let agent = installation.start(&testbed.host);
    let sender = Sender::start(&testbed, &mix.frames, FOR_EVER, BREATH);
    wait_for_intervals(&installation, 2);
    agent.signal(Signal::STOP);
    // Being away is what this test is about; there is no condition to wait for.
    thread::sleep(STOP);
    agent.signal(Signal::CONT);
    let written = files(&installation.json(), "jsonl").len();
    wait_for_intervals(&installation, written + 4);
    let sent = sender.stop();
    let accounts = settle(&installation, agent, &mix, &sent);
    tell("stopped", &sent, &accounts);

    let intervals = stored_intervals(&installation.json());
    for pair in intervals.windows(2) {
        assert_eq!(pair[0].ledger["end"], pair[1].ledger["start"], "a gap");
    }
    let lasted = |interval: &StoredInterval| interval.seconds() >= STOP.as_secs_f64() - 1.0;
    let longest = intervals.iter().rposition(lasted);
    let longest = longest.expect("an interval is as long as the stop");
    assert!(longest + 1 < intervals.len(), "the schedule recovers");
}

fn seen(agent: &Agent) -> u64 {
    seen_in(&agent.metrics())
}

fn seen_in(metrics: &super::metrics::Metrics) -> u64 {
    let seen = metrics.sum("probe_packets_seen_total", "");
    u64::try_from(seen).expect("a counter")
}

#[track_caller]
fn wait_for_intervals(installation: &Installation, count: usize) {
    within(Duration::from_mins(1), "intervals are stored", || {
        (files(&installation.json(), "jsonl").len() >= count).then_some(())
    });
}

/// Ends the agent once it has seen everything, and checks every number that it told.
#[track_caller]
fn settle(installation: &Installation, agent: Agent, mix: &TrafficMix, sent: &Sent) -> Accounts {
    assert!(sent.refused.is_empty(), "{sent:?}");
    let expected = mix.expected.times(sent.loops);
    eventually("everything that was sent is seen", || {
        (seen(&agent) >= expected.seen.packets).then_some(())
    });
    let metrics = agent.settled_metrics();
    assert!(agent.terminate().success(), "the agent's exit code");
    let accounts = Accounts::read(installation);
    accounts.assert_equal(&expected);
    assert_eq!(seen_in(&metrics), expected.seen.packets, "in the metrics");
    let in_flows = metrics.sum("probe_packets_total", "");
    assert_eq!(
        u64::try_from(in_flows),
        Ok(accounts.flows.packets),
        "in the metrics"
    );
    accounts
}

fn tell(what: &str, sent: &Sent, accounts: &Accounts) {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let rate = accounts.seen.packets as f64 / sent.seconds / 1e3;
    eprintln!(
        "{what}: {} packets in {:.1} s ({rate:.0} thousand a second), {} intervals, lost from \
         flows {:?}",
        accounts.seen.packets,
        sent.seconds,
        accounts.intervals,
        accounts.lost_from_flows(),
    );
}
