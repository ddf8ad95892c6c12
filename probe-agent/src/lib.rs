//! probe: a flow capture agent for Linux hosts. The library behind the `probe-agent` binary.
//!
//! See ARCHITECTURE.md for the map of the modules and the invariants they keep.

#![deny(unsafe_code)]

pub mod config;
pub mod datapath;
pub mod flow;
pub mod ledger;
pub mod source;
pub mod status;
pub mod writeout;
