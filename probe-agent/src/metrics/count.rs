//! The counters of an interface, and which number of its status each follows.

use probe_capture::status::{InterfaceStatus, Issue};
use probe_flow::ledger::Loss;

/// Whether packets entered or left the host, in the order of the wire. The labels are the seed's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// Received.
    Inbound,
    /// Sent.
    Outbound,
}

impl Direction {
    pub(super) const ALL: [Self; 2] = [Self::Inbound, Self::Outbound];

    /// Value of the label `direction`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// A counter of an interface.
#[derive(Clone, Copy, Debug)]
pub(super) enum Count {
    Processed,
    Dropped,
    Seen,
    Packets(Direction),
    Bytes(Direction),
    Lost(Loss),
    Issue(Issue),
    Link(Direction),
    Reattached,
    DetachedSeconds,
}

impl Count {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let plain = [
            Self::Processed,
            Self::Dropped,
            Self::Seen,
            Self::Reattached,
            Self::DetachedSeconds,
        ];
        plain
            .into_iter()
            .chain(Direction::ALL.map(Self::Packets))
            .chain(Direction::ALL.map(Self::Bytes))
            .chain(Direction::ALL.map(Self::Link))
            .chain(Loss::ALL.map(Self::Lost))
            .chain(Issue::ALL.map(Self::Issue))
    }

    /// Value of the label after `iface`.
    pub(super) fn label(self) -> Option<&'static str> {
        match self {
            Self::Processed
            | Self::Dropped
            | Self::Seen
            | Self::Reattached
            | Self::DetachedSeconds => None,
            Self::Packets(direction) | Self::Bytes(direction) | Self::Link(direction) => {
                Some(direction.name())
            }
            Self::Lost(loss) => Some(loss.name()),
            Self::Issue(issue) => Some(issue.name()),
        }
    }

    /// The number it follows.
    pub(super) fn read(self, status: &InterfaceStatus) -> u64 {
        let (ledger, totals) = (&status.ledger, &status.totals);
        let lost = |loss| ledger.loss(loss).packets;
        match self {
            Self::Processed => ledger.flows.packets,
            Self::Dropped => lost(Loss::RingFull) + lost(Loss::LocalBufferFull),
            Self::Seen => ledger.seen.packets,
            Self::Packets(Direction::Inbound) => totals.packets_rcvd,
            Self::Packets(Direction::Outbound) => totals.packets_sent,
            Self::Bytes(Direction::Inbound) => totals.bytes_rcvd,
            Self::Bytes(Direction::Outbound) => totals.bytes_sent,
            Self::Link(direction) => status.watch.coverage[direction as usize].compared.link,
            Self::Reattached => status.watch.reattached,
            Self::DetachedSeconds => status.watch.detached.as_secs(),
            Self::Lost(loss) => lost(loss),
            Self::Issue(issue) => issue.count(ledger),
        }
    }
}
