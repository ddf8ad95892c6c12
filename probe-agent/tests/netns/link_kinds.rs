//! Every kind of link that this kernel can make: the flows of known traffic, on the link and on the
//! one below it, and the traffic unharmed.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use rstest::rstest;

use super::{
    agent::Installation,
    flows::{
        Counts, FlowKey, Flows, assert_nothing_lost, assert_same_flows, stored_flows,
        stored_intervals, total,
    },
    generators::ping,
    run, skip,
    testbed::{HOST_V4, HOST_V6, LINK, Offloads, PEER_V4, PEER_V6, Testbed},
    topology::{self, Below, Kind, LOWER, connect},
    traffic::Conversation,
};

const TOOLS: [&str; 3] = ["ip", "ping", "python3"];

/// What `ping` sends and gets back.
const PINGS: u64 = 5;
const PING_OCTETS: u16 = 200;

#[rstest]
#[case::veth(topology::VETH)]
#[case::bridge(topology::BRIDGE)]
#[case::bond(topology::BOND)]
#[case::macvlan(topology::MACVLAN)]
#[case::vlan(topology::VLAN)]
#[case::vxlan(topology::VXLAN)]
#[case::vxlan_over_ipv6(topology::VXLAN6)]
#[case::geneve(topology::GENEVE)]
#[case::gretap(topology::GRETAP)]
#[case::gre(topology::GRE)]
#[case::gre_with_key(topology::GRE_KEY)]
#[case::ipip(topology::IPIP)]
#[case::sit(topology::SIT)]
#[case::ip6tnl(topology::IP6TNL)]
#[case::ip6gre(topology::IP6GRE)]
#[case::tap(topology::TAP)]
#[case::tun(topology::TUN)]
fn known_traffic_is_counted(#[case] kind: Kind) {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let Some(connected) = connect(kind) else {
        skip::not_in_this_kernel(&format!("links of type {}", kind.name));
        return;
    };
    let testbed = &connected.testbed;
    let has_lower = kind.below != Below::Nothing;
    let lower = if has_lower {
        format!(", {LOWER}: {{}}")
    } else {
        String::new()
    };
    let installation = Installation::new(&format!("{{ {LINK}: {{}}{lower} }}"), "1d");
    let agent = installation.start(&testbed.host);
    let links = agent.metrics().sum("probe_interfaces_capturing", "");
    assert_eq!(
        links,
        1 + i64::from(has_lower),
        "interfaces that are captured"
    );
    let expected = drive(testbed, kind.families);
    agent.settled_metrics();
    assert!(agent.terminate().success(), "the agent's exit code");

    let json = installation.json();
    assert_nothing_lost(&json);
    assert_same_flows(
        &stored_flows(&json.join(format!("iface={LINK}"))),
        &expected,
    );
    match kind.below {
        Below::Nothing => {}
        Below::Same => {
            let lower = json.join(format!("iface={LOWER}"));
            assert_same_flows(&stored_flows(&lower), &expected);
        }
        Below::Tunnel(_) => assert_counted_below(&json, kind.below, &total(expected.values())),
    }
}

/// Fails unless the link below a tunnel has the packets of the tunnel, each with more headers.
#[track_caller]
pub(super) fn assert_counted_below(json: &Path, below: Below, inside: &Counts) {
    let Below::Tunnel(header_octets) = below else {
        panic!("no tunnel");
    };
    let around = tunnelled(&json.join(format!("iface={LOWER}")));
    let octets = |bytes, packets| bytes + packets * header_octets;
    let expected = Counts {
        packets_rcvd: inside.packets_rcvd,
        packets_sent: inside.packets_sent,
        bytes_rcvd: octets(inside.bytes_rcvd, inside.packets_rcvd),
        bytes_sent: octets(inside.bytes_sent, inside.packets_sent),
        tcp_flags: 0,
    };
    assert_eq!(around, expected);
}

/// Pings and conversations, begun by either end; returns what they were.
#[track_caller]
pub(super) fn drive(testbed: &Testbed, families: &[u8]) -> Flows {
    let mut flows = Flows::new();
    for (host, peer) in [(HOST_V4, PEER_V4), (HOST_V6, PEER_V6)] {
        if !families.contains(if host.is_ipv4() { &4 } else { &6 }) {
            continue;
        }
        ping(&testbed.host, peer, PING_OCTETS.into());
        flows.extend([pings(host, peer)]);
        let ends = [(&testbed.host, host), (&testbed.peer, peer)];
        for (asker, answerer, octets) in [(ends[0], ends[1], 700), (ends[1], ends[0], 1)] {
            let mut conversation = Conversation::new(asker, answerer, octets);
            conversation.talk(20);
            flows.extend([<(FlowKey, Counts)>::from(&conversation)]);
        }
    }
    flows
}

