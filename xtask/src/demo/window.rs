//! A window that is closed at both ends: what the agent counted in it and what the link counted are
//! about the same packets. It begins when the link is up and quiet.

use anyhow::{Result, bail};
use probe_testkit::{agent::Agent, testbed::Testbed};

use super::net::{LinkCounters, link_counters, quiet_link_counters};

/// Rotations that may fall among stray packets, before the link counts as never quiet.
const ATTEMPTS: usize = 10;

/// An end of the window: a rotation of the agent, during which nothing passed the link.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Boundary {
    /// Intervals that the agent has ended since its start.
    pub(super) intervals: usize,
    /// What the link has counted since it was made.
    pub(super) link: LinkCounters,
}

/// Waits until the link is quiet, and ends the running interval there.
pub(super) fn boundary(testbed: &Testbed, agent: &Agent) -> Result<Boundary> {
    between(
        || quiet_link_counters(testbed),
        || agent.try_rotate(),
        || link_counters(testbed),
    )
}

fn between(
    quiet: impl Fn() -> Result<LinkCounters>,
    rotate: impl Fn() -> Result<usize>,
    link: impl Fn() -> Result<LinkCounters>,
) -> Result<Boundary> {
    for _ in 0..ATTEMPTS {
        let before = quiet()?;
        let intervals = rotate()?;
        if link()? == before {
            return Ok(Boundary {
                intervals,
                link: before,
            });
        }
    }
    bail!("the link is never quiet: what else sends in these namespaces?")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{ATTEMPTS, Boundary, LinkCounters, between};

    fn counters(packets: u64) -> LinkCounters {
        LinkCounters {
            packets,
            bytes: 100 * packets,
            dropped: 0,
        }
    }

    /// The link counts a packet during each of the first `stray` rotations.
    fn with_stray_packets(stray: usize) -> anyhow::Result<Boundary> {
        let (rotations, packets) = (Cell::new(0), Cell::new(7));
        between(
            || Ok(counters(packets.get())),
            || {
                if rotations.get() < stray {
                    packets.set(packets.get() + 1);
                }
                rotations.set(rotations.get() + 1);
                Ok(rotations.get())
            },
            || Ok(counters(packets.get())),
        )
    }

    #[test]
    fn a_packet_during_the_rotation_moves_the_boundary() {
        let found = with_stray_packets(0).expect("a boundary");
        assert_eq!((found.intervals, found.link), (1, counters(7)));
        let found = with_stray_packets(2).expect("a boundary");
        assert_eq!((found.intervals, found.link), (3, counters(9)));
        with_stray_packets(ATTEMPTS).expect_err("it is never quiet");
    }
}
