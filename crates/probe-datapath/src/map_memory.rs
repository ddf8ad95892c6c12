//! Kernel memory that the maps take, worked out from the object: nothing is loaded for it.
//!
//! As the kernel itself accounts for them (`*_map_mem_usage` in kernel/bpf, since 6.4), but for the
//! few hundred bytes of each map's own structure.

use aya_obj::{Map, Object, generated::bpf_map_type};
use probe_common::control::maps;

use super::{
    cpus::CpusError,
    load::{Cpus, LoadOptions, OBJECT},
};

/// `struct htab_elem` before key and value.
const HASH_ELEMENT_BYTES: u64 = 48;
/// `struct bucket` of a hash map.
const HASH_BUCKET_BYTES: u64 = 16;
/// `RINGBUF_NR_META_PAGES`: management, consumer and producer.
const RING_META_PAGES: u64 = 3;
const POINTER_BYTES: u64 = 8;

/// Kernel memory of one map.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MapSize {
    /// Name in the object.
    pub map: String,
    /// Entries; of a ring: bytes; of the array of further rings: how many there are with the first.
    pub entries: u32,
    /// Bytes on each CPU, if the map has a copy per CPU.
    pub bytes_per_cpu: Option<u64>,
    /// Bytes altogether; of an array of maps with these.
    pub bytes: u64,
}

/// Kernel memory of all maps.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MapMemory {
    /// CPUs that the kernel keeps copies for: all that could ever be plugged in.
    pub cpus: u32,
    /// Rings that the programs fill.
    pub rings: u32,
    /// The maps, largest first.
    pub maps: Vec<MapSize>,
}

impl MapMemory {
    /// Bytes of all maps.
    pub fn bytes(&self) -> u64 {
        self.maps.iter().map(|map| map.bytes).sum()
    }
}

/// Map memory could not be worked out.
#[derive(Debug, thiserror::Error)]
pub enum MapMemoryError {
    /// The object cannot be read.
    #[error("cannot read the eBPF object: {0}")]
    Object(#[from] aya_obj::ParseError),
    /// The CPUs cannot be counted.
    #[error(transparent)]
    Cpus(#[from] CpusError),
}

/// Memory of the embedded object's maps, loaded with these options.
///
/// # Errors
///
/// [`MapMemoryError::Cpus`]: the CPUs cannot be counted. [`MapMemoryError::Object`]: the embedded
/// object cannot be read.
pub fn of_embedded(options: LoadOptions) -> Result<MapMemory, MapMemoryError> {
    let host = Cpus::of_host()?;
    let cpus = host.possible;
    let object = Object::parse(OBJECT)?;
    let sized = options.map_entries(host);
    let rings = options.rings();
    let further_rings = u64::from(rings.number() - 1) * ring(rings.bytes().into());
    let mut memories: Vec<_> = object
        .maps
        .iter()
        .map(|(name, map)| {
            let entries = sized.iter().find(|(sized, _)| sized == name);
            let entries = entries.map_or_else(|| map.max_entries(), |(_, entries)| *entries);
            let mut memory = memory(name, map, entries, cpus);
            if name == maps::FURTHER_RECORDS {
                memory.bytes += further_rings;
            }
            memory
        })
        .collect();
    memories.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.map.cmp(&b.map)));
    Ok(MapMemory {
        cpus,
        rings: rings.number(),
        maps: memories,
    })
}

fn memory(name: &str, map: &Map, entries: u32, cpus: u32) -> MapSize {
    let (count, cpus) = (u64::from(entries), u64::from(cpus));
    let [key, value] =
        [map.key_size(), map.value_size()].map(|size| u64::from(size).next_multiple_of(8));
    let buckets = HASH_BUCKET_BYTES * count.next_power_of_two();
    let is = |kind: bpf_map_type| kind as u32 == map.map_type();
    let (shared, per_cpu) = if is(bpf_map_type::BPF_MAP_TYPE_RINGBUF) {
        (ring(count), None)
    } else if is(bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY) {
        (count * POINTER_BYTES, Some(count * value))
    } else if is(bpf_map_type::BPF_MAP_TYPE_HASH) {
        // One element more for each CPU, so that an update never has to wait for one.
        let elements = (count + cpus) * (HASH_ELEMENT_BYTES + key + value);
        (buckets + elements, None)
    } else if is(bpf_map_type::BPF_MAP_TYPE_LRU_HASH) {
        (buckets + count * (HASH_ELEMENT_BYTES + key + value), None)
    } else if is(bpf_map_type::BPF_MAP_TYPE_PERCPU_HASH)
        || is(bpf_map_type::BPF_MAP_TYPE_LRU_PERCPU_HASH)
    {
        let elements = count * (HASH_ELEMENT_BYTES + key + POINTER_BYTES);
        (buckets + elements, Some(count * value))
    } else {
        // Arrays, also of maps.
        (count * value, None)
    };
    MapSize {
        map: name.to_owned(),
        entries,
        bytes_per_cpu: per_cpu,
        bytes: shared + per_cpu.unwrap_or(0) * cpus,
    }
}

/// Data pages, and the table that maps them twice in a row.
fn ring(bytes: u64) -> u64 {
    let page = rustix::param::page_size() as u64;
    let data = bytes.next_power_of_two().max(page);
    let table = (RING_META_PAGES + 2 * data / page) * POINTER_BYTES;
    data + RING_META_PAGES * page + table
}

#[cfg(test)]
mod tests {
    use probe_common::control::maps;

    use super::of_embedded;
    use crate::{cache_parts::CacheParts, load::LoadOptions, ring_parts::RingParts};

    #[test]
    fn several_rings_take_little_more_than_one() {
        let bytes = |rings| {
            let options = LoadOptions {
                rings,
                interfaces: 1,
                cache: CacheParts::NONE,
            };
            let map_memory = of_embedded(options).expect("an object, and CPUs");
            let rings = map_memory.maps.iter();
            let rings =
                rings.filter(|it| [maps::RECORDS, maps::FURTHER_RECORDS].contains(&&*it.map));
            (map_memory.rings, rings.map(|it| it.bytes).sum::<u64>())
        };
        let (number, one) = bytes(RingParts::one(8 << 20));
        assert_eq!(number, 1);
        assert!((8 << 20..9 << 20).contains(&one), "{one}");
        let (number, eight) = bytes(RingParts::new(8, 1 << 20));
        assert_eq!(number, 8);
        // Three pages more for each.
        assert!(
            (one + 7 * 3 * 4096..one + (1 << 20)).contains(&eight),
            "{eight}"
        );
    }
}