/// The flow of a ping from the host to the peer that lost nothing.
fn pings(host: IpAddr, peer: IpAddr) -> (FlowKey, Counts) {
    let (ip_protocol, header_octets) = if host.is_ipv4() { (1, 28) } else { (58, 48) };
    let key = FlowKey {
        client: SocketAddr::new(host, 0),
        server: SocketAddr::new(peer, 0),
        ip_protocol,
    };
    let octets = PINGS * (u64::from(PING_OCTETS) + header_octets);
    let counts = Counts {
        packets_rcvd: PINGS,
        packets_sent: PINGS,
        bytes_rcvd: octets,
        bytes_sent: octets,
        tcp_flags: 0,
    };
    (key, counts)
}

/// All packets of the tunnel between the ends of the lower link.
#[track_caller]
fn tunnelled(tree: &Path) -> Counts {
    let mut sum = Counts::default();
    for line in stored_intervals(tree).iter().flat_map(|it| &it.flows) {
        let is_end = |end: &str| {
            let address = line[end].as_str().expect("an address");
            [
                "198.19.0.1",
                "198.19.0.2",
                "fd00:198:19::1",
                "fd00:198:19::2",
            ]
            .contains(&address)
        };
        if is_end("src_addr") && is_end("dst_addr") {
            let number = |field: &str| line[field].as_u64().expect("a number");
            sum += Counts {
                packets_rcvd: number("packets_rcvd"),
                packets_sent: number("packets_sent"),
                bytes_rcvd: number("bytes_rcvd"),
                bytes_sent: number("bytes_sent"),
                tcp_flags: 0,
            };
        }
    }
    sum
}

/// The loopback device sends to itself: each packet is seen once as sent and once as received.
#[test]
fn loopback_counts_every_packet_in_both_directions() {
    if !skip::kernel_or_skip(&["ip", "ping"]) {
        return;
    }
    let testbed = Testbed::without_links();
    testbed.host.ip(&format!(
        "address add {HOST_V4}/32 dev lo\naddress add {HOST_V6}/128 dev lo nodad\n"
    ));
    let installation = Installation::new("{ lo: {} }", "1d");
    let agent = installation.start(&testbed.host);
    let mut expected = Flows::new();
    for host in [HOST_V4, HOST_V6] {
        ping(&testbed.host, host, PING_OCTETS.into());
        let (key, mut counts) = pings(host, host);
        // Requests and replies: five each way at each of the two hooks.
        counts += counts;
        expected.insert(key, counts);
    }
    agent.settled_metrics();
    assert!(agent.terminate().success(), "the agent's exit code");
    assert_same_flows(&stored_flows(&installation.json()), &expected);
    assert_nothing_lost(&installation.json());
}

/// What a redirection sends through an ifb device counts there as sent, and on the link it came
/// from as received: once.
#[test]
fn redirected_packets_are_sent_by_the_ifb_device() {
    if !skip::kernel_or_skip(&["ip", "tc", "ping", "ethtool"]) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    testbed
        .host
        .ip("link add ifb0 type ifb\nlink set ifb0 addrgenmode none\nlink set ifb0 up\n");
    for words in [
        "qdisc add dev probe0 handle ffff: ingress",
        // Every packet: a mask of nothing.
        "filter add dev probe0 parent ffff: protocol all u32 match u32 0 0 \
         action mirred egress redirect dev ifb0",
    ] {
        run(testbed.host.command("tc").args(words.split_whitespace()));
    }
    let installation = Installation::new(&format!("{{ {LINK}: {{}}, ifb0: {{}} }}"), "1d");
    let agent = installation.start(&testbed.host);
    let expected = drive(&testbed, &[4, 6]);
    agent.settled_metrics();
    assert!(agent.terminate().success(), "the agent's exit code");
    let json = installation.json();
    assert_nothing_lost(&json);
    assert_same_flows(
        &stored_flows(&json.join(format!("iface={LINK}"))),
        &expected,
    );
    let received = total(expected.values());
    let through = total(stored_flows(&json.join("iface=ifb0")).values());
    let as_sent = Counts {
        packets_sent: received.packets_rcvd,
        bytes_sent: received.bytes_rcvd,
        ..Counts::default()
    };
    assert_eq!(through, as_sent);
}
