//! Every kind of link that this kernel can make: the flows of known traffic, on the link and on the
//! one below it, and the traffic unharmed.
//!
//! Each kind has a test with an agent of its own. One more test takes all of them in turn under one
//! agent; `cargo xtask kernels` runs that one in kernels that have more kinds than this one.

mod observer;

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Instant,
};

use self::observer::{Observer, SharedAgent};
use super::{
    flows::{
        Counts, FlowKey, Flows, assert_nothing_lost, assert_same_flows, stored_flows,
        stored_intervals, total,
    },
    generators::ping,
    run, skip,
    testbed::{
        HOST_MAC, HOST_V4, HOST_V6, LINK, PEER_MAC, PEER_V4, PEER_V6, Testbed, wait_until_up,
    },
    topology::*,
    traffic::Conversation,
};

/// What `ping` sends and gets back.
const PINGS: u64 = 5;
const PING_OCTETS: u16 = 200;

/// Octets of a datagram that nobody answers.
const DATAGRAM_OCTETS: u16 = 500;

/// Links and their traffic.
#[derive(Clone, Copy, Debug)]
enum Scenario {
    /// A link between the two ends of the testbed.
    Ends(Kind),
    /// The loopback device sends to itself: each packet is seen once as sent and once as received.
    Loopback,
    /// What a redirection sends through an ifb device counts there as sent, and on the link it came
    /// from as received: once.
    Ifb,
    /// What is sent to a dummy device goes nowhere, and was sent all the same.
    Dummy,
}

/// Declares the scenarios: a test for each, and the list of all.
macro_rules! scenarios {
    ($($name:ident: $scenario:expr,)*) => {
        const SCENARIOS: &[(&str, Scenario)] = &[$((stringify!($name), $scenario)),*];

        mod known_traffic_is_counted {
            use super::{super::topology::*, Scenario::*, alone};
            $(
                #[test]
                fn $name() {
                    alone($scenario);
                }
            )*
        }
    };
}

use Scenario::{Dummy, Ends, Ifb, Loopback};

scenarios! {
    veth: Ends(VETH),
    bridge: Ends(BRIDGE),
    bond: Ends(BOND),
    team: Ends(TEAM),
    vlan: Ends(VLAN),
    macvlan: Ends(MACVLAN),
    ipvlan: Ends(IPVLAN),
    macsec: Ends(MACSEC),
    vxlan: Ends(VXLAN),
    vxlan_over_ipv6: Ends(VXLAN6),
    geneve: Ends(GENEVE),
    gretap: Ends(GRETAP),
    ip6gretap: Ends(IP6GRETAP),
    l2tp: Ends(L2TP),
    gre: Ends(GRE),
    gre_with_key: Ends(GRE_KEY),
    ipip: Ends(IPIP),
    sit: Ends(SIT),
    ip6tnl: Ends(IP6TNL),
    ip6gre: Ends(IP6GRE),
    wireguard: Ends(WIREGUARD),
    ppp: Ends(PPP),
    tap: Ends(TAP),
    tun: Ends(TUN),
    ifb: Ifb,
    dummy: Dummy,
    loopback: Loopback,
}

/// What came of a scenario that did not fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Counted,
    /// The kernel has no such links.
    Absent,
}

/// Runs a scenario with an agent of its own.
#[track_caller]
fn alone(scenario: Scenario) {
    if !skip::kernel_or_skip(scenario.tools()) || !skip::kernel_or_skip(&["ip", "ping"]) {
        return;
    }
    let testbed = Testbed::without_links();
    if scenario.play(&testbed, &Observer::Own) == Outcome::Absent {
        skip::not_in_this_kernel(&format!("links of type {}", scenario.kind()));
    }
}

/// Links of every kind come and go under one agent. A line for each kind says what came of it:
/// `cargo xtask kernels` reads these lines.
#[test]
fn all_kinds_in_turn_under_one_agent() {
    let of_all = SCENARIOS.iter().flat_map(|(_, scenario)| scenario.tools());
    let tools: Vec<_> = of_all.copied().chain(["ip", "ping"]).collect();
    if !skip::kernel_or_skip(&tools) {
        return;
    }
    let testbed = Testbed::without_links();
    let agent = SharedAgent::start(&testbed);
    let mut failed = Vec::new();
    for (name, scenario) in SCENARIOS {
        let started = Instant::now();
        let play = || scenario.play(&testbed, &Observer::Shared(&agent));
        let outcome = match catch_unwind(AssertUnwindSafe(play)) {
            Ok(Outcome::Counted) => "counted",
            Ok(Outcome::Absent) => "absent",
            Err(_) => {
                failed.push(name);
                "failed"
            }
        };
        println!(
            "kind {name} {outcome} {:.1} s",
            started.elapsed().as_secs_f64()
        );
        agent.forget(&testbed);
    }
    assert!(failed.is_empty(), "{failed:?}");
    assert!(agent.terminate().success(), "the agent's exit code");
}

