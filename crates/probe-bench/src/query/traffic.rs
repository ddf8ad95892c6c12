//! Made-up traffic of a host, the same on each run: sessions that last for some intervals.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use probe_common::{
    classify::Evidence,
    ephash::EpHash,
    headers::ip_protocol::{ICMP, TCP, UDP},
};
use probe_flow::{
    flow::{Flow, FlowCounters},
    ticks::millis,
};

use crate::random::Random;

/// Length of an interval.
pub(super) const LENGTH: SignedDuration = SignedDuration::from_mins(5);

/// 10.0.0.0: clients have numbers from there on.
const CLIENT_NETWORK: u32 = 0x0a00_0000;
/// How many there are; few of them open most sessions.
const CLIENTS: u32 = 2000;
/// 93.184.0.0: servers lie anywhere above.
const SERVER_NETWORK: u32 = 0x5db8_0000;
const SERVERS: u32 = 20_000;
/// Most packets of a direction in an interval.
const PACKETS: u32 = 3000;

/// A flow that lasts for some intervals.
struct Session {
    key: EpHash<4>,
    intervals_left: u32,
    evidence: Evidence,
    /// Most packets of a direction in an interval.
    packets: u32,
}

/// The traffic of one interface, interval by interval.
pub(super) struct Traffic {
    random: Random,
    sessions: Vec<Session>,
    flows: usize,
}

impl Traffic {
    /// So many flows in each interval. Interfaces with other numbers have other traffic.
    pub(super) fn new(flows: usize, iface: usize) -> Self {
        let mut random = Random::new();
        for _ in 0..iface {
            random = Random::from(random.bits());
        }
        Self {
            random,
            sessions: Vec::new(),
            flows,
        }
    }

    /// The flows of the next interval, which starts then.
    pub(super) fn interval(&mut self, start: Timestamp) -> Vec<(EpHash<4>, Flow)> {
        for session in &mut self.sessions {
            session.intervals_left -= 1;
        }
        self.sessions.retain(|session| session.intervals_left > 0);
        let mut keys: HashSet<_> = self.sessions.iter().map(|session| session.key).collect();
        while self.sessions.len() < self.flows {
            let session = Session::new(&mut self.random);
            if keys.insert(session.key) {
                self.sessions.push(session);
            }
        }
        let random = &mut self.random;
        let counted = |session: &Session| (session.key, session.counted(start, random));
        self.sessions.iter().map(counted).collect()
    }

    /// By how much a rotation is late.
    pub(super) fn delay(&mut self) -> SignedDuration {
        SignedDuration::from_millis(20 + i64::from(self.random.below(20)))
    }
}

impl Session {
    fn new(random: &mut Random) -> Self {
        let (dst_port, ip_protocol) = service(random);
        // One port stands for all of a client of a common service.
        let src_port = if [443, 80, 53, 0].contains(&dst_port) {
            0
        } else {
            port(0x8000 + random.below(28_000))
        };
        let server = if ip_protocol == UDP && dst_port < 443 {
            CLIENT_NETWORK + 1 + random.below(3)
        } else {
            let number = random.skewed(SERVERS).wrapping_mul(0x9e37_79b1);
            SERVER_NETWORK + number % 0x00ff_ffff
        };
        Self {
            key: EpHash {
                src_addr: (CLIENT_NETWORK + random.skewed(CLIENTS)).to_be_bytes(),
                src_port: src_port.to_be_bytes(),
                dst_addr: server.to_be_bytes(),
                dst_port: dst_port.to_be_bytes(),
                ip_protocol,
            },
            intervals_left: 1 + random.skewed(if src_port == 0 { 100 } else { 12 }),
            evidence: match ip_protocol {
                TCP => Evidence::Handshake,
                ICMP => Evidence::IcmpType,
                _ => Evidence::Ports,
            },
            packets: if dst_port == 53 {
                3
            } else {
                1 + random.skewed(PACKETS)
            },
        }
    }

    fn counted(&self, start: Timestamp, random: &mut Random) -> Flow {
        let (received, sent) = (
            1 + random.below(self.packets),
            1 + random.below(self.packets),
        );
        let length = 300_000;
        // What goes on is there from the first second.
        let goes_on = self.intervals_left > 1 && self.packets > 50;
        let first = random.below(if goes_on { 5000 } else { length });
        let last = first + random.below(length - first);
        let bytes = |packets: u32, each: u32| u64::from(packets) * u64::from(60 + each);
        Flow {
            counters: FlowCounters {
                bytes_rcvd: bytes(received, random.below(1400)),
                bytes_sent: bytes(sent, random.below(400)),
                packets_rcvd: received.into(),
                packets_sent: sent.into(),
            },
            first: millis(start).wrapping_add(first),
            last: millis(start).wrapping_add(last),
            tcp_flags: match (self.key.ip_protocol, random.below(4)) {
                (TCP, 0 | 1) => 0x1b,
                (TCP, 2) => 0x18,
                (TCP, _) => 0x10,
                _ => 0,
            },
            evidence: self.evidence,
            ..Flow::default()
        }
    }
}

/// Port and protocol of a session, in the shares of an office.
fn service(random: &mut Random) -> (u16, u8) {
    match random.below(100) {
        0..=54 => (443, TCP),
        55..=64 => (443, UDP),
        65..=72 => (80, TCP),
        73..=84 => (53, UDP),
        85..=86 => (22, TCP),
        87..=88 => (123, UDP),
        89..=91 => (0, ICMP),
        92..=93 => (5432, TCP),
        _ => (port(1024 + random.below(60_000)), TCP),
    }
}

fn port(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}
