//! What becomes of a frame: it is parsed, counted and, if it belongs to a flow, recorded.
//!
//! Every frame is counted as seen and has exactly one outcome: recorded, filtered or one of the
//! parse errors.

use probe_common::{
    control::{CounterBlock, Counters, Tally, area, area_of_counter_block, counter_block_index},
    ephash::EpHash,
    loss::Loss,
    parse::{Observation, Packet, ParseError, link::has_vlan_tag, segment::SegmentHeaders},
    record::{
        FLAG_FIRST_FRAGMENT, FLAG_LATER_FRAGMENT, FLAG_SHORT_TRANSPORT, IntoRecord, RecordHead,
        origin_flags,
    },
};

use crate::{
    cache,
    maps::{self, Cached},
    packet::{Frame, Segmentation},
};

/// Accounts for one frame.
#[inline(always)]
pub(crate) fn frame<F: Frame>(frame: &F, direction: u8) {
    let ifindex = frame.ifindex();
    let Some(slot) = maps::interface_slot(ifindex) else {
        on_unknown_interface(frame);
        return;
    };
    let first_index = counter_block_index(area(maps::cpu(), 0), 0) + maps::active_bank_word();
    let area = area_of_counter_block(first_index);
    let index = first_index | u32::from(direction);
    let first_counter_block = if slot.ignores_vlans() {
        if has_any_vlan_tag(frame) {
            on_filtered(frame, slot.first_counter_block() + index);
            return;
        }
        slot.first_counter_block()
    } else {
        slot.first_counter_block_if_all_pass()
    };
    let Some(block) = maps::counter_block(first_counter_block + index) else {
        on_unknown_interface(frame);
        return;
    };
    let seen = Seen {
        ifindex,
        area,
        direction,
    };
    // Paths of their own, in which no value comes from two sides: see `parse::plain`.
    if frame.segmentation().size == 0 {
        let counters = &mut block.counters;
        if let Some(observation) =
            frame.parse_plain_ipv4(|octets| count_if_it_has_room(frame, counters, octets))
        {
            on_plain(seen, block, &observation);
            return;
        }
        if let Some(observation) =
            frame.parse_plain_ipv6(|octets| count_if_it_has_room(frame, counters, octets))
        {
            on_plain(seen, block, &observation);
            return;
        }
    }
    // Before the parser: behind it the verifier would walk them once for each of its outcomes.
    let headers = frame.segment_headers();
    match frame.parse() {
        Ok(Packet::V4(observation)) => {
            let record = on_observation(frame, seen, &mut block.counters, headers, &observation);
            cache::insert::<EpHash<4>>(area, &record);
        }
        Ok(Packet::V6(observation)) => {
            let record = on_observation(frame, seen, &mut block.counters, headers, &observation);
            cache::insert::<EpHash<16>>(area, &record);
        }
        Err(error) => on_parse_error(frame, &mut block.counters, error),
    }
}

#[inline(always)]
fn has_any_vlan_tag<F: Frame>(frame: &F) -> bool {
    frame.stripped_vlan_tag_len() != 0 || has_vlan_tag(frame)
}

/// Counts a frame that the configuration leaves out.
#[inline(always)]
fn on_filtered<F: Frame>(frame: &F, counter_block: u32) {
    let Some(block) = maps::counter_block(counter_block) else {
        on_unknown_interface(frame);
        return;
    };
    let whole = whole(frame);
    block.counters.see(whole.packets, whole.bytes);
    block.counters.losses[Loss::Filtered as usize] += whole;
}

/// Where a frame was seen.
#[derive(Clone, Copy)]
struct Seen {
    ifindex: u32,
    area: u32,
    direction: u8,
}

/// Counts a plain packet of so many octets if the frame has them. Says whether it has.
#[inline(always)]
fn count_if_it_has_room<F: Frame>(frame: &F, counters: &mut Counters, octets: usize) -> bool {
    let Some(frame_octets) = frame.len_with_room_for(octets) else {
        return false;
    };
    let ip = Tally {
        packets: 1,
        bytes: octets as u64,
    };
    let no_flags = 0;
    count(counters, ip, frame_octets as u64, no_flags);
    true
}

