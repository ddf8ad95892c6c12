//! Packets of 60 KB in fragments of the link's 1,500 bytes: the kernel's own, in order, and crafted
//! ones in the order of our choice.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use probe_common::headers::ip_protocol::{ICMP, ICMPV6, UDP};
use rstest::rstest;

use super::{
    PATIENCE,
    agent::Installation,
    crafted::{Crafted, Order},
    eventually,
    flows::{
        Counts, FlowKey, Flows, assert_nothing_lost, assert_same_flows, record_packet,
        stored_flows, stored_intervals,
    },
    generators::ping,
    netns::Namespace,
    skip,
    testbed::{HOST_V4, HOST_V6, LINK, Offloads, PEER_V4, PEER_V6, Testbed},
};

const TOOLS: [&str; 3] = ["ip", "ethtool", "ping"];

/// What UDP and ICMP carry, without their headers of 8 octets.
const PAYLOAD: usize = 60_000;

/// What must be stored.
#[derive(Default)]
struct Expected {
    flows: Flows,
    packets: u64,
    later: u64,
    unattributed: u64,
}

impl Expected {
    /// So many packets, the fragments of one or several of them, in one flow.
    fn add(&mut self, key: FlowKey, packets: u64, octets: u64) {
        let mut counts = Counts::default();
        if [HOST_V4, HOST_V6].contains(&key.client.ip()) {
            (counts.packets_sent, counts.bytes_sent) = (packets, octets);
        } else {
            (counts.packets_rcvd, counts.bytes_rcvd) = (packets, octets);
        }
        record_packet(&mut self.flows, key, counts);
        self.packets += packets;
    }

    /// A packet that the kernel cuts: RFC 791, section 3.2; RFC 8200, section 4.5.
    fn add_cut_by_kernel(&mut self, key: FlowKey) {
        let (headers, room) = if key.client.is_ipv4() {
            (20, 1480)
        } else {
            (48, 1448)
        };
        let octets = PAYLOAD as u64 + 8;
        let fragments = octets.div_ceil(room);
        self.add(key, fragments, octets + fragments * headers);
        self.later += fragments - 1;
    }
}

fn key(client: (IpAddr, u16), server: (IpAddr, u16), ip_protocol: u8) -> FlowKey {
    FlowKey {
        client: SocketAddr::from(client),
        server: SocketAddr::from(server),
        ip_protocol,
    }
}

#[rstest]
#[case::tc("tc")]
#[case::generic_xdp("xdp-generic")]
fn fragments_are_in_the_flow_of_their_packet(#[case] hook: &str) {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let installation = Installation::new(&format!("{{ {LINK}: {{ hook: {hook} }} }}"), "1d");
    let agent = installation.start(&testbed.host);
    let mut expected = Expected::default();
    for (host, peer) in [(HOST_V4, PEER_V4), (HOST_V6, PEER_V6)] {
        in_order(&testbed, host, peer, &mut expected);
        in_disorder(&testbed, host, peer, &mut expected);
        without_the_first(&testbed, host, peer, &mut expected);
    }
    eventually("all fragments are seen", || {
        let seen = agent.metrics().sum("probe_packets_seen_total", "");
        (seen.cast_unsigned() >= expected.packets).then_some(())
    });
    assert!(agent.terminate().success(), "the agent's exit code");

    let json = installation.json();
    assert_same_flows(&stored_flows(&json), &expected.flows);
    assert_nothing_lost(&json);
    let intervals = stored_intervals(&json);
    let noted = |note| -> i64 { intervals.iter().map(|it| it.ledger(note)).sum() };
    assert_eq!(noted("later_fragments").cast_unsigned(), expected.later);
    assert_eq!(
        noted("unattributed_fragments").cast_unsigned(),
        expected.unattributed
    );
}

