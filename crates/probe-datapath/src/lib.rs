//! The kernel side as the agent sees it: loading the programs, attaching them, their maps, and the
//! host's links by netlink.
//!
//! The only crate that names aya or netlink. One loaded object serves all interfaces; what differs
//! between them is a [`interface_slots::InterfaceSlots`] entry. [`source`] puts the parts together to a
//! [`probe_capture::source::Source`].
//!
//! The crate never reads the configuration file and never speaks HTTP: its options are in
//! [`options`]. The agent, `plan`, the self-test and the benchmarks call it.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod attach;
pub mod bank;
pub mod cache;
pub mod cache_parts;
pub mod counters;
pub mod cpus;
pub mod expedite;
pub mod interface_slots;
pub mod inventory;
pub mod jiffies;
pub mod link;
pub mod link_watcher;
pub mod links;
pub mod load;
pub mod map_memory;
mod mapping;
pub mod netlink;
pub mod options;
mod program_log;
pub mod promisc;
pub mod ring;
pub mod ring_parts;
pub mod shared_array;
pub mod source;
pub mod stale_filters;
mod syscall;
pub mod test_run;
pub mod verify;

pub use stale_filters::detach_stale_filters;

/// SHA-256 of the embedded eBPF object, in hexadecimal digits.
pub const OBJECT_SHA256: &str = match option_env!("PROBE_BPF_OBJECT_SHA256") {
    // Set by the build script from bpf/manifest.json.
    Some(hash) => hash,
    None => "unknown",
};

use aya::maps::MapError;

/// A map of the loaded object cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The object has no such map: object and agent are not of one build.
    #[error(
        "the eBPF object has no map {map}: it belongs to another version, install the agent anew"
    )]
    NoMap {
        /// Name of the map.
        map: &'static str,
    },
    /// The kernel refused an operation.
    #[error("cannot {operation} the eBPF map {map}: {source}")]
    Map {
        /// What was tried, as a verb: "read", "update".
        operation: &'static str,
        /// Name of the map.
        map: &'static str,
        /// What the kernel said.
        source: MapError,
    },
    /// Nothing to sleep on until records come.
    #[error("cannot wait for records: {0}: raise the limit of open files (LimitNOFILE=)")]
    Wait(#[source] std::io::Error),
}

impl DatapathError {
    fn update(map: &'static str) -> impl Fn(MapError) -> Self {
        move |source| Self::Map {
            operation: "update",
            map,
            source,
        }
    }

    fn map_memory(map: &'static str) -> impl Fn(MapError) -> Self {
        move |source| Self::Map {
            operation: "map into memory",
            map,
            source,
        }
    }

    fn read(map: &'static str) -> impl Fn(MapError) -> Self {
        move |source| Self::Map {
            operation: "read",
            map,
            source,
        }
    }
}
