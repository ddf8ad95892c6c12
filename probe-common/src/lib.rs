//! What the kernel and userspace share: wire types, the packet parser and its header constants, the
//! EPHash, port rules and direction classification.
//!
//! Everything here is `no_std`, allocates nothing, logs nothing and cannot panic, so that the same
//! code runs inside the eBPF programs and under the host's tests, property tests and fuzzers.
//! `unsafe` is denied but for the one macro in [`wire`].

#![no_std]
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod classify;
pub mod coalesce;
pub mod control;
pub mod ephash;
pub mod headers;
pub mod loss;
pub mod parse;
pub mod ports;
pub mod record;
pub mod wire;
