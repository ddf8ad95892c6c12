//! Hand-built packets with known answers, for every place where the parser decides something.
//!
//! The answers were worked out from the RFCs, not from the parser. The same set goes through the
//! host's parser and through the loaded programs, so include this file by `#[path]`.

use probe_common::{
    ephash::EpHash,
    parse::{Observation, Packet, ParseError},
    record::{FLAG_FIRST_FRAGMENT, FLAG_LATER_FRAGMENT},
};

#[path = "packets/fragments.rs"]
mod fragments;
#[path = "packets/frame.rs"]
pub(crate) mod frame;
#[path = "packets/ipv4.rs"]
mod ipv4;
#[path = "packets/ipv6.rs"]
mod ipv6;
#[path = "packets/link.rs"]
mod link;
#[path = "packets/transport.rs"]
mod transport;

/// A frame that starts with an Ethernet header, and what it must be parsed to.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// What is special about it.
    pub(crate) name: &'static str,
    /// The frame as it is captured, from its first octet.
    pub(crate) frame: Vec<u8>,
    /// Length on the wire: more than `frame` holds where a snapshot length cut it.
    pub(crate) wire_len: usize,
    /// What the parser must answer.
    pub(crate) expected: Result<Packet, ParseError>,
}

/// All cases, in the order of the report.
pub(crate) fn cases() -> Vec<Case> {
    [
        link::cases(),
        ipv4::cases(),
        ipv6::cases(),
        fragments::cases(),
        transport::cases(),
    ]
    .concat()
}

fn case(name: &'static str, frame: Vec<u8>, expected: impl Answer) -> Case {
    Case {
        name,
        wire_len: frame.len(),
        frame,
        expected: expected.answer(),
    }
}

/// A frame of which only the first `kept` bytes were captured.
fn cut(name: &'static str, kept: usize, mut frame: Vec<u8>, expected: impl Answer) -> Case {
    let wire_len = frame.len();
    assert!(kept < wire_len, "{name} is not cut");
    frame.truncate(kept);
    Case {
        name,
        frame,
        wire_len,
        expected: expected.answer(),
    }
}

/// What a case can be expected to be.
trait Answer {
    fn answer(self) -> Result<Packet, ParseError>;
}

impl Answer for ParseError {
    fn answer(self) -> Result<Packet, ParseError> {
        Err(self)
    }
}

impl Answer for Observation<EpHash<4>> {
    fn answer(self) -> Result<Packet, ParseError> {
        Ok(Packet::V4(self))
    }
}

impl Answer for Observation<EpHash<16>> {
    fn answer(self) -> Result<Packet, ParseError> {
        Ok(Packet::V6(self))
    }
}

/// A packet from [`frame::SRC_V4`] to [`frame::DST_V4`] without ports.
fn v4(ip_protocol: u8, octets: u32, header_octets: u16) -> Observation<EpHash<4>> {
    observation(
        frame::SRC_V4,
        frame::DST_V4,
        ip_protocol,
        octets,
        header_octets,
    )
}

/// A packet from [`frame::SRC_V6`] to [`frame::DST_V6`] without ports.
fn v6(ip_protocol: u8, octets: u32, header_octets: u16) -> Observation<EpHash<16>> {
    observation(
        frame::SRC_V6,
        frame::DST_V6,
        ip_protocol,
        octets,
        header_octets,
    )
}

fn observation<const N: usize>(
    src_addr: [u8; N],
    dst_addr: [u8; N],
    ip_protocol: u8,
    octets: u32,
    header_octets: u16,
) -> Observation<EpHash<N>> {
    Observation {
        key: EpHash {
            src_addr,
            src_port: [0; 2],
            dst_addr,
            dst_port: [0; 2],
            ip_protocol,
        },
        octets,
        octets_beyond_frame: 0,
        header_octets,
        tcp_flags: 0,
        aux: 0,
        flags: 0,
        fragment_id: 0,
    }
}

/// The rest of an answer.
trait With: Sized {
    fn ports(self, src_port: u16, dst_port: u16) -> Self;
    fn tcp_flags(self, flags: u8) -> Self;
    fn icmp_type(self, icmp_type: u8) -> Self;
    fn flags(self, flags: u8) -> Self;
    fn beyond_frame(self, octets: u32) -> Self;
    fn first_fragment(self) -> Self;
    fn later_fragment(self) -> Self;
}

impl<const N: usize> With for Observation<EpHash<N>> {
    fn ports(mut self, src_port: u16, dst_port: u16) -> Self {
        self.key.src_port = src_port.to_be_bytes();
        self.key.dst_port = dst_port.to_be_bytes();
        self
    }

    fn tcp_flags(self, flags: u8) -> Self {
        Self {
            tcp_flags: flags,
            aux: flags,
            ..self
        }
    }

    fn icmp_type(self, icmp_type: u8) -> Self {
        Self {
            aux: icmp_type,
            ..self
        }
    }

    fn flags(self, flags: u8) -> Self {
        Self { flags, ..self }
    }

    fn beyond_frame(self, octets: u32) -> Self {
        Self {
            octets_beyond_frame: octets,
            ..self
        }
    }

    fn first_fragment(self) -> Self {
        fragment(self, FLAG_FIRST_FRAGMENT)
    }

    fn later_fragment(self) -> Self {
        fragment(self, FLAG_LATER_FRAGMENT)
    }
}

fn fragment<const N: usize>(of: Observation<EpHash<N>>, flag: u8) -> Observation<EpHash<N>> {
    Observation {
        flags: of.flags | flag,
        fragment_id: if N == 4 {
            u32::from(frame::ID_V4)
        } else {
            frame::ID_V6
        },
        ..of
    }
}
