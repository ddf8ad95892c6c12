//! A per-CPU hash map of flows, as most eBPF flow agents have.

#![expect(unsafe_code, reason = "map values are reached through raw pointers")]

use aya_ebpf::{bindings::BPF_NOEXIST, macros::map, maps::PerCpuHashMap};
use probe_common::{
    ephash::{EpHash, EpHashV4, EpHashV6},
    parse::Observation,
};

use crate::shared::packet::Frame;

/// The benchmark says how many flows fit.
#[map]
static FLOWS_V4: PerCpuHashMap<FlowKey<EpHashV4>, FlowValue> =
    PerCpuHashMap::with_max_entries(1, 0);

#[map]
static FLOWS_V6: PerCpuHashMap<FlowKey<EpHashV6>, FlowValue> =
    PerCpuHashMap::with_max_entries(1, 0);

/// What tells flows apart, as in a record of the agent.
#[repr(C, packed)]
struct FlowKey<K> {
    ifindex: u32,
    key: K,
}

/// What a record of the agent holds.
#[repr(C)]
struct FlowValue {
    octets: u64,
    packets: u32,
    tcp_flags: u8,
    aux: u8,
    flags: u8,
    reserved: u8,
}

/// Counts a frame in its flow, if it is a plain one (see [`probe_common::parse::plain`]), as those of the
/// benchmarks are. Other frames are not counted, unlike in the agent: a design that parses less is
/// compared with at its best.
#[inline(always)]
pub(crate) fn count<F: Frame>(frame: &F) {
    let has_room = |octets| frame.len_with_room_for(octets).is_some();
    if let Some(observation) = frame.parse_plain_ipv4(has_room) {
        add(&FLOWS_V4, frame.ifindex(), &observation);
    } else if let Some(observation) = frame.parse_plain_ipv6(has_room) {
        add(&FLOWS_V6, frame.ifindex(), &observation);
    }
}

#[inline(always)]
fn add<const N: usize>(
    flows: &PerCpuHashMap<FlowKey<EpHash<N>>, FlowValue>,
    ifindex: u32,
    observation: &Observation<EpHash<N>>,
) {
    let key = FlowKey {
        ifindex,
        key: observation.key,
    };
    if let Some(flow) = flows.get_ptr_mut(&key) {
        // SAFETY: the pointer was just returned by the kernel's lookup; the value belongs to this
        // CPU, and no other run of a program interrupts this one on it.
        let flow = unsafe { &mut *flow };
        flow.octets += u64::from(observation.octets);
        flow.packets += 1;
        flow.tcp_flags |= observation.tcp_flags;
        return;
    }
    let first = FlowValue {
        octets: observation.octets.into(),
        packets: 1,
        tcp_flags: observation.tcp_flags,
        aux: observation.aux,
        flags: observation.flags,
        reserved: 0,
    };
    // Refused if the map is full: the packet is lost, which the benchmark prevents by its size.
    flows.insert(&key, &first, BPF_NOEXIST.into()).ok();
}
