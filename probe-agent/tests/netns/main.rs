//! End to end: the real binary, on real links in namespaces of their own, with real traffic and
//! other people's tools as the witness.
//!
//! Every test makes its own [`lab::Lab`] and removes it, also when it fails, so that all of them
//! run at the same time. Nothing waits for a fixed time: everything waits for a condition.

mod agent;
mod books;
mod flows;
#[expect(dead_code, reason = "the tests here need few of the builders")]
#[path = "../../../probe-common/tests/support/packets/frame.rs"]
mod frame;
mod iperf;
mod lab;
mod metrics;
mod mix;
mod process;
mod sender;
#[path = "../support/skip.rs"]
mod skip;
mod traffic;
mod witness;

mod accounting;
mod bad_input;
mod crash;
mod exposition;
mod ledger;
mod link_changes;
mod rotation;
mod shutdown;
