//! Known traffic through every hook: each flow equals what tcpdump and tshark saw on the wire.

use std::net::SocketAddr;

use probe_common::headers::ip_protocol::{ICMP, ICMPV6, TCP};
use rstest::rstest;

use super::{
    agent::Installation,
    flows::{
        FlowKey, Flows, assert_nothing_lost, assert_same_flows, stored_directions, stored_flows,
    },
    generators::{ping, transfer},
    skip,
    testbed::{HOST_V4, HOST_V6, LINK, Offloads, PEER_V4, PEER_V6, Testbed},
    traffic::{AT_EASE, Chatter, ask},
    witness::Witness,
};

const TOOLS: [&str; 6] = ["ip", "ethtool", "iperf3", "ping", "tcpdump", "tshark"];

/// With offloads the hooks of TC see super-packets, and the wire what they are made of.
#[rstest]
#[case::generic_xdp("xdp-generic", Offloads::Off)]
#[case::native_xdp("xdp-native", Offloads::Off)]
#[case::tc("tc", Offloads::Off)]
#[case::auto("auto", Offloads::Off)]
#[case::native_xdp_with_offloads("xdp-native", Offloads::On)]
#[case::tc_with_offloads("tc", Offloads::On)]
fn every_flow_equals_the_witness(#[case] hook: &str, #[case] offloads: Offloads) {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(offloads);
    let installation = Installation::new(&format!("{{ {LINK}: {{ hook: {hook} }} }}"), "1d");
    let agent = installation.start(&testbed.host);
    assert_hooks(&agent.exposition(), hook);
    let witness = Witness::start(&testbed);
    drive(&testbed);
    let expected = aggregate_ports(witness.finish());
    assert!(agent.terminate().success(), "the agent's exit code");

    let json = installation.json();
    assert_same_flows(&stored_flows(&json), &expected);
    assert_nothing_lost(&json);
    for (key, direction) in stored_directions(&json) {
        let expected = match key.ip_protocol {
            TCP => "handshake, high",
            ICMP | ICMPV6 => "icmp-type, high",
            _ => "ports, low",
        };
        assert_eq!(direction, expected, "{key:?}");
    }
}

/// The hook that was asked for is the one that is used, and it is told.
#[track_caller]
fn assert_hooks(exposition: &str, hook: &str) {
    let attached = exposition
        .lines()
        .find(|line| line.starts_with("probe_attached_interfaces{"))
        .expect("the hooks are told");
    let expected: &[&str] = match hook {
        "xdp-generic" | "xdp-native" => &[hook],
        // XDP on veth costs its peer the offloads, so `auto` leaves it.
        _ => &["tcx", "clsact"],
    };
    let is_ingress = |hook: &&str| attached.contains(&format!("ingress=\"{hook}\""));
    assert!(expected.iter().any(is_ingress), "{attached}");
}

/// 1 MiB each way over TCP and UDP, pings, conversations and connections to one service, over both
/// families, with either end as the client.
fn drive(testbed: &Testbed) {
    let (host, peer) = (&testbed.host, &testbed.peer);
    for to in [PEER_V4, PEER_V6] {
        transfer(host, peer, to, &[]);
        transfer(host, peer, to, &["--reverse"]);
        let paced = ["--udp", "--bitrate", "100M", "--length", "1200"];
        transfer(host, peer, to, &paced);
        transfer(host, peer, to, &[&paced[..], &["--reverse"]].concat());
        ping(host, to, 200);
        // In fragments, of which only the first says what it is.
        ping(host, to, 4000);
        ask(host, peer, SocketAddr::new(to, 443), 3);
    }
    for to in [HOST_V4, HOST_V6] {
        transfer(peer, host, to, &[]);
        ping(peer, to, 200);
        ask(peer, host, SocketAddr::new(to, 8080), 3);
    }
    drop(Chatter::start(testbed, AT_EASE));
}

/// Connections to these services of the test are one flow for each client.
fn aggregate_ports(flows: Flows) -> Flows {
    let mut aggregated = Flows::new();
    for (mut key, counts) in flows {
        if matches!(key.server.port(), 443 | 8080) {
            key.client.set_port(0);
        }
        *aggregated.entry(key).or_default() += counts;
    }
    let ports = |key: &&FlowKey| key.client.port() == 0 && key.ip_protocol == TCP;
    assert_eq!(aggregated.keys().filter(ports).count(), 4, "four services");
    aggregated
}
