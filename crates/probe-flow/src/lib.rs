//! The flow core: what becomes of records, and the words to ask for it.
//!
//! It holds flows and the flow log, the local buffers of a rotation, the ledger that says where
//! every packet went, the comparison with the link's counters, the filter language, and one
//! interval as it is written and shown.
//!
//! The crate never reads a clock, starts a thread or speaks to the kernel: values drive it, and
//! `now` is an argument. Every other host crate may call it; it knows `probe-common` only.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod bounded_regex;
pub mod coverage;
pub mod filter;
pub mod flow;
pub mod flow_json;
pub mod flow_log;
pub mod interval;
pub mod ledger;
pub mod local_buffer;
pub mod moment;
pub mod protocols;
pub mod schema;
pub mod supervise;
pub mod text;
pub mod ticks;
