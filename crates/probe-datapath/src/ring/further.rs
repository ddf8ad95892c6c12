//! The rings from 1 on. Ring 0 is a map of the object.

use aya::{
    EbpfError,
    maps::{ArrayOfMaps, Map, MapData},
};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF;
use probe_common::control::maps;

use crate::ring_parts::RingParts;

/// Makes the further rings, and lets the programs find them in the array of maps.
///
/// Each waits for a grace period of RCU (`maybe_wait_bpf_programs`, kernel/bpf/syscall.c).
pub(crate) fn make(outer: &mut Map, parts: RingParts) -> Result<Vec<MapData>, EbpfError> {
    let mut outer: ArrayOfMaps<_> = outer.try_into()?;
    let make_one = |ring| {
        let kind = BPF_MAP_TYPE_RINGBUF as u32;
        let wanted = aya_obj::Map::new_from_params(kind, 0, 0, parts.bytes(), 0);
        let made = MapData::create(wanted, maps::RECORDS, None)?;
        outer.set(ring, &made, 0)?;
        Ok(made)
    };
    (1..parts.number()).map(make_one).collect()
}
