//! One interval of one interface, as rotations hand it out and sinks store it.

use std::{mem::size_of_val, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    coverage::Compared,
    flow::{FlowCounters, FlowMap},
    ledger::Ledger,
    ticks::TickClock,
};

/// Intervals that are nearer than this follow each other: rotations hand over to the nanosecond, clocks are corrected
/// by less.
pub const GAPLESS: SignedDuration = SignedDuration::from_secs(1);

/// The flows of one interface between two rotations, with the ledger that says what they miss.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Name of the interface.
    pub iface: Arc<str>,
    /// Start of the interval (the previous rotation, or when capturing began). If the clock was set
    /// since, by the new clock.
    pub start: Timestamp,
    /// End of the interval (the rotation); never before its start.
    pub end: Timestamp,
    /// Time since the boot at the end ([`Moment::since_boot`]): it tells by how much the clock was
    /// set since. `None` where no clock of this host told the end.
    ///
    /// [`Moment::since_boot`]: crate::moment::Moment::since_boot
    pub end_since_boot: Option<Duration>,
    /// Flows that had traffic.
    pub flows: FlowMap,
    /// When the ticks in `flows` were.
    pub tick_clock: TickClock,
    /// Sums of the counters over `flows`.
    pub totals: FlowCounters,
    /// Where every packet of the interval went.
    pub ledger: Ledger,
    /// Whether the programs were in place and saw what the link moved.
    pub watched: Watched,
}

/// Start and end of an interval, in UTC as RFC 3339 writes it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bounds {
    /// Start of the interval.
    pub start: Timestamp,
    /// End of the interval.
    pub end: Timestamp,
}

/// What supervision knows of an interval.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Watched {
    /// Hook of received packets at the end of the interval; empty where there is none.
    pub ingress: &'static str,
    /// Hook of sent packets.
    pub egress: &'static str,
    /// How often removed programs were attached again.
    pub reattached: u64,
    /// How long programs were missing.
    pub detached: Duration,
    /// Link and programs, received and sent, from the last check before the interval to the last in
    /// it.
    pub coverage: [Compared; 2],
    /// How often the wall clock was set in the interval.
    pub clock_steps: u64,
    /// By how much altogether; negative if it was set back.
    pub clock_stepped: SignedDuration,
}

impl Interval {
    /// Start and end of the interval.
    pub const fn bounds(&self) -> Bounds {
        Bounds {
            start: self.start,
            end: self.end,
        }
    }

    /// Memory that the interval holds, in bytes, as far as it grows with the flows.
    pub fn approximate_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(self.flows.v4.as_slice())
            + size_of_val(self.flows.v6.as_slice())
    }
}
