//! Kernel memory that a configuration takes.

use serde::Serialize;

use crate::config::Config;
use probe_datapath::map_memory::MapMemory;

/// Memory of all maps, taken when the agent starts, whatever the traffic.
#[derive(Clone, Debug, Serialize)]
pub struct Memory {
    /// Bytes of all maps.
    pub bytes: u64,
    /// CPUs that the kernel keeps copies for: all that could ever be plugged in.
    pub cpus: u32,
    /// Interfaces that there is room for.
    pub interfaces: u32,
    /// Rings, one for each CPU or group of CPUs.
    pub rings: u32,
    /// The maps, largest first.
    pub maps: Vec<MapPlan>,
}

/// Memory of one map.
#[derive(Clone, Debug, Serialize)]
pub struct MapPlan {
    /// Name in the object.
    pub name: String,
    /// Entries; of a ring: bytes; of the array of further rings: how many there are with the first.
    pub entries: u32,
    /// Bytes on each CPU, if the map has a copy per CPU.
    pub bytes_per_cpu: Option<u64>,
    /// Bytes altogether; of an array of maps with these.
    pub bytes: u64,
}

impl Memory {
    pub(super) fn from_config(config: &Config, map_memory: &MapMemory) -> Self {
        let maps = map_memory.maps.iter().map(|map| MapPlan {
            name: map.map.clone(),
            entries: map.entries,
            bytes_per_cpu: map.bytes_per_cpu,
            bytes: map.bytes,
        });
        Self {
            bytes: map_memory.bytes(),
            cpus: map_memory.cpus,
            interfaces: config.source_options().interfaces,
            rings: map_memory.rings,
            maps: maps.collect(),
        }
    }
}
