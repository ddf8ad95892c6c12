//! probe: a flow capture agent for Linux hosts. The library behind the `probe-agent` binary.
//!
//! See ARCHITECTURE.md for the map of the modules and the invariants they keep.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod agent;
pub mod cli;
pub mod config;
pub mod error_text;
pub mod lifecycle;
pub mod metrics;
pub mod plan;
pub mod privileges;
pub mod reload;
pub mod selftest;
pub mod telemetry;
pub mod term;
mod troubles;

/// Version of the agent.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Commit that it was built from, if the build knew it (`PROBE_GIT_COMMIT`).
pub const COMMIT: &str = match option_env!("PROBE_GIT_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// The build, as the API tells it.
pub const BUILD: probe_api::Build = probe_api::Build {
    version: VERSION,
    commit: COMMIT,
    object: probe_datapath::OBJECT_SHA256,
};
