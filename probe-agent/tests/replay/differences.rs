//! Where the product's rules differ from the oracle's definition, on purpose, packet by packet.
//!
//! The counts were taken with tshark, by filters on the link header. Anything that is not listed
//! here must be equal.

use std::net::IpAddr;

use probe_flow::ledger::Loss;

use crate::{
    oracle::Oracle,
    play::{Key, Table},
};

/// What the product counts in one capture beyond the oracle.
struct Difference {
    capture: &'static str,
    reason: &'static str,
    /// Packets that are `non_ip` in the oracle and flows here.
    flows: &'static [Row],
    /// The same for later fragments.
    fragments: &'static [Row],
    /// Octets that headers state and frames do not have: in the oracle's flows and fragments, not here.
    beyond_frame: &'static [Row],
}

/// Source, its port, destination, its port, protocol; packets and octets to add.
type Row = (&'static str, u16, &'static str, u16, u8, u64, u64);

const DIFFERENCES: &[Difference] = &[
    Difference {
        capture: "goprobe__default.pcap",
        reason: "IP behind PPPoE is parsed: telephony, DS-Lite",
        flows: &[
            (
                "84.146.135.221",
                7078,
                "217.0.5.215",
                5690,
                17,
                1039,
                207_800,
            ),
            (
                "217.0.5.215",
                5690,
                "84.146.135.221",
                7078,
                17,
                1028,
                205_600,
            ),
            (
                "84.146.135.221",
                7078,
                "217.0.5.215",
                15020,
                17,
                1286,
                257_200,
            ),
            (
                "217.0.5.215",
                15020,
                "84.146.135.221",
                7078,
                17,
                1276,
                255_200,
            ),
            (
                "84.146.135.221",
                7078,
                "217.0.5.215",
                35192,
                17,
                922,
                184_400,
            ),
            (
                "217.0.5.215",
                35192,
                "84.146.135.221",
                7078,
                17,
                911,
                182_200,
            ),
            ("84.146.135.221", 5060, "217.0.21.65", 5060, 17, 12, 9047),
            ("217.0.21.65", 5060, "84.146.135.221", 5060, 17, 9, 8411),
            ("84.146.135.221", 0, "217.0.5.215", 0, 1, 2, 456),
            (
                "2001:1438:fff:b::1",
                0,
                "2001:16b8:6503:8880:cece:1eff:fe5b:c493",
                0,
                4,
                40,
                38142,
            ),
            (
                "2001:16b8:6503:8880:cece:1eff:fe5b:c493",
                0,
                "2001:1438:fff:b::1",
                0,
                4,
                38,
                5234,
            ),
            (
                "fe80::462b:3ff:fe19:300",
                547,
                "fe80::be05:43ff:fecc:c2a9",
                546,
                17,
                97,
                15621,
            ),
            (
                "fe80::462b:3ff:fe19:300",
                547,
                "fe80::d621:22ff:fe76:5b79",
                546,
                17,
                1,
                169,
            ),
            (
                "fe80::be05:43ff:fecc:c2a9",
                546,
                "ff02::1:2",
                547,
                17,
                97,
                15219,
            ),
            (
                "fe80::d621:22ff:fe76:5b79",
                546,
                "ff02::1:2",
                547,
                17,
                1,
                137,
            ),
        ],
        fragments: &[("217.0.21.65", 0, "84.146.135.221", 0, 17, 1, 565)],
        beyond_frame: &[],
    },
    Difference {
        capture: "goprobe__default.pcap",
        reason: "IP behind MPLS labels is parsed: L2TPv3 and BGP",
        flows: &[
            ("10.200.200.201", 0, "10.200.200.202", 0, 115, 324, 34006),
            ("10.200.200.202", 0, "10.200.200.201", 0, 115, 362, 38384),
            ("10.200.200.201", 23975, "10.200.200.202", 179, 6, 10, 590),
            ("10.200.200.202", 179, "10.200.200.201", 23975, 6, 28, 1424),
        ],
        fragments: &[],
        beyond_frame: &[],
    },
    Difference {
        capture: "zeek__pppoe-over-qinq.pcap",
        reason: "IP behind PPPoE behind two VLAN tags is parsed",
        flows: &[
            ("1.1.1.1", 20394, "2.2.2.2", 443, 6, 44, 25283),
            ("2.2.2.2", 443, "1.1.1.1", 20394, 6, 42, 13001),
        ],
        fragments: &[],
        beyond_frame: &[],
    },
    Difference {
        capture: "tcpdump__ipv6_jumbogram_1.pcap",
        reason: "payload length 0 is a jumbogram: its octets are what the frame holds, not 40",
        flows: &[(
            "2200::244:212:3fff:feae:22f7",
            0,
            "2200::240:2:0:0:4",
            0,
            58,
            0,
            65536,
        )],
        fragments: &[],
        beyond_frame: &[],
    },
    Difference {
        capture: "goprobe__truncated.pcap",
        reason: "octets beyond the frame were never there: 57 octets, said to be all, of an IPv6 packet of 93",
        flows: &[],
        fragments: &[],
        beyond_frame: &[("fe80::1473:2a40:3fbe:e7f4", 0, "ff02::fb", 0, 17, 1, 50)],
    },
    Difference {
        capture: "ndpi__fuzz-2006-09-29-28586.pcap",
        reason: "octets beyond the frame were never there: total lengths that a fuzzer wrote",
        flows: &[],
        fragments: &[],
        beyond_frame: &[
            ("172.20.3.5", 2605, "172.20.3.13", 80, 6, 1, 8087),
            ("170.170.170.170", 0, "170.170.170.170", 0, 170, 1, 130),
        ],
    },
    Difference {
        capture: "ndpi__fuzz-2020-02-16-11740.pcap",
        reason: "octets beyond the frame were never there: total lengths that a fuzzer wrote",
        flows: &[],
        fragments: &[],
        beyond_frame: &[
            ("10.12.64.30", 29200, "198.226.25.53", 1812, 17, 3, 89_913),
            ("111.226.25.53", 1812, "10.12.64.30", 29200, 17, 1, 2816),
            ("198.226.25.53", 1812, "10.12.64.30", 29200, 17, 3, 58_368),
            ("170.170.170.170", 0, "170.170.170.170", 0, 170, 1, 43_386),
        ],
    },
    Difference {
        capture: "tcpdump__ipv4_invalid_total_length.pcap",
        reason: "octets beyond the frame were never there: a total length one too large",
        flows: &[],
        fragments: &[],
        beyond_frame: &[("140.211.9.206", 39095, "45.33.127.156", 53, 17, 1, 1)],
    },
];

