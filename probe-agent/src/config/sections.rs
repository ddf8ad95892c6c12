//! The sections of the file, a module each: what its keys are and which of them must fit together.

pub(super) mod api;
pub(super) mod autodetection;
pub(super) mod capture;
pub(super) mod interfaces;
pub(super) mod logging;
pub(super) mod reload;
pub(super) mod rotation;
pub(super) mod writeout;
