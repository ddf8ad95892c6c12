//! Super-packets at the hooks of TC are counted as the segments that are on the wire.
//!
//! The truth comes from the sender: the segments that its TCP says it sent, or datagrams of a known
//! number. The offloads are on at both ends, so that super-packets cross the link whole and both
//! the hooks of the sender and of the receiver meet them.

use std::{
    fs,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
};

use probe_common::headers::ip_protocol::{TCP, UDP};
use rstest::rstest;

use super::{
    PATIENCE,
    agent::Installation,
    eventually,
    flows::{Counts, assert_nothing_lost, stored_flows, total},
    link_kinds::assert_counted_below,
    netns::Namespace,
    run, skip,
    testbed::{HOST_V4, HOST_V6, LINK, Offloads, PEER_LINK, PEER_V4, PEER_V6, Testbed},
    topology::{self, Kind, LOWER, PEER_LOWER, connect},
};

pub(crate) const SEND_SEGMENTS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/send_segments.py");

/// Octets of the TCP options of a segment (the time stamps), and how many more the SYN has.
const TCP_OPTIONS: u64 = 12;
const MORE_IN_SYN: u64 = 8;

/// Octets of a transfer.
const PAYLOAD: u64 = 16 << 20;

/// Super-packets are handed on whole by both ends of the link.
pub(crate) fn testbed_with_super_packets(largest: Option<u32>) -> Testbed {
    let testbed = Testbed::new(Offloads::On);
    for (namespace, link) in [(&testbed.host, LINK), (&testbed.peer, PEER_LINK)] {
        // Segments that overtake each other on a busy machine would be answered with one more option.
        let mut sysctl = namespace.command("sysctl");
        run(sysctl.args(["-q", "-w", "net.ipv4.tcp_sack=0"]));
        let mut ethtool = namespace.command("ethtool");
        run(ethtool.args([
            "-K",
            link,
            "tso",
            "on",
            "tx-udp-segmentation",
            "on",
            "gso",
            "on",
        ]));
        if let Some(largest) = largest {
            namespace.ip(&format!(
                "link set {link} gso_max_size {largest} gro_max_size {largest}\n"
            ));
        }
    }
    testbed
}

/// 16 MiB over one connection, from the host and to the host.
#[rstest]
fn tcp_segments_are_those_that_the_sender_counts(
    #[values(4, 6)] family: u8,
    // 185,000 octets: with IPv6 above 64 KiB there is a jumbo payload option that no wire has.
    #[values(None, Some(185_000))] largest: Option<u32>,
    #[values(true, false)] is_sent: bool,
) {
    if !skip::kernel_or_skip(&["ip", "ethtool", "sysctl"]) {
        return;
    }
    // The octets of what TCP sends again are not known: then once more.
    let measured = (0..5).find_map(|_| measure(family, largest, is_sent));
    let Measured {
        counts,
        segments,
        packets,
    } = measured.expect("no transfer without repetition");
    let [sent, received] = segments;
    let [more_sent, more_received] = if is_sent { [PAYLOAD, 0] } else { [0, PAYLOAD] };
    let header_octets = if family == 4 { 20 } else { 40 } + 20 + TCP_OPTIONS;
    let octets = |segments, payload| segments * header_octets + MORE_IN_SYN + payload;
    assert_eq!((counts.packets_sent, counts.packets_rcvd), (sent, received));
    assert_eq!(counts.bytes_sent, octets(sent, more_sent));
    assert_eq!(counts.bytes_rcvd, octets(received, more_received));
    // Otherwise the test shows nothing.
    assert!(
        packets * 5 < sent.max(received),
        "{packets} packets were sent, for {sent} segments"
    );
}

struct Measured {
    /// By the agent.
    counts: Counts,
    /// By TCP, of the host and of the peer.
    segments: [u64; 2],
    /// By the link of the sender: super-packets as one.
    packets: u64,
}

/// A transfer between ends of their own; `None` if anything was sent more than once.
#[track_caller]
fn measure(family: u8, largest: Option<u32>, is_sent: bool) -> Option<Measured> {
    let testbed = testbed_with_super_packets(largest);
    let installation = Installation::new(&format!("{{ {LINK}: {{ hook: tc }} }}"), "1d");
    let agent = installation.start(&testbed.host);
    let segments = transfer_once(&testbed, family, is_sent);
    agent.settled_metrics();
    let packets = super_packets_sent(&testbed, is_sent, [LINK, PEER_LINK]);
    assert!(agent.terminate().success(), "the agent's exit code");
    Some(Measured {
        counts: counts_of(&installation.json(), TCP),
        segments: segments?,
        packets,
    })
}

