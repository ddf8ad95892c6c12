//! The packet parser against a plain one.

mod reference;

use probe_common::{
    ephash::EpHash,
    parse::{
        CapturedFrame, Observation, Packet, ParseError,
        link::{parse_any_ethernet, parse_ethernet, parse_raw_ip},
        plain,
        segment::segment_headers,
    },
    record::{FLAG_FIRST_FRAGMENT, FLAG_LATER_FRAGMENT, FLAG_SHORT_TRANSPORT},
};

use self::reference::{Expected, Frame};

/// Octets of the input before the frame: by how many octets a capture cut it, in network order.
pub const HEAD_LEN: usize = 2;

/// More than all headers that [`segment_headers`] walks can have.
const MOST_SEGMENT_OCTETS: usize = 1 << 15;

/// Parses a frame, with the quick check and without, and compares each answer with the plain
/// parser's: key, octets, headers, flags, fragments, or the name of the error.
pub fn check(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first_chunk::<HEAD_LEN>() else {
        return;
    };
    let wire_len = bytes.len() + usize::from(u16::from_be_bytes(*cut));
    let captured = CapturedFrame { bytes, wire_len };
    let plainly = Frame { bytes, wire_len };

    let expected = plainly.ethernet();
    assert_eq!(found(parse_ethernet(&captured)), expected, "{bytes:02x?}");
    assert_eq!(
        found(parse_any_ethernet(&captured)),
        expected,
        "without the quick check: {bytes:02x?}"
    );
    let quick = [
        plain::parse_ipv4(&captured).map(Packet::V4),
        plain::parse_ipv6(&captured).map(Packet::V6),
    ];
    for packet in quick.into_iter().flatten() {
        assert_eq!(
            found(Ok(packet)),
            expected,
            "by the quick check: {bytes:02x?}"
        );
    }

    let raw = found(parse_raw_ip(&captured, 0));
    assert_eq!(raw, plainly.ip(0), "as raw IP: {bytes:02x?}");

    let headers = segment_headers(&captured);
    assert!(
        headers.octets < MOST_SEGMENT_OCTETS,
        "{headers:?}: {bytes:02x?}"
    );
}

fn found(outcome: Result<Packet, ParseError>) -> Result<Expected, &'static str> {
    fn of<const N: usize>(it: Observation<EpHash<N>>) -> Expected {
        Expected {
            addrs: [it.key.src_addr.to_vec(), it.key.dst_addr.to_vec()],
            ports: [it.key.src_port(), it.key.dst_port()],
            ip_protocol: it.key.ip_protocol,
            octets: it.octets as usize,
            octets_beyond_frame: it.octets_beyond_frame as usize,
            header_octets: it.header_octets.into(),
            tcp_flags: it.tcp_flags,
            aux: it.aux,
            is_first_fragment: it.flags & FLAG_FIRST_FRAGMENT != 0,
            is_later_fragment: it.flags & FLAG_LATER_FRAGMENT != 0,
            has_short_transport: it.flags & FLAG_SHORT_TRANSPORT != 0,
            fragment_id: it.fragment_id,
        }
    }
    match outcome {
        Ok(Packet::V4(observation)) => Ok(of(observation)),
        Ok(Packet::V6(observation)) => Ok(of(observation)),
        Err(error) => Err(error.loss().name()),
    }
}
