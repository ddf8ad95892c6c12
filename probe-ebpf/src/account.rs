//! What becomes of a frame: it is parsed, counted and, if it belongs to a flow, recorded.
//!
//! Every frame is counted as seen and meets exactly one destiny: recorded, filtered or one of the
//! parse errors.

use probe_common::{
    control::{Counters, SLOT_IGNORE_VLANS, Slot, Station, Tally, area, counters_index},
    ephash::EpHash,
    parse::{Observation, Packet, ParseError, link::has_vlan_tag, segment::SegmentHeaders},
    record::{
        IntoRecord, NOTE_FIRST_FRAGMENT, NOTE_LATER_FRAGMENT, NOTE_SHORT_TRANSPORT, RecordHead,
        place,
    },
};

use crate::{
    cache,
    maps::{self, Cached},
    packet::{Frame, Segmentation},
};

/// Accounts for one frame.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "only the lowest bit counts"
)]
pub(crate) fn frame<F: Frame>(frame: &F, direction: u8) {
    let ifindex = frame.ifindex();
    let Some(slot) = maps::slot(ifindex) else {
        on_unclaimed(frame);
        return;
    };
    let area = area(maps::cpu(), maps::active_bank());
    let index = counters_index(u32::from(slot.slot), direction);
    let Some(station) = maps::station(area, index) else {
        on_unclaimed(frame);
        return;
    };
    if is_filtered(frame, slot) {
        let whole = whole(frame);
        station.counters.see(whole.packets, whole.bytes);
        station.counters.filtered += whole;
        return;
    }
    let head = RecordHead {
        ifindex,
        // The lowest bit is the bank.
        notes: place(direction, area as u8),
        ..RecordHead::default()
    };
    // Paths of their own, in which no value comes from two sides: see `parse::plain`.
    if frame.segmentation().size == 0 {
        let headers = SegmentHeaders::default();
        if let Some(observation) = frame.parse_plain_ipv4() {
            on_packet(frame, area, station, head, headers, &observation);
            return;
        }
        if let Some(observation) = frame.parse_plain_ipv6() {
            on_packet(frame, area, station, head, headers, &observation);
            return;
        }
    }
    // Before the parser: behind it the verifier would walk them once for each of its outcomes.
    let headers = frame.segment_headers();
    match frame.parse() {
        Ok(Packet::V4(observation)) => {
            let record = on_observation(frame, &mut station.counters, head, headers, &observation);
            cache::put::<EpHash<4>>(area, &record);
        }
        Ok(Packet::V6(observation)) => {
            let record = on_observation(frame, &mut station.counters, head, headers, &observation);
            cache::put::<EpHash<16>>(area, &record);
        }
        Err(error) => on_parse_error(frame, &mut station.counters, error),
    }
}

#[inline(always)]
fn is_filtered<F: Frame>(frame: &F, slot: Slot) -> bool {
    slot.flags & SLOT_IGNORE_VLANS != 0
        && (frame.stripped_vlan_tag_len() != 0 || has_vlan_tag(frame))
}

/// Counts a packet and records it.
#[inline(always)]
fn on_packet<F: Frame, const N: usize>(
    frame: &F,
    area: u32,
    station: &mut Station,
    head: RecordHead,
    headers: SegmentHeaders,
    observation: &Observation<EpHash<N>>,
) where
    EpHash<N>: Cached,
{
    let record = on_observation(frame, &mut station.counters, head, headers, observation);
    cache::put_plain::<EpHash<N>>(area, &record, station);
}

/// Counts a packet and makes its record.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "a frame has fewer than 2^32 segments"
)]
fn on_observation<F: Frame, const N: usize>(
    frame: &F,
    counters: &mut Counters,
    head: RecordHead,
    headers: SegmentHeaders,
    observation: &Observation<EpHash<N>>,
) -> <EpHash<N> as IntoRecord>::Record
where
    EpHash<N>: IntoRecord,
{
    let wire = OnWire::of(frame, headers, observation);
    let tick = maps::tick();
    counters.see(wire.packets, wire.frame_octets);
    let is_fragment = observation.notes & (NOTE_FIRST_FRAGMENT | NOTE_LATER_FRAGMENT) != 0;
    let record = observation.key.into_record(RecordHead {
        octets: wire.octets,
        packets: wire.packets as u32,
        tcp_flags: observation.tcp_flags,
        aux: observation.aux,
        notes: observation.notes | head.notes,
        first: tick,
        last_or_fragment_id: if is_fragment {
            observation.fragment_id
        } else {
            tick
        },
        ifindex: head.ifindex,
    });
    counters.recorded.add(wire.packets, wire.octets);
    if observation.notes & NOTE_LATER_FRAGMENT != 0 {
        counters.later_fragments += wire.packets;
    }
    if observation.notes & NOTE_SHORT_TRANSPORT != 0 {
        counters.short_transports += wire.packets;
    }
    record
}

/// What a packet is on the wire: itself, or the segments of a super-packet.
struct OnWire {
    packets: u64,
    /// IP octets.
    octets: u64,
    /// Octets with the link headers.
    frame_octets: u64,
}

impl OnWire {
    #[inline(always)]
    fn of<F: Frame, K>(frame: &F, headers: SegmentHeaders, observation: &Observation<K>) -> Self {
        let octets = u64::from(observation.octets);
        let frame_octets = frame.len_of_packet(observation.octets as usize) as u64;
        let Segmentation { size, segments } = frame.segmentation();
        if size == 0 {
            return Self {
                packets: 1,
                octets,
                frame_octets,
            };
        }
        // None where the kernel points at MPLS or PPPoE: then those that the parser has found.
        let header_octets = match headers.octets {
            0 => u64::from(observation.header_octets),
            octets => octets as u64,
        };
        let virtual_octets = headers.virtual_octets as u64;
        let link_octets = frame_octets.saturating_sub(octets);
        let octets = octets.saturating_sub(virtual_octets);
        let packets = match segments {
            0 => octets
                .saturating_sub(header_octets)
                .div_ceil(u64::from(size))
                .max(1),
            segments => u64::from(segments),
        };
        // Each segment but the first repeats the headers that the super-packet has once.
        let octets = octets + (packets - 1) * header_octets;
        Self {
            packets,
            octets,
            frame_octets: octets + packets * link_octets,
        }
    }
}

/// A frame whose headers are not known: super-packets count with the segments that the kernel
/// states, and without the repeated headers.
#[inline(always)]
fn whole<F: Frame>(frame: &F) -> Tally {
    Tally {
        packets: u64::from(frame.segmentation().segments.max(1)),
        bytes: (frame.wire_len() + frame.stripped_vlan_tag_len()) as u64,
    }
}

#[inline(always)]
fn on_parse_error<F: Frame>(frame: &F, counters: &mut Counters, error: ParseError) {
    let whole = whole(frame);
    counters.see(whole.packets, whole.bytes);
    // Spelled out, since an index that is computed at run time cannot be proven to be in bounds.
    let [not_ip, invalid_header, truncated, too_many_headers] = &mut counters.unparsed;
    let tally = match error {
        ParseError::NotIp => not_ip,
        ParseError::InvalidHeader => invalid_header,
        ParseError::Truncated => truncated,
        ParseError::TooManyHeaders => too_many_headers,
    };
    *tally += whole;
}

/// An interface that the agent does not know, such as one that was moved between namespaces.
#[inline(always)]
fn on_unclaimed<F: Frame>(frame: &F) {
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(frame, "no slot for interface {}", frame.ifindex());
    if let Some(tally) = maps::unclaimed() {
        *tally += whole(frame);
    }
}
