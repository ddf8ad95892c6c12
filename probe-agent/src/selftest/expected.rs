//! What a program must push and count for a packet, as the host's parser or a known answer says.

use probe_common::{
    control::Counters,
    headers::{ETHER_TYPE_OFFSET, ETHERNET_LEN},
    parse::{Observation, OutOfBounds, Packet, PacketBytes, ParseError, link},
    record::{FLAG_LATER_FRAGMENT, FLAG_SHORT_TRANSPORT, IntoRecord, RecordHead, origin_flags},
};
use zerocopy::IntoBytes;

use super::bench::{Ran, UnderTest};
use probe_datapath::test_run::TEST_IFINDEX;

/// The frame as the programs for devices without link header see it in a test run: the kernel has
/// found the network header behind the Ethernet header, and counts that header in the length.
struct FromNetworkHeader<'a>(&'a [u8]);

impl PacketBytes for FromNetworkHeader<'_> {
    fn load<const N: usize>(&self, offset: usize) -> Result<[u8; N], OutOfBounds> {
        self.0.load(ETHERNET_LEN + offset)
    }

    fn wire_len(&self) -> usize {
        self.0.len()
    }
}

/// Parses a frame on the host as a program would.
///
/// # Errors
///
/// The [`ParseError`] as which the programs must count the frame.
pub fn parse_on_host(under_test: UnderTest, frame: &[u8]) -> Result<Packet, ParseError> {
    if !under_test.is_l3 {
        return link::parse_ethernet(frame);
    }
    let ether_type = u16::from_be_bytes(frame.load(ETHER_TYPE_OFFSET)?);
    link::parse_ether_type(&FromNetworkHeader(frame), 0, ether_type)
}

/// The same where the program is handed a frame without its last octets, and is told no other length: what is
/// missing lies beyond the frame.
///
/// # Errors
///
/// The error that was handed in.
pub fn without_end(
    parsed: Result<Packet, ParseError>,
    missing: usize,
) -> Result<Packet, ParseError> {
    fn cut<K>(whole: Observation<K>, missing: usize) -> Observation<K> {
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        Observation {
            octets: whole.octets.saturating_sub(missing),
            octets_beyond_frame: whole.octets_beyond_frame.saturating_add(missing),
            ..whole
        }
    }
    parsed.map(|packet| match packet {
        Packet::V4(whole) => Packet::V4(cut(whole, missing)),
        Packet::V6(whole) => Packet::V6(cut(whole, missing)),
    })
}

/// What a program must do with a frame that is parsed like this.
pub fn expected_of(
    under_test: UnderTest,
    parsed: &Result<Packet, ParseError>,
    frame_len: usize,
) -> Ran {
    let mut counted = Counters::default();
    counted.see(1, frame_len as u64);
    let mut expected = Ran {
        action: under_test.action,
        record: None,
        counted,
    };
    let direction = under_test.direction;
    let (record, head) = match parsed {
        Ok(Packet::V4(seen)) => {
            count_beyond_frame(&mut expected.counted, seen);
            let head = head_of(direction, seen);
            (seen.key.into_record(head).as_bytes().to_vec(), head)
        }
        Ok(Packet::V6(seen)) => {
            count_beyond_frame(&mut expected.counted, seen);
            let head = head_of(direction, seen);
            (seen.key.into_record(head).as_bytes().to_vec(), head)
        }
        Err(error) => {
            error
                .of_mut(&mut expected.counted.losses)
                .add(1, frame_len as u64);
            return expected;
        }
    };
    let counted = &mut expected.counted;
    counted.recorded.add(1, head.octets);
    counted.later_fragments = u64::from(head.flags & FLAG_LATER_FRAGMENT != 0);
    counted.short_transports = u64::from(head.flags & FLAG_SHORT_TRANSPORT != 0);
    expected.record = Some(record);
    expected
}

fn count_beyond_frame<K>(counted: &mut Counters, seen: &Observation<K>) {
    if seen.octets_beyond_frame != 0 {
        let octets = seen.octets_beyond_frame.into();
        counted.beyond_frame.add(1, octets);
    }
}

fn head_of<K>(direction: u8, seen: &Observation<K>) -> RecordHead {
    RecordHead {
        octets: u64::from(seen.octets),
        packets: 1,
        ifindex: TEST_IFINDEX,
        last_or_fragment_id: seen.fragment_id,
        tcp_flags: seen.tcp_flags,
        aux: seen.aux,
        flags: seen.flags | origin_flags(direction, 0),
        ..RecordHead::default()
    }
}
