//! Whether the kernel takes the programs, loaded just as the agent loads them. Attaches nothing.
//!
//! Sizes are constants of the programs when the kernel verifies them. So only a program with the sizes of
//! the agent's configuration is the program that the agent runs.

use std::collections::BTreeMap;

use probe_common::control::programs;

use crate::{
    attach,
    load::{LoadError, LoadOptions, OBJECT, Object},
};

/// The programs that the agent attaches to links.
pub const PROGRAMS: [&str; 6] = [
    programs::XDP_INGRESS,
    programs::XDP_INGRESS_LINEAR,
    programs::TC_INGRESS,
    programs::TC_EGRESS,
    programs::TC_INGRESS_L3,
    programs::TC_EGRESS_L3,
];

/// The programs of the embedded object that the kernel refuses, by name, each with the reason. Those
/// that the agent does not use on this kernel are left out.
///
/// # Errors
///
/// As [`Object::load`]: the maps cannot be made, or nothing can be loaded at all.
pub fn refused_programs(options: LoadOptions) -> Result<BTreeMap<&'static str, String>, LoadError> {
    refused_programs_of(OBJECT, options)
}

/// As [`refused_programs`], of another object than the embedded one.
///
/// # Errors
///
/// As [`Object::load_bytes`].
pub fn refused_programs_of(
    object: &[u8],
    options: LoadOptions,
) -> Result<BTreeMap<&'static str, String>, LoadError> {
    let mut object = Object::load_bytes(object, options)?;
    let mut refused = BTreeMap::new();
    for program in PROGRAMS {
        if attach::program_obstacle(program).is_some() {
            continue;
        }
        if let Err(error) = object.program(program) {
            let reason = error.to_string();
            let lines: Vec<_> = reason.split_whitespace().collect();
            refused.insert(program, lines.join(" "));
        }
    }
    Ok(refused)
}