impl Scenario {
    const fn tools(self) -> &'static [&'static str] {
        match self {
            Ends(kind) => kind.tools,
            Ifb => &["tc"],
            Loopback | Dummy => &[],
        }
    }

    /// As `ip link add … type` has it.
    const fn kind(self) -> &'static str {
        match self {
            Ends(kind) => kind.name,
            Ifb => "ifb",
            Loopback => "loopback",
            Dummy => "dummy",
        }
    }

    /// Makes the links, observes the traffic and compares.
    #[track_caller]
    fn play(self, testbed: &Testbed, observer: &Observer<'_>) -> Outcome {
        match self {
            Ends(kind) => between_ends(kind, testbed, observer),
            Loopback => on_loopback(testbed, observer),
            Ifb => redirected(testbed, observer),
            Dummy => into_the_void(testbed, observer),
        }
    }
}

#[track_caller]
fn between_ends(kind: Kind, testbed: &Testbed, observer: &Observer<'_>) -> Outcome {
    let Some(_made) = connect_in(testbed, kind) else {
        return Outcome::Absent;
    };
    let links = match kind.below {
        Below::Nothing => &[LINK][..],
        _ => &[LINK, LOWER],
    };
    let (stored, expected) = observer.observe(testbed, links, || drive(testbed, kind.families));
    assert_same_flows(&stored_flows(&stored.of(LINK)), &expected);
    assert_nothing_lost(stored.all());
    let lower = stored.of(LOWER);
    match kind.below {
        Below::Nothing => {}
        Below::Same => assert_same_flows(&stored_flows(&lower), &expected),
        Below::Tunnel(_) => {
            assert_eq!(tunnelled(&lower), kind.below.around(expected.values()));
        }
        Below::Padded(_) => {
            assert_same_but_keepalives(tunnelled(&lower), kind.below.around(expected.values()));
        }
        Below::Hidden => assert_hidden(&lower, &stored.of(LINK)),
    }
    Outcome::Counted
}

/// Fails unless the link below a tunnel has the packets of the tunnel, each with more headers.
#[track_caller]
pub(super) fn assert_counted_below(json: &Path, below: Below, inside: &Counts) {
    let around = tunnelled(&json.join(format!("iface={LOWER}")));
    assert_eq!(around, below.around([inside]));
}

/// WireGuard answers with an empty message where it had nothing else to send for ten seconds.
#[track_caller]
fn assert_same_but_keepalives(counted: Counts, expected: Counts) {
    const MOST: u64 = 4;
    for (counted, expected) in [
        (
            (counted.packets_rcvd, counted.bytes_rcvd),
            (expected.packets_rcvd, expected.bytes_rcvd),
        ),
        (
            (counted.packets_sent, counted.bytes_sent),
            (expected.packets_sent, expected.bytes_sent),
        ),
    ] {
        let keepalives = counted.0.checked_sub(expected.0);
        let keepalives = keepalives.filter(|keepalives| *keepalives <= MOST);
        let octets = keepalives.map(|keepalives| expected.1 + keepalives * KEEPALIVE_OCTETS);
        assert_eq!(octets, Some(counted.1), "{counted:?} {expected:?}");
    }
}

/// Fails unless the link below has as many frames as the link above, with the few that are no IP (ARP, where
/// the kernel asks again for a neighbour), and none of them is IP to it.
#[track_caller]
fn assert_hidden(below: &Path, above: &Path) {
    let seen = |tree| -> i64 {
        let intervals = stored_intervals(tree);
        intervals.iter().map(|it| it.ledger("seen")).sum()
    };
    let intervals = stored_intervals(below);
    let losses = intervals.iter().map(|it| &it.ledger["losses"]);
    let hidden: i64 = losses.filter_map(|it| it["non_ip"].as_i64()).sum();
    assert_eq!((seen(below), hidden), (seen(above), seen(above)));
    assert_eq!(stored_flows(below), Flows::new());
}

