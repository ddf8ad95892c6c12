//! What the programs are given.

use probe_common::headers::{
    ether_type,
    ip_protocol::{DESTINATION_OPTIONS, HOP_BY_HOP, TCP},
};

use crate::programs::Flows;

/// A frame, and the flows that it stands for.
#[derive(Clone, Copy)]
pub(crate) struct Input {
    pub(crate) name: &'static str,
    /// From a source port.
    pub(crate) frame: fn(u16) -> Vec<u8>,
    /// `None`: one flow, the frame as it is.
    pub(crate) flows: Option<Flows>,
    /// Part of the short form.
    pub(crate) is_short: bool,
}

const fn input(name: &'static str, frame: fn(u16) -> Vec<u8>, flows: Option<Flows>) -> Input {
    Input {
        name,
        frame,
        flows,
        is_short: false,
    }
}

const fn short(input: Input) -> Input {
    Input {
        is_short: true,
        ..input
    }
}

/// Source port in the first round; each round has another, since what a flow costs depends a little
/// on where its entry lies.
pub(crate) const FIRST_PORT: u16 = 20_000;

/// Name of the input that the targets are about.
pub(crate) const HOT: &str = "one IPv4/TCP flow";

pub(crate) const INPUTS: [Input; 9] = [
    short(input(HOT, ipv4, None)),
    input("one IPv6/TCP flow", ipv6, None),
    input("one flow in two VLAN tags (QinQ)", qinq, None),
    input("one flow with IPv4 options", ipv4_options, None),
    input(
        "one flow with IPv6 extension headers",
        ipv6_extensions,
        None,
    ),
    input("1k random flows", ipv4, Some(Flows::Random(1000))),
    input("20k random flows", ipv4, Some(Flows::Random(20_000))),
    short(input(
        "64k random flows",
        ipv4,
        Some(Flows::Random(1 << 16)),
    )),
    input("1M random flows", ipv4, Some(Flows::Random(1_000_000))),
];

const IPV4: [u8; 2] = ether_type::IPV4.to_be_bytes();
const IPV6: [u8; 2] = ether_type::IPV6.to_be_bytes();
/// Payload octets: those of a full segment are not read, but a frame of a page is the rule.
const PAYLOAD_LEN: usize = 1000;

fn ethernet(tags: &[u8], ether_type: [u8; 2], packet: &[u8]) -> Vec<u8> {
    let addresses = [0x02, 0, 0, 0, 0, 0x99, 0x02, 0, 0, 0, 0, 1];
    [&addresses, tags, &ether_type, packet].concat()
}

/// To a port that is no common service, so that nothing is aggregated away.
fn tcp(port: u16) -> Vec<u8> {
    let mut segment = vec![0; 20 + PAYLOAD_LEN];
    segment[..2].copy_from_slice(&port.to_be_bytes());
    segment[2..4].copy_from_slice(&10_007_u16.to_be_bytes());
    segment[12] = 0x50;
    segment[13] = 0x10;
    segment
}

#[expect(clippy::cast_possible_truncation, reason = "short packets")]
fn ipv4_packet(port: u16, options: &[u8]) -> Vec<u8> {
    let payload = tcp(port);
    let header_len = 20 + options.len();
    let mut packet = vec![0; 20];
    packet[0] = 0x40 | (header_len / 4) as u8;
    packet[2..4].copy_from_slice(&((header_len + payload.len()) as u16).to_be_bytes());
    packet[8] = 64;
    packet[9] = TCP;
    packet[12..16].copy_from_slice(&[198, 18, 0, 1]);
    packet[16..20].copy_from_slice(&[198, 18, 0, 2]);
    packet.extend(options);
    packet.extend(payload);
    packet
}

#[expect(clippy::cast_possible_truncation, reason = "short packets")]
fn ipv6_packet(port: u16, first_header: u8, extensions: &[u8]) -> Vec<u8> {
    let payload = tcp(port);
    let mut packet = vec![0; 40];
    packet[0] = 0x60;
    packet[4..6].copy_from_slice(&((extensions.len() + payload.len()) as u16).to_be_bytes());
    packet[6] = first_header;
    packet[7] = 64;
    packet[8] = 0xfd;
    packet[23] = 1;
    packet[24] = 0xfd;
    packet[39] = 2;
    packet.extend(extensions);
    packet.extend(payload);
    packet
}

pub(crate) fn ipv4(port: u16) -> Vec<u8> {
    ethernet(&[], IPV4, &ipv4_packet(port, &[]))
}

fn ipv6(port: u16) -> Vec<u8> {
    ethernet(&[], IPV6, &ipv6_packet(port, TCP, &[]))
}

fn qinq(port: u16) -> Vec<u8> {
    let tags = [0x88, 0xa8, 0, 7, 0x81, 0, 0, 5];
    ethernet(&tags, IPV4, &ipv4_packet(port, &[]))
}

/// Router alert (RFC 2113) and a time stamp's worth of no-operations.
fn ipv4_options(port: u16) -> Vec<u8> {
    let options = [0x94, 4, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0];
    ethernet(&[], IPV4, &ipv4_packet(port, &options))
}

/// Hop-by-hop and destination options of 8 octets each.
fn ipv6_extensions(port: u16) -> Vec<u8> {
    let pad = [0, 1, 4, 0, 0, 0, 0];
    let extensions = [&[DESTINATION_OPTIONS], &pad[..], &[TCP], &pad[..]].concat();
    ethernet(&[], IPV6, &ipv6_packet(port, HOP_BY_HOP, &extensions))
}
