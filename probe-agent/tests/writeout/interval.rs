//! Intervals with plausible flows.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use probe_common::{classify::Evidence, control::Tally, ephash::EpHash};
use probe_flow::{
    coverage::Compared,
    flow::{Flow, FlowCounters, FlowMap},
    interval::{Interval, Watched},
    ledger::{Ledger, Loss},
    ticks::TickClock,
};

/// How many different hosts talk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ends {
    /// A /24 of clients and a handful of servers, as on a host of a company network.
    Few,
    /// Any address to any address, as in a scan or flood.
    Many,
}

/// Five minutes of `flows` flows, of which every fourth is IPv6, and two lost packets. Random, but
/// always the same.
pub(crate) fn interval(iface: &str, start: &str, flows: u64, ends: Ends) -> Interval {
    let start: Timestamp = start.parse().unwrap();
    let mut random = SplitMix(start.as_second().cast_unsigned() ^ iface.len() as u64);
    let mut map = FlowMap::default();
    let mut totals = FlowCounters::default();
    for number in 0..flows {
        let flow = random.flow();
        totals += flow.counters;
        let (client, server) = random.ends(ends);
        let (src_port, dst_port, ip_protocol) = random.service();
        if number % 4 == 3 {
            let address = |host: [u8; 4]| {
                let mut address = [0; 16];
                address[0] = 0xfd;
                address[12..].copy_from_slice(&host);
                address
            };
            let (src_addr, dst_addr) = (address(client), address(server));
            let key = EpHash {
                src_addr,
                src_port,
                dst_addr,
                dst_port,
                ip_protocol,
            };
            map.v6.push((key, flow));
        } else {
            let (src_addr, dst_addr) = (client, server);
            let key = EpHash {
                src_addr,
                src_port,
                dst_addr,
                dst_port,
                ip_protocol,
            };
            map.v4.push((key, flow));
        }
    }
    Interval {
        iface: Arc::from(iface),
        start,
        end: start + SignedDuration::from_mins(5),
        end_since_boot: None,
        flows: map,
        tick_clock: TickClock::even(0, start, Duration::from_millis(1)),
        totals,
        ledger: ledger(&totals),
        watched: half_blind(),
    }
}

/// Half of what was received was not seen.
fn half_blind() -> Watched {
    let mut watched = Watched {
        ingress: "tcx",
        egress: "tcx",
        detached: Duration::from_secs(150),
        ..Watched::default()
    };
    watched.coverage[0] = Compared {
        link: 200,
        frames: 100,
        packets: 100,
        ..Compared::default()
    };
    watched
}

fn ledger(totals: &FlowCounters) -> Ledger {
    let flows = Tally {
        packets: totals.packets(),
        bytes: totals.bytes(),
    };
    let mut ledger = Ledger {
        seen: Tally {
            packets: flows.packets + 2,
            bytes: flows.bytes + 14 * flows.packets + 120,
        },
        flows,
        ..Ledger::default()
    };
    ledger.losses[Loss::NonIp as usize].add(2, 120);
    ledger
}

struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Half of all flows are short, few are long.
    fn flow(&mut self) -> Flow {
        let packets_rcvd = 1 + (1 << (self.next() % 12)) * (self.next() % 3);
        let packets_sent = packets_rcvd / 2 + self.next() % 3;
        let (first, last) = self.ticks();
        Flow {
            counters: FlowCounters {
                bytes_rcvd: packets_rcvd * (40 + self.next() % 1460),
                bytes_sent: packets_sent * (40 + self.next() % 60),
                packets_rcvd,
                packets_sent,
            },
            first,
            last,
            tcp_flags: 0x1b,
            evidence: if self.next().is_multiple_of(2) {
                Evidence::Handshake
            } else {
                Evidence::Ports
            },
            is_overflow: false,
        }
    }

    /// Milliseconds of five minutes, as in [`interval`]'s clock.
    fn ticks(&mut self) -> (u32, u32) {
        let [a, b, c, d, ..] = self.next().to_be_bytes();
        let first = u32::from(u16::from_be_bytes([a, b])) * 2;
        (first, first + u32::from(u16::from_be_bytes([c, d])) * 2)
    }

    fn ends(&mut self, ends: Ends) -> ([u8; 4], [u8; 4]) {
        let [a, b, c, ..] = self.next().to_be_bytes();
        match ends {
            Ends::Few => ([198, 18, 0, a], [198, 19, b % 4, c % 16]),
            Ends::Many => (self.address(), self.address()),
        }
    }

    fn address(&mut self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.next().to_be_bytes();
        [a, b, c, d]
    }

    fn service(&mut self) -> ([u8; 2], [u8; 2], u8) {
        let [a, b, c, ..] = self.next().to_be_bytes();
        let client = [0x80 | a, b];
        match c % 4 {
            0 => ([0, 0], 443_u16.to_be_bytes(), 6),
            1 => ([0, 0], 53_u16.to_be_bytes(), 17),
            2 => (client, 5432_u16.to_be_bytes(), 6),
            _ => (client, 22_u16.to_be_bytes(), 6),
        }
    }
}
