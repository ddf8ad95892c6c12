//! What the kernel side can be told by a configuration.

use crate::{cache_parts::CacheParts, cpus, load::LoadOptions, ring_parts::RingParts};

/// Sizes that are fixed when the programs are loaded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SourceOptions {
    /// Size of the rings between kernel and agent, all together, in bytes.
    pub ring_buffer_bytes: u32,
    /// Records that the programs keep open.
    pub cache_slots: CacheSlots,
    /// Interfaces that there are slots for, at most [`probe_common::control::MAX_INTERFACES`].
    pub interfaces: u32,
}

impl SourceOptions {
    /// The parts that the sizes come to on this host.
    pub fn load_options(self) -> LoadOptions {
        LoadOptions {
            rings: ring_parts(self.ring_buffer_bytes),
            interfaces: self.interfaces,
            cache: cache_parts(self.cache_slots),
        }
    }
}

/// Who cannot count the CPUs learns of it when the object is loaded.
fn ring_parts(bytes: u32) -> RingParts {
    RingParts::from_size(bytes, cpus::present().unwrap_or(1))
}

fn cache_parts(slots: CacheSlots) -> CacheParts {
    match slots {
        CacheSlots::PerCpu(slots) => CacheParts::from_slots(slots),
        // Where they cannot be counted, loading says what is wrong.
        CacheSlots::Auto => CacheParts::affordable(cpus::present().unwrap_or(1)),
    }
}

/// Whether the kernel is hurried while many interfaces are attached or detached.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ExpediteAttach {
    /// Where the owner of the host does not evidently mind, and where it can be done.
    #[default]
    Auto,
    /// Always; where it cannot be done that is a warning.
    Always,
    /// Never, and without a word about how long it takes.
    Never,
}

/// Size of the cache of open records in the kernel.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CacheSlots {
    /// As many as fit a budget for all CPUs.
    #[default]
    Auto,
    /// So many for each CPU: a power of two, or 0 for no cache.
    PerCpu(u32),
}
