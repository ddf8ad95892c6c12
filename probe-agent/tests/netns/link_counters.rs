//! What the kernel's counters of a link count, by its kind: docs/LEDGER.md has the table, and this keeps it
//! true. No agent is needed for it.

use std::collections::BTreeMap;

use super::{
    eventually,
    netns::Namespace,
    skip,
    testbed::{HOST_V4, HOST_V6, LINK, PEER_V4, PEER_V6, Testbed},
    topology::*,
    traffic::Conversation,
};

/// Compiled in, since this also runs in guests of kernels that know more kinds: see `cargo xtask kernels`.
const PAGE: &str = include_str!("../../../docs/LEDGER.md");

/// Octets of the payload of each datagram; with its headers it is a packet of 128 or 148.
const PAYLOAD: usize = 100;
/// Datagrams that are asked with; one more is the answer.
const DATAGRAMS: u32 = 20;
/// Packets each way: either end asks once.
const PACKETS: u32 = DATAGRAMS + 1;

const KINDS: [Kind; 18] = [
    VETH, BRIDGE, BOND, TEAM, VLAN, MACVLAN, IPVLAN, MACSEC, VXLAN, GENEVE, GRETAP, L2TP, GRE,
    IPIP, SIT, WIREGUARD, PPP, TUN,
];

/// What a link counted, in the order of [`octets_beside_ip`]: packets and octets received, and sent.
type Counted = [i64; 4];

#[test]
fn the_page_says_what_the_counters_of_each_kind_count() {
    let tools = KINDS.iter().flat_map(|kind| kind.tools);
    let tools: Vec<_> = tools.copied().chain(["ip"]).collect();
    if !skip::kernel_or_skip(&tools) {
        return;
    }
    let stated = rows(PAGE);
    let measured: BTreeMap<_, _> = KINDS
        .into_iter()
        .filter_map(|kind| Some((kind.name, measure(kind)?)))
        .chain([("loopback", measure_loopback())])
        .collect();
    // A kernel without a kind cannot contradict its row.
    let known: BTreeMap<_, _> = measured
        .keys()
        .filter_map(|kind| Some((*kind, *stated.get(kind)?)))
        .collect();
    assert_eq!(measured, known, "measured, and in docs/LEDGER.md");
}

/// The rows of the table: kind, octets beside IP received, and sent.
fn rows(page: &str) -> BTreeMap<&str, [i64; 2]> {
    let table = page
        .split_once("<!-- link-counters -->")
        .and_then(|(_, rest)| rest.split_once("<!-- /link-counters -->"));
    let (table, _) = table.expect("the table is marked");
    table
        .lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let [_, kinds, received, sent, ..] = cells[..] else {
                return None;
            };
            let octets = [received.parse().ok()?, sent.parse().ok()?];
            Some(
                kinds
                    .split(", ")
                    .map(move |kind| (kind.trim_matches('`'), octets)),
            )
        })
        .flatten()
        .collect()
}

/// Octets beside the IP packet that a link of this kind counts for each, received and sent. `None` if the
/// kernel does not know the kind.
#[track_caller]
fn measure(kind: Kind) -> Option<[i64; 2]> {
    let Connected { testbed, .. } = &connect(kind)?;
    let (host, peer, ip_octets) = if kind.families.contains(&4) {
        (HOST_V4, PEER_V4, 128)
    } else {
        (HOST_V6, PEER_V6, 148)
    };
    let ends = [(&testbed.host, host), (&testbed.peer, peer)];
    Some(octets_beside_ip(
        &testbed.host,
        LINK,
        ip_octets,
        PACKETS,
        || {
            Conversation::new(ends[0], ends[1], PAYLOAD).talk(DATAGRAMS.into());
            Conversation::new(ends[1], ends[0], PAYLOAD).talk(DATAGRAMS.into());
        },
    ))
}

#[track_caller]
fn measure_loopback() -> [i64; 2] {
    let testbed = Testbed::without_links();
    testbed
        .host
        .ip(&format!("address add {HOST_V4}/32 dev lo\n"));
    let end = (&testbed.host, HOST_V4);
    octets_beside_ip(&testbed.host, "lo", 128, PACKETS, || {
        Conversation::new(end, end, PAYLOAD).talk(DATAGRAMS.into());
    })
}

/// Lets the packets pass until nothing else did meanwhile, such as what links say when they come up.
#[track_caller]
fn octets_beside_ip(
    host: &Namespace,
    link: &str,
    ip_octets: i64,
    packets: u32,
    traffic: impl Fn(),
) -> [i64; 2] {
    let packets = i64::from(packets);
    eventually(&format!("nothing else passes {link}"), || {
        let before = counted(host, link);
        traffic();
        let after = counted(host, link);
        let [received, received_octets, sent, sent_octets] =
            std::array::from_fn(|field| after[field] - before[field]);
        ([received, sent] == [packets; 2]).then(|| {
            [received_octets, sent_octets].map(|octets| {
                assert_eq!(octets % packets, 0, "all packets are alike");
                octets / packets - ip_octets
            })
        })
    })
}

fn counted(host: &Namespace, link: &str) -> Counted {
    let table = counters(host);
    let prefix = format!("{link}:");
    let line = table
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(&prefix))
        .expect("the link is there");
    let fields: Vec<i64> = line
        .split_whitespace()
        .map(|field| field.parse().expect("a number"))
        .collect();
    [fields[1], fields[0], fields[9], fields[8]]
}