/// Records a plain packet, which has been counted.
#[inline(always)]
fn on_plain<const N: usize>(
    seen: Seen,
    block: &mut CounterBlock,
    observation: &Observation<EpHash<N>>,
) where
    EpHash<N>: Cached,
{
    let ip = Tally {
        packets: 1,
        bytes: observation.octets.into(),
    };
    // Without the time: until it is known where the record goes, it would only be in the way.
    let record = record_of(seen, ip, observation, 0, maps::join);
    cache::insert_plain::<EpHash<N>>(seen.area, record, block);
}

/// Counts a packet and makes its record.
#[inline(always)]
fn on_observation<F: Frame, const N: usize>(
    frame: &F,
    seen: Seen,
    counters: &mut Counters,
    headers: SegmentHeaders,
    observation: &Observation<EpHash<N>>,
) -> <EpHash<N> as IntoRecord>::Record
where
    EpHash<N>: IntoRecord,
{
    let OnWire { ip, frame_octets } = OnWire::from_frame(frame, headers, observation);
    let or = |part, other| part | other;
    let tick = maps::tick();
    count(counters, ip, frame_octets, observation.flags);
    if observation.octets_beyond_frame != 0 {
        let octets = observation.octets_beyond_frame.into();
        counters.beyond_frame.add(ip.packets, octets);
    }
    record_of(seen, ip, observation, tick, or)
}

#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "a frame has fewer than 2^32 segments, and of the area only the lowest bit counts: the bank"
)]
fn record_of<const N: usize>(
    seen: Seen,
    ip: Tally,
    observation: &Observation<EpHash<N>>,
    tick: u32,
    join: impl Fn(u64, u64) -> u64,
) -> <EpHash<N> as IntoRecord>::Record
where
    EpHash<N>: IntoRecord,
{
    let is_fragment = observation.flags & (FLAG_FIRST_FRAGMENT | FLAG_LATER_FRAGMENT) != 0;
    let head = RecordHead {
        octets: ip.bytes,
        packets: ip.packets as u32,
        tcp_flags: observation.tcp_flags,
        aux: observation.aux,
        flags: observation.flags | origin_flags(seen.direction, seen.area as u8),
        first: tick,
        last_or_fragment_id: if is_fragment {
            observation.fragment_id
        } else {
            tick
        },
        ifindex: seen.ifindex,
    };
    observation.key.join_record(head, join)
}

/// Counts what is recorded.
#[inline(always)]
fn count(counters: &mut Counters, ip: Tally, frame_octets: u64, flags: u8) {
    counters.see(ip.packets, frame_octets);
    counters.recorded += ip;
    if flags & FLAG_LATER_FRAGMENT != 0 {
        counters.later_fragments += ip.packets;
    }
    if flags & FLAG_SHORT_TRANSPORT != 0 {
        counters.short_transports += ip.packets;
    }
}

/// What a packet is on the wire: itself, or the segments of a super-packet.
struct OnWire {
    /// Bytes are IP octets.
    ip: Tally,
    /// Octets with the link headers.
    frame_octets: u64,
}

impl OnWire {
    #[inline(always)]
    fn from_frame<F: Frame, K>(
        frame: &F,
        headers: SegmentHeaders,
        observation: &Observation<K>,
    ) -> Self {
        let octets = u64::from(observation.octets);
        let frame_octets = frame.len_of_packet(observation.octets as usize) as u64;
        let Segmentation { size, segments } = frame.segmentation();
        if size == 0 {
            let ip = Tally {
                packets: 1,
                bytes: octets,
            };
            return Self { ip, frame_octets };
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
            ip: Tally {
                packets,
                bytes: octets,
            },
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
    *error.of_mut(&mut counters.losses) += whole;
}

/// An interface that the agent does not know, such as one that was moved between namespaces.
#[inline(always)]
fn on_unknown_interface<F: Frame>(frame: &F) {
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(frame, "interface {} is not captured", frame.ifindex());
    if let Some(tally) = maps::unknown_interface() {
        *tally += whole(frame);
    }
}
