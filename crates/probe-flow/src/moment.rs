//! A moment by two clocks. Values only: the caller reads the clocks.

use std::time::Duration;

use jiff::Timestamp;

/// A moment as two clocks tell it: one that may be set, and one that may not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moment {
    /// Wall-clock time, which may be set.
    pub wall: Timestamp,
    /// Time since the boot, suspended time included (`CLOCK_BOOTTIME`, clock_gettime(2)).
    pub since_boot: Duration,
}
