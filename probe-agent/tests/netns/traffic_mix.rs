//! Mixed traffic whose every destiny is known by construction: thousands of flows of both families,
//! tags, ARP, and packets that no parser should accept.

use std::{collections::BTreeMap, ops::AddAssign};

use probe_common::headers::{ETHERNET_LEN, VLAN_TAG_LEN};

use super::packets::frame::{
    ARP, C_TAG, DESTINATION_OPTIONS, ICMP, ICMPV6, IPV4, Ipv4, Ipv6, S_TAG, TCP, UDP, ethernet,
    extensions, join, tcp, udp, vlan,
};

/// Frames of one loop.
const FRAMES: u16 = 4096;
/// A MAC address that is not here: the host's stack throws the frames away behind the hooks.
const FOREIGN_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x99];

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl Tally {
    fn add(&mut self, bytes: u64) {
        self.packets += 1;
        self.bytes += bytes;
    }

    const fn times(self, loops: u64) -> Self {
        Self {
            packets: self.packets * loops,
            bytes: self.bytes * loops,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// Frames, and where each of them must go.
#[derive(Default)]
pub(crate) struct TrafficMix {
    pub(crate) frames: Vec<Vec<u8>>,
    pub(crate) expected: Expected,
}

/// What becomes of frames that were sent.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Expected {
    /// Bytes are whole frames.
    pub(crate) seen: Tally,
    /// Bytes are IP octets.
    pub(crate) flows: Tally,
    /// By name; bytes are whole frames.
    pub(crate) losses: BTreeMap<&'static str, Tally>,
}

impl Expected {
    /// The same if all was sent so many times.
    pub(crate) fn times(&self, loops: u64) -> Self {
        let losses = self.losses.iter();
        Self {
            seen: self.seen.times(loops),
            flows: self.flows.times(loops),
            losses: losses
                .map(|(name, tally)| (*name, tally.times(loops)))
                .collect(),
        }
    }
}

impl TrafficMix {
    pub(crate) fn new() -> Self {
        let mut mix = Self::default();
        for number in 0..FRAMES {
            mix.push(number);
        }
        mix
    }

    fn push(&mut self, number: u16) {
        // TCP carries nothing and UDP up to 1,200 octets: lengths, too, are mixed.
        let datagram = || ports(udp(number % 1200), number);
        let segment = || ports(tcp(0x10), number);
        match number % 16 {
            0..=3 => self.flow(ipv4(TCP, &segment(), number), 0),
            4..=6 => self.flow(ipv4(UDP, &datagram(), number), 0),
            7 | 8 => self.flow(ipv6(TCP, &segment(), number), 0),
            9 => self.flow(ipv6(UDP, &datagram(), number), 0),
            10 => self.flow(ipv4(ICMP, &[8, 0, 0, 0, 0, 1, 0, 1], number), 0),
            11 => self.flow(ipv6(ICMPV6, &[128, 0, 0, 0, 0, 1, 0, 1], number), 0),
            12 => self.tagged(&ipv4(UDP, &datagram(), number), number),
            13 => self.loss("non_ip", ethernet(ARP, &[0; 28])),
            14 => self.malformed(number),
            _ => {
                let chain = join(&[&extensions(12, TCP), &segment()]);
                let frame = ipv6(DESTINATION_OPTIONS, &chain, number);
                self.loss("too_many_headers", frame);
            }
        }
    }

    /// One tag or two in front of an IPv4 packet.
    fn tagged(&mut self, frame: &[u8], number: u16) {
        let packet = &frame[ETHERNET_LEN..];
        let inner = vlan(number % 4000 + 1, IPV4, packet);
        if number % 32 < 16 {
            self.flow(ethernet(C_TAG, &inner), 1);
        } else {
            self.flow(ethernet(S_TAG, &vlan(7, C_TAG, &inner)), 2);
        }
    }

    fn malformed(&mut self, number: u16) {
        if number % 32 < 16 {
            let wrong = Ipv4 {
                version: 5,
                ..Ipv4::of(TCP)
            };
            self.loss("invalid_ip_header", wrong.frame(&tcp(0x02)));
        } else {
            let mut cut = Ipv4::of(TCP).frame(&tcp(0x02));
            cut.truncate(30);
            self.loss("truncated", cut);
        }
    }

    fn flow(&mut self, frame: Vec<u8>, tags: usize) {
        let link_octets = ETHERNET_LEN + tags * VLAN_TAG_LEN;
        self.expected.flows.add((frame.len() - link_octets) as u64);
        self.send(frame);
    }

    fn loss(&mut self, name: &'static str, frame: Vec<u8>) {
        let tally = self.expected.losses.entry(name).or_default();
        tally.add(frame.len() as u64);
        self.send(frame);
    }

    fn send(&mut self, mut frame: Vec<u8>) {
        frame[..6].copy_from_slice(&FOREIGN_MAC);
        self.expected.seen.add(frame.len() as u64);
        self.frames.push(frame);
    }
}

/// Source ports tell the flows apart; none is one that is aggregated away.
fn ports(mut payload: Vec<u8>, number: u16) -> Vec<u8> {
    payload[..2].copy_from_slice(&(20_000 + number).to_be_bytes());
    payload[2..4].copy_from_slice(&(10_000 + number % 7).to_be_bytes());
    payload
}

fn ipv4(ip_protocol: u8, payload: &[u8], number: u16) -> Vec<u8> {
    let mut frame = Ipv4::of(ip_protocol).frame(payload);
    // The last two octets of the source, 198.18.0.0/15.
    frame[28..30].copy_from_slice(&number.to_be_bytes());
    frame
}

fn ipv6(next_header: u8, payload: &[u8], number: u16) -> Vec<u8> {
    let mut frame = Ipv6::of(next_header).frame(payload);
    frame[36..38].copy_from_slice(&number.to_be_bytes());
    frame
}