/// Datagrams in both directions, and echo requests with their replies.
fn in_order(testbed: &Testbed, host: IpAddr, peer: IpAddr, expected: &mut Expected) {
    const PINGS: usize = 5;
    let bind = |namespace: &Namespace, end: (IpAddr, u16)| {
        let socket = namespace.enter(|| UdpSocket::bind(end).expect("a socket"));
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket
    };
    let ends = [(host, 40_000), (peer, 7000)];
    let [client, server] = [bind(&testbed.host, ends[0]), bind(&testbed.peer, ends[1])];
    for (from, to, [src, dst]) in [
        (&client, &server, ends),
        (&server, &client, [ends[1], ends[0]]),
    ] {
        from.send_to(&vec![0x5a; PAYLOAD], dst).expect("sent");
        let received = to.recv(&mut vec![0; PAYLOAD + 1]).expect("put together");
        assert_eq!(received, PAYLOAD);
        expected.add_cut_by_kernel(key(src, dst, UDP));
    }
    ping(&testbed.host, peer, PAYLOAD);
    let protocol = if host.is_ipv4() { ICMP } else { ICMPV6 };
    for _ in 0..PINGS {
        expected.add_cut_by_kernel(key((host, 0), (peer, 0), protocol));
        expected.add_cut_by_kernel(key((peer, 0), (host, 0), protocol));
    }
}

/// Crafted ones from the peer: reversed, in disorder with duplicates, and two packets mixed.
fn in_disorder(testbed: &Testbed, host: IpAddr, peer: IpAddr, expected: &mut Expected) {
    let echo = if host.is_ipv4() { ICMP } else { ICMPV6 };
    for (ip_protocol, port) in [(UDP, 40_001), (echo, 0)] {
        let of = |port, id| Crafted {
            src: (peer, port),
            dst: (host, if port == 0 { 0 } else { 7000 }),
            ip_protocol,
            // In IPv6 one identification is of one packet, whatever the protocol.
            id: id + u16::from(ip_protocol),
            payload: PAYLOAD,
        };
        let other_port = if port == 0 { 0 } else { port + 1 };
        let [alone, mixed, other] = [of(port, 1000), of(port, 2000), of(other_port, 3000)];
        let reversed = alone.fragments(Order::Reversed);
        let twice = mixed.fragments(Order::DisorderedTwice);
        let reversed_too = other.fragments(Order::Reversed);
        for (crafted, fragments) in [(alone, &reversed), (mixed, &twice), (other, &reversed_too)] {
            let octets = fragments.iter().map(|fragment| fragment.len() as u64).sum();
            expected.add(
                key(crafted.src, crafted.dst, ip_protocol),
                fragments.len() as u64,
                octets,
            );
        }
        let firsts = 1 + 2 + 1;
        expected.later += (reversed.len() + twice.len() + reversed_too.len()) as u64 - firsts;
        alone.send(&testbed.peer, &reversed);
        // Fragment by fragment of one and the other, then the rest.
        let mut one = twice.into_iter();
        let mut both = Vec::new();
        for fragment in reversed_too {
            both.extend(one.next());
            both.push(fragment);
        }
        both.extend(one);
        mixed.send(&testbed.peer, &both);
    }
}

/// Crafted ones of which the first is never sent.
fn without_the_first(testbed: &Testbed, host: IpAddr, peer: IpAddr, expected: &mut Expected) {
    let echo = if host.is_ipv4() { ICMP } else { ICMPV6 };
    for ip_protocol in [UDP, echo] {
        let crafted = Crafted {
            src: (peer, 40_003),
            dst: (host, 7000),
            ip_protocol,
            id: 300 + u16::from(ip_protocol),
            payload: PAYLOAD,
        };
        let mut fragments = crafted.fragments(Order::Reversed);
        fragments.pop();
        let octets = fragments.iter().map(|fragment| fragment.len() as u64).sum();
        let packets = fragments.len() as u64;
        expected.add(key((peer, 0), (host, 0), ip_protocol), packets, octets);
        expected.later += packets;
        expected.unattributed += packets;
        crafted.send(&testbed.peer, &fragments);
    }
}
