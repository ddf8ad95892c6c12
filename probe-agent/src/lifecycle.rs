//! Start, readiness, health and end of the agent's process.

pub mod instance;
pub mod open_files;
pub mod readiness;
pub mod shutdown;
pub mod watchdog;
