//! The counters of an interface, and which number of its status each follows.

use crate::{ledger::Loss, status::InterfaceStatus};

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

/// What the parser met that should not be there. A packet that is simply no IP is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Issue {
    /// See [`Loss::InvalidIpHeader`].
    InvalidIpHeader,
    /// See [`Loss::Truncated`].
    Truncated,
    /// See [`Loss::TooManyHeaders`].
    TooManyHeaders,
    /// A fragment other than the first: counted in the flow of the first.
    LaterFragment,
    /// A fragment whose first one was not seen: counted in a flow without ports.
    UnattributedFragment,
    /// A cut transport header: counted in a flow without ports.
    ShortTransport,
}

impl Issue {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::InvalidIpHeader,
        Self::Truncated,
        Self::TooManyHeaders,
        Self::LaterFragment,
        Self::UnattributedFragment,
        Self::ShortTransport,
    ];

    /// Value of the label `issue_type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidIpHeader => Loss::InvalidIpHeader.name(),
            Self::Truncated => Loss::Truncated.name(),
            Self::TooManyHeaders => Loss::TooManyHeaders.name(),
            Self::LaterFragment => "later_fragment",
            Self::UnattributedFragment => "unattributed_fragment",
            Self::ShortTransport => "short_transport",
        }
    }

    /// How many there were.
    pub fn read(self, status: &InterfaceStatus) -> u64 {
        Count::Issue(self).read(status)
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
            Self::Issue(Issue::InvalidIpHeader) => lost(Loss::InvalidIpHeader),
            Self::Issue(Issue::Truncated) => lost(Loss::Truncated),
            Self::Issue(Issue::TooManyHeaders) => lost(Loss::TooManyHeaders),
            Self::Issue(Issue::LaterFragment) => ledger.later_fragments,
            Self::Issue(Issue::UnattributedFragment) => ledger.unattributed_fragments,
            Self::Issue(Issue::ShortTransport) => ledger.short_transports,
        }
    }
}
