//! A hook without our program.

use std::fmt;

use probe_common::record::INGRESS;

/// A hook that our program was removed from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LostHook {
    /// Direction: [`probe_common::record::INGRESS`] or `EGRESS`.
    pub direction: u8,
    /// Name of the hook: `xdp-native`, `tcx` …
    pub hook: &'static str,
    /// Name of the program that is there now, if any.
    pub occupant: Option<String>,
}

impl fmt::Display for LostHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.direction == INGRESS {
            "ingress"
        } else {
            "egress"
        };
        write!(f, "{direction} {}: our program was ", self.hook)?;
        match &self.occupant {
            Some(occupant) => write!(f, "replaced, {occupant} is there now"),
            None => write!(f, "detached, no program is there now"),
        }
    }
}
