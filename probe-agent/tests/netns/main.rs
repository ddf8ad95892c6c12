//! End to end: the real binary, on real links in namespaces of their own, with real traffic and
//! other people's tools as the witness.
//!
//! Every test makes its own [`Testbed`] and removes it, also when it fails, so that all of them
//! run at the same time. Nothing waits for a fixed time: everything waits for a condition.

mod accounts;
mod crafted;
mod flows;
mod generators;
#[expect(dead_code, reason = "the answers are for tests of the parser")]
#[path = "../../src/selftest/packets.rs"]
mod packets;
mod topology;
mod traffic;
mod traffic_mix;
mod witness;

mod accounting;
mod api_load;
mod attack;
mod bad_input;
mod bypassed;
mod churn;
mod crash;
mod day;
mod expedite;
mod exposition;
mod faults;
mod flood;
mod foreign;
mod fragments;
mod ledger;
mod link_changes;
mod link_counters;
mod link_headers;
mod link_kinds;
mod log_pipe;
mod odd_links;
mod plan;
mod prometheus;
mod reload;
mod rotation;
mod second_agent;
mod segmentation;
mod service;
mod shutdown;
mod supervision;
mod troubles;
mod wire_replay;

use probe_testkit::{
    PATIENCE, agent, captures, cgroup, eventually, metrics, netns, process, run, sender, skip,
    testbed, within,
};
