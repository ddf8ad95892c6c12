//! probe: a flow capture agent for Linux hosts. The library behind the `probe-agent` binary.
//!
//! See ARCHITECTURE.md for the map of the modules and the invariants they keep.

#![deny(unsafe_code)]

pub mod agent;
pub mod api;
pub mod capture;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod coverage;
pub mod datapath;
pub mod drain;
pub mod filter;
pub mod flow;
pub mod flow_format;
pub mod flow_json;
pub mod flow_log;
pub mod human;
pub mod ledger;
pub mod link_watcher;
pub mod links;
pub mod local_buffer;
pub mod manager;
pub mod metrics;
pub mod names;
mod page;
pub mod plan;
pub mod privileges;
pub mod readiness;
pub mod reconcile;
pub mod reload;
pub mod schedule;
pub mod selftest;
pub mod shutdown;
pub mod source;
pub mod status;
pub mod supervise;
pub mod telemetry;
mod text_table;
pub mod ticks;
pub mod watchdog;
pub mod writeout;

/// Version of the agent.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Commit that it was built from, if the build knew it (`PROBE_GIT_COMMIT`).
pub const COMMIT: &str = match option_env!("PROBE_GIT_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// SHA-256 of the embedded eBPF object, in hexadecimal digits.
pub const OBJECT_SHA256: &str = match option_env!("PROBE_BPF_OBJECT_SHA256") {
    // Set by the build script from bpf/manifest.json.
    Some(hash) => hash,
    None => "unknown",
};
