//! Capture: which interfaces are captured, what becomes of their records, and when their intervals
//! are handed out.
//!
//! It holds the traits of a source, the drain threads, one capture per interface, the manager with
//! its rotations and supervision, reconciliation with the host's links, the schedule, and the
//! status that any number of readers may see.
//!
//! The crate never names the kernel's interfaces (aya, netlink), HTTP or a storage format: sources,
//! lists of links and writeouts come in as traits and functions. The agent, the API and the
//! benchmarks call it.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod capture;
pub mod clock;
pub mod drain;
pub mod interface;
pub mod manager;
pub mod reconcile;
pub mod schedule;
pub mod selection;
pub mod source;
pub mod status;
pub mod trouble;