/// Turns the oracle's answer into the product's. Prints what it did.
pub(crate) fn apply(capture: &str, oracle: &mut Oracle) {
    for difference in DIFFERENCES.iter().filter(|known| known.capture == capture) {
        let packets = add(&mut oracle.flows, difference.flows)
            + add(&mut oracle.fragments, difference.fragments);
        let non_ip = oracle.losses.entry(Loss::NonIp.name()).or_default();
        *non_ip = non_ip
            .checked_sub(packets)
            .expect("no more than the oracle has");
        let beyond_frame = take_off(oracle, difference.beyond_frame);
        eprintln!(
            "{capture}: {packets} packets more, {beyond_frame} octets less: {}",
            difference.reason
        );
    }
}

/// Captures that have a known difference.
pub(crate) fn captures() -> impl Iterator<Item = &'static str> {
    DIFFERENCES.iter().map(|difference| difference.capture)
}

/// The ledger's counts of lengths beyond the frame, in packets and octets.
pub(crate) fn beyond_frame(capture: &str) -> (u64, u64) {
    let known = DIFFERENCES.iter().filter(|known| known.capture == capture);
    let rows = known.flat_map(|known| known.beyond_frame);
    rows.fold((0, 0), |(packets, octets), row| {
        (packets + row.5, octets + row.6)
    })
}

/// Takes octets off flows or fragments, whichever there are. Returns their sum.
fn take_off(oracle: &mut Oracle, rows: &[Row]) -> u64 {
    let mut sum = 0;
    for row in rows {
        let key = key(row);
        // Where both have the key, it is of the fragments.
        let fragments = oracle.fragments.get_mut(&key);
        let count = fragments.or_else(|| oracle.flows.get_mut(&key));
        count.expect("the oracle has it").octets -= row.6;
        sum += row.6;
    }
    sum
}

fn key(&(src, src_port, dst, dst_port, ip_protocol, ..): &Row) -> Key {
    let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
    Key {
        src: address(src),
        dst: address(dst),
        src_port,
        dst_port,
        ip_protocol,
    }
}

fn add(table: &mut Table, rows: &[Row]) -> u64 {
    let mut sum = 0;
    for row in rows {
        let (packets, octets) = (row.5, row.6);
        table.entry(key(row)).or_default().add(packets, octets);
        sum += packets;
    }
    sum
}
