//! A day in the life of an agent with twenty interfaces: reloads that add, change, break and
//! restore, links that come, go, are renamed and made anew; and beside all that one interface with
//! traffic, which must not notice.

use super::{
    agent::{Agent, Installation},
    eventually,
    flows::stored_intervals,
    reload::{configure, reload},
    run, skip,
    testbed::{LINK, Offloads, Testbed},
};

/// Echo requests on the interface that no test touches, one every five milliseconds.
const PINGS: u64 = 4000;

/// No interval ends meanwhile, whatever the time of day.
const ROTATION: &str = "rotation: { interval: 1d }\n";

/// Twenty links besides: ten pairs.
const PAIRS: u32 = 10;

#[test]
fn a_day_of_changes_costs_an_untouched_interface_nothing() {
    if !skip::kernel_or_skip(&["ip", "ethtool", "ping", "bpftool"]) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    for pair in 0..PAIRS {
        testbed.host.ip(&format!(
            "link add day{pair}a type veth peer name day{pair}b\n"
        ));
    }
    testbed.host.ip("link add picky type bridge\n");
    let installation = Installation::empty();
    let quiet = format!("{LINK}: {{}}");
    configure(
        &installation,
        &format!("{{ {quiet}, '/^day/': {{}} }}"),
        ROTATION,
    );
    let agent = installation.start(&testbed.host);
    wait_for(&agent, 21);

    let mut ping = testbed.host.command("ping");
    let count = PINGS.to_string();
    ping.args(["-n", "-q", "-c", &count, "-i", "0.005", "198.18.0.2"]);
    let told = std::thread::scope(|scope| {
        let traffic = scope.spawn(move || run(&mut ping));
        reloads(&agent, &installation, &quiet);
        links(&agent, &testbed);
        traffic.join().expect("ping ends")
    });
    let all = format!("{PINGS} packets transmitted, {PINGS} received");
    assert!(told.contains(&all), "{told}");
    assert!(agent.terminate().success(), "the agent's exit code");

    let intervals = stored_intervals(&installation.json());
    for interval in &intervals {
        assert_eq!(interval.ledger("residue"), 0, "{}", interval.ledger);
    }
    for pair in 0..PAIRS {
        let name = format!("day{pair}b");
        // When it was disabled, and at the end.
        let written = intervals
            .iter()
            .filter(|it| it.ledger["iface"] == name.as_str())
            .count();
        assert!(written >= 2, "{name} has {written} intervals");
    }
    // One interval of the untouched interface, with everything: it was never closed.
    let echo: Vec<(i64, i64)> = intervals
        .iter()
        .filter_map(|interval| {
            let echo = interval
                .flows
                .iter()
                .find(|flow| flow["ip_protocol"] == 1)?;
            Some((
                echo["packets_sent"].as_i64()?,
                echo["packets_rcvd"].as_i64()?,
            ))
        })
        .collect();
    assert_eq!(echo, [(PINGS.cast_signed(), PINGS.cast_signed())]);
}

fn reloads(agent: &Agent, installation: &Installation, quiet: &str) {
    let expect = |interfaces: &str, expected: &str| {
        configure(
            installation,
            &format!("{{ {quiet}, {interfaces} }}"),
            ROTATION,
        );
        let told = reload(agent, installation);
        assert!(told.contains(expected), "{interfaces}: {told}");
    };
    expect(
        "'/^day/': {}, picky: {}",
        "1 enabled, 0 updated, 0 disabled, 21 untouched",
    );
    expect(
        "'/^day/': {}, day0a: { hook: tc }, day1a: { ignore_vlans: true }, picky: {}",
        "0 enabled, 2 updated, 0 disabled, 20 untouched",
    );
    expect(
        "'/^day/': {}, picky: { hook: xdp-native }",
        "0 enabled, 2 updated, 0 disabled, 19 untouched, 1 failed",
    );
    expect(
        "'/^day.a/': {}, picky: {}",
        "0 enabled, 0 updated, 10 disabled, 12 untouched",
    );
    expect("'/^day/: {}", "not reloaded");
    expect(
        "'/^day/': {}",
        "10 enabled, 0 updated, 1 disabled, 11 untouched",
    );
    wait_for(agent, 21);
}

fn links(agent: &Agent, testbed: &Testbed) {
    testbed.host.ip("link delete day0a\n");
    wait_for(agent, 19);
    testbed
        .host
        .ip("link add day0a type veth peer name day0b\n");
    wait_for(agent, 21);
    // Made anew before anybody can check: the same names, other links.
    testbed
        .host
        .ip("link delete day1a\nlink add day1a type veth peer name day1b\n");
    testbed
        .host
        .ip("link set day2a name day2c\nlink set day3a up\nlink set day3a down\n");
    eventually("the new name is captured", || {
        let metrics = agent.exposition();
        // Counts of the old name stay for a while.
        let attached = || {
            metrics
                .lines()
                .filter(|line| line.starts_with("probe_attached_interfaces{"))
        };
        let is_captured =
            |name: &str| attached().any(|line| line.contains(&format!("iface=\"{name}\"")));
        (is_captured("day2c") && !is_captured("day2a")).then_some(())
    });
    // A name that no rule matches.
    testbed.host.ip("link set day4a name night\n");
    wait_for(agent, 20);
    testbed.host.ip("link set night name day4a\n");
    wait_for(agent, 21);
    let metrics = agent.exposition();
    assert!(
        metrics.contains("probe_link_capture_latency_seconds_count"),
        "{metrics}"
    );
}

#[track_caller]
fn wait_for(agent: &Agent, interfaces: i64) {
    eventually("so many interfaces are captured", || {
        let capturing = agent.metrics().sum("probe_interfaces_capturing", "");
        (capturing == interfaces).then_some(())
    });
}