#[track_caller]
fn on_loopback(testbed: &Testbed, observer: &Observer<'_>) -> Outcome {
    testbed.host.ip(&format!(
        "address add {HOST_V4}/32 dev lo\naddress add {HOST_V6}/128 dev lo nodad\n"
    ));
    let (stored, expected) = observer.observe(testbed, &["lo"], || {
        let mut expected = Flows::new();
        for host in [HOST_V4, HOST_V6] {
            ping(&testbed.host, host, PING_OCTETS.into());
            let (key, mut counts) = pings(host, host);
            // Requests and replies: five each way at each of the two hooks.
            counts += counts;
            expected.insert(key, counts);
        }
        expected
    });
    assert_same_flows(&stored_flows(stored.all()), &expected);
    assert_nothing_lost(stored.all());
    Outcome::Counted
}

#[track_caller]
fn redirected(testbed: &Testbed, observer: &Observer<'_>) -> Outcome {
    if !is_known(&testbed.host, "ifb") {
        return Outcome::Absent;
    }
    let _made = connect_in(testbed, VETH).expect("every kernel has veth");
    testbed.host.ip(&format!(
        "link add {IFB} type ifb\nlink set {IFB} addrgenmode none\nlink set {IFB} up\n"
    ));
    for words in [
        // Not `ingress`, beside which there is no room for clsact, where there is no TCX.
        "qdisc add dev probe0 clsact",
        // Every packet: a mask of nothing.
        "filter add dev probe0 ingress protocol all u32 match u32 0 0 \
         action mirred egress redirect dev ifb0",
    ] {
        run(testbed.host.command("tc").args(words.split_whitespace()));
    }
    let (stored, expected) = observer.observe(testbed, &[LINK, IFB], || drive(testbed, &[4, 6]));
    assert_nothing_lost(stored.all());
    assert_same_flows(&stored_flows(&stored.of(LINK)), &expected);
    let received = total(expected.values());
    let through = total(stored_flows(&stored.of(IFB)).values());
    let as_sent = Counts {
        packets_sent: received.packets_rcvd,
        bytes_sent: received.bytes_rcvd,
        ..Counts::default()
    };
    assert_eq!(through, as_sent);
    Outcome::Counted
}

#[track_caller]
fn into_the_void(testbed: &Testbed, observer: &Observer<'_>) -> Outcome {
    const DATAGRAMS: u64 = 20;
    if !is_known(&testbed.host, "dummy") {
        return Outcome::Absent;
    }
    testbed.host.ip(&format!(
        "link add {LINK} address {HOST_MAC} type dummy\n\
         link set {LINK} addrgenmode none\n\
         address add {HOST_V4}/24 dev {LINK}\n\
         address add {HOST_V6}/64 dev {LINK} nodad\n\
         link set {LINK} up\n\
         neighbour replace {PEER_V4} lladdr {PEER_MAC} dev {LINK} nud permanent\n\
         neighbour replace {PEER_V6} lladdr {PEER_MAC} dev {LINK} nud permanent\n"
    ));
    wait_until_up(&testbed.host, LINK);
    let (stored, expected) = observer.observe(testbed, &[LINK], || {
        let mut expected = Flows::new();
        for (host, peer, header_octets) in [(HOST_V4, PEER_V4, 28), (HOST_V6, PEER_V6, 48)] {
            let (client, server) = (SocketAddr::new(host, 40000), SocketAddr::new(peer, 7000));
            let socket = testbed
                .host
                .enter(|| UdpSocket::bind(client).expect("a free port"));
            for _ in 0..DATAGRAMS {
                let datagram = [0; DATAGRAM_OCTETS as usize];
                socket.send_to(&datagram, server).expect("sent");
            }
            let key = FlowKey {
                client,
                server,
                ip_protocol: 17,
            };
            let counts = Counts {
                packets_sent: DATAGRAMS,
                bytes_sent: DATAGRAMS * (u64::from(DATAGRAM_OCTETS) + header_octets),
                ..Counts::default()
            };
            expected.insert(key, counts);
        }
        expected
    });
    assert_nothing_lost(stored.all());
    assert_same_flows(&stored_flows(stored.all()), &expected);
    Outcome::Counted
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
