//! Asks stored flows: who talked to whom, when and how much, and how complete the answer is.
//!
//! One question makes one pass over one or more stores, as docs/STORAGE.md describes them:
//!
//! 1. [`store`] finds the files by their paths alone: interface, day, and the interval in the name;
//! 2. [`footer`] reads what each of them says of itself: the ledgers of its intervals, its columns;
//!    [`live`] asks the agent for what is not stored yet;
//! 3. [`engine`] hands their rows to DataFusion, with the filter as [`filter`] translates it;
//! 4. [`completeness`] says from the ledgers what the answer lacks;
//! 5. [`output`] writes rows and report, or [`plot`] draws them.
//!
//! It needs no agent and no privilege but to read the files. It never writes to a store, never
//! captures, and does not know aya; only [`serve`] and [`live`] know HTTP. It is a binary of its own, since DataFusion is large: the
//! privileged agent must not depend on it, and hands `probe-agent query` over by `exec`. A program
//! that embeds it calls [`ask::ask`].

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod ask;
#[cfg(test)]
mod bad_input;
pub mod cli;
pub mod columns;
pub mod completeness;
pub mod engine;
pub mod error;
pub mod filter;
#[cfg(test)]
mod fixture;
pub mod footer;
#[cfg(test)]
mod kill;
pub mod ledger;
pub mod live;
#[cfg(test)]
mod month;
pub mod names;
pub mod output;
mod parallel;
pub mod place;
pub mod plot;
pub mod progress;
mod prune;
pub mod serve;
mod spans;
pub mod store;
pub mod time;