/// On the link below a tunnel each segment has the tunnel's headers and all of its own.
#[rstest]
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
fn segments_in_tunnels_are_counted_with_all_their_headers(
    #[case] kind: Kind,
    #[values(4, 6)] family: u8,
    #[values(true, false)] is_sent: bool,
) {
    if !skip::kernel_or_skip(&["ip"]) || !kind.families.contains(&family) {
        return;
    }
    // In a loud hour a neighbour takes the CPU for so long that TCP sends again, in several in a row.
    for _ in 0..20 {
        let Some(connected) = connect(kind) else {
            skip::not_in_this_kernel(&format!("links of type {}", kind.name));
            return;
        };
        let testbed = &connected.testbed;
        let config = format!("{{ {LINK}: {{ hook: tc }}, {LOWER}: {{ hook: tc }} }}");
        let installation = Installation::new(&config, "1d");
        let agent = installation.start(&testbed.host);
        let segments = transfer_once(testbed, family, is_sent);
        agent.settled_metrics();
        let packets = super_packets_sent(testbed, is_sent, [LOWER, PEER_LOWER]);
        assert!(agent.terminate().success(), "the agent's exit code");
        let Some([sent, received]) = segments else {
            continue;
        };
        let json = installation.json();
        assert_nothing_lost(&json);
        let inside = counts_of(&json.join(format!("iface={LINK}")), TCP);
        assert_eq!((inside.packets_sent, inside.packets_rcvd), (sent, received));
        assert_counted_below(&json, kind.below, &inside);
        assert!(
            packets * 5 < sent.max(received),
            "{packets} packets were sent below"
        );
        return;
    }
    panic!("no transfer without repetition");
}

/// Sends the payload to the peer or has it sent; the segments that each end sent, or `None` if
/// anything was sent more than once.
#[track_caller]
fn transfer_once(testbed: &Testbed, family: u8, is_sent: bool) -> Option<[u64; 2]> {
    let (host, peer) = ends(family);
    if is_sent {
        transfer(&testbed.host, &testbed.peer, peer, PAYLOAD);
    } else {
        transfer(&testbed.peer, &testbed.host, host, PAYLOAD);
    }
    testbed.wait_until_quiet();
    let counters =
        |name| [&testbed.host, &testbed.peer].map(|namespace| tcp_counter(namespace, name));
    (counters("RetransSegs") == [0; 2]).then(|| counters("OutSegs"))
}

/// Ten writes of 20,500 octets: 20 datagrams of 1,000 and one of 500 each.
#[rstest]
#[case::v4(4, "", true)]
#[case::v6(6, "", true)]
// Router alert and four times "no operation".
#[case::v4_with_options(4, "9404000001010101", true)]
// The kernel cuts these before the link has them.
#[case::v6_with_destination_options(6, "0000010400000000", false)]
fn udp_segments_are_known(
    #[case] family: u8,
    #[case] options: &str,
    #[case] is_whole: bool,
    #[values(true, false)] is_sent: bool,
) {
    const WRITES: u64 = 10;
    const OCTETS: u64 = 20_500;
    const DATAGRAMS: u64 = 21;
    if !skip::kernel_or_skip(&["ip", "ethtool", "python3"]) {
        return;
    }
    let testbed = testbed_with_super_packets(None);
    let installation = Installation::new(&format!("{{ {LINK}: {{ hook: tc }} }}"), "1d");
    let agent = installation.start(&testbed.host);
    let (host, peer) = ends(family);
    let (sender, from, to) = if is_sent {
        (&testbed.host, host, peer)
    } else {
        (&testbed.peer, peer, host)
    };
    let mut python = sender.command("python3");
    python.args([
        SEND_SEGMENTS,
        &from.to_string(),
        &to.to_string(),
        "7000",
        "1000",
    ]);
    python.args([OCTETS.to_string(), WRITES.to_string()]);
    if !options.is_empty() {
        python.arg(options);
    }
    run(&mut python);
    let datagrams = i64::try_from(WRITES * DATAGRAMS).expect("few");
    eventually("all datagrams are seen", || {
        let seen = agent.metrics().sum("probe_packets_seen_total", "");
        (seen >= datagrams).then_some(())
    });
    agent.settled_metrics();
    let packets = super_packets_sent(&testbed, is_sent, [LINK, PEER_LINK]);
    assert!(agent.terminate().success(), "the agent's exit code");

    let header_octets = if family == 4 { 20 } else { 40 } + 8 + options.len() as u64 / 2;
    let counts = counts_of(&installation.json(), UDP);
    let expected = (
        WRITES * DATAGRAMS,
        WRITES * (OCTETS + DATAGRAMS * header_octets),
    );
    let counted = if is_sent {
        (counts.packets_sent, counts.bytes_sent)
    } else {
        (counts.packets_rcvd, counts.bytes_rcvd)
    };
    assert_eq!(counted, expected);
    assert_eq!(
        packets < WRITES * DATAGRAMS / 5,
        is_whole,
        "{packets} packets were sent"
    );
}

/// XDP is not told of segments, and the generic one does not keep the peer from sending
/// super-packets: the limit that docs/LINKS.md states. `auto` never comes to it.
#[test]
fn generic_xdp_sees_super_packets_as_one() {
    if !skip::kernel_or_skip(&["ip", "ethtool", "python3"]) {
        return;
    }
    let testbed = testbed_with_super_packets(None);
    let config = format!("{{ {LINK}: {{ hook: xdp-generic }} }}");
    let installation = Installation::new(&config, "1d");
    let agent = installation.start(&testbed.host);
    let mut python = testbed.peer.command("python3");
    let ends = [PEER_V4, HOST_V4].map(|end| end.to_string());
    run(python
        .arg(SEND_SEGMENTS)
        .args(ends)
        .args(["7000", "1000", "20500", "10"]));
    eventually("all are seen", || {
        let seen = agent.metrics().sum("probe_packets_seen_total", "");
        (seen >= 10).then_some(())
    });
    agent.settled_metrics();
    assert!(agent.terminate().success(), "the agent's exit code");
    let counts = counts_of(&installation.json(), UDP);
    assert_eq!((counts.packets_rcvd, counts.bytes_rcvd), (10, 10 * 20_528));
}

const fn ends(family: u8) -> (IpAddr, IpAddr) {
    if family == 4 {
        (HOST_V4, PEER_V4)
    } else {
        (HOST_V6, PEER_V6)
    }
}

/// All flows of the protocol; the traffic of the test is one.
#[track_caller]
fn counts_of(tree: &Path, ip_protocol: u8) -> Counts {
    assert_nothing_lost(tree);
    let flows = stored_flows(tree);
    total(
        flows
            .iter()
            .filter(|(key, _)| key.ip_protocol == ip_protocol)
            .map(|(_, counts)| counts),
    )
}

/// A counter of TCP since the namespace exists (RFC 4022): `OutSegs`, which in Linux leaves out
/// what is sent again, and `RetransSegs`.
#[track_caller]
fn tcp_counter(namespace: &Namespace, name: &str) -> u64 {
    let text = namespace.enter(|| fs::read_to_string("/proc/thread-self/net/snmp"));
    let text = text.expect("counters");
    let lines: Vec<Vec<_>> = text
        .lines()
        .filter_map(|line| Some(line.strip_prefix("Tcp: ")?.split(' ').collect()))
        .collect();
    let [names, values] = &lines[..] else {
        panic!("two lines of TCP: {text}");
    };
    let position = names.iter().position(|it| *it == name).expect("a counter");
    values[position].parse().expect("a number")
}

/// Packets that the sending end of a link has sent, super-packets as one.
#[track_caller]
fn super_packets_sent(testbed: &Testbed, is_sent: bool, links: [&str; 2]) -> u64 {
    let (namespace, link) = if is_sent {
        (&testbed.host, links[0])
    } else {
        (&testbed.peer, links[1])
    };
    let mut ip = Command::new("ip");
    ip.args([
        "-netns",
        namespace.name(),
        "-json",
        "-statistics",
        "link",
        "show",
        link,
    ]);
    let shown: serde_json::Value = serde_json::from_str(&run(&mut ip)).expect("JSON");
    shown[0]["stats64"]["tx"]["packets"]
        .as_u64()
        .expect("a number")
}

/// Sends so many octets over one connection.
#[track_caller]
fn transfer(client: &Namespace, server: &Namespace, to: IpAddr, octets: u64) {
    let address = SocketAddr::new(to, 7000);
    let listener = server.enter(|| TcpListener::bind(address).expect("a listener"));
    let receiving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut chunk = vec![0; 1 << 20];
        let mut received = 0;
        loop {
            match stream.read(&mut chunk).expect("received") {
                0 => return received,
                octets => received += octets as u64,
            }
        }
    });
    client.enter(|| {
        let mut stream = TcpStream::connect(address).expect("connected");
        let chunk = vec![0; 1 << 20];
        for _ in 0..octets / chunk.len() as u64 {
            stream.write_all(&chunk).expect("sent");
        }
    });
    assert_eq!(receiving.join().expect("received all"), octets);
}
