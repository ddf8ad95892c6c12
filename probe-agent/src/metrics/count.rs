//! The counters of an interface, and which number of its status each follows.

use probe_capture::status::{InterfaceStatus, Issue};
use probe_flow::ledger::Loss;

/// Whether packets entered or left the host, by the words of the flow schema.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// Packets that the link received.
    Rcvd,
    /// Packets that the link sent.
    Sent,
}

impl Direction {
    pub(super) const ALL: [Self; 2] = [Self::Rcvd, Self::Sent];

    /// Value of the label `direction`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rcvd => "rcvd",
            Self::Sent => "sent",
        }
    }
}

/// A counter of an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Count {
    Processed,
    Dropped,
    Seen,
    Overflow,
    Packets(Direction),
    Bytes(Direction),
    Lost(Loss),
    Issue(Issue),
    Link(Direction),
    Reattached,
    DetachedSeconds,
}

/// Number of counters without a label.
const PLAIN: usize = 6;
/// Counters by direction: packets, bytes, packets of the link.
const BY_DIRECTION: usize = 3 * Direction::ALL.len();
/// All counters of an interface.
const NUMBER: usize = PLAIN + BY_DIRECTION + Loss::ALL.len() + Issue::ALL.len();

/// The counters of an interface, or of all that share a name, in the order of [`Count::all`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts([u64; NUMBER]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; NUMBER])
    }
}

impl Counts {
    pub(super) fn from_status(status: &InterfaceStatus) -> Self {
        let mut counts = Self::default();
        for (value, count) in counts.0.iter_mut().zip(Count::all()) {
            *value = count.read(status);
        }
        counts
    }

    /// Adds what `now` has more than `before`.
    pub(super) fn advance(&mut self, now: &Self, before: Option<&Self>) {
        let zero = Self::default();
        let before = before.unwrap_or(&zero);
        for ((value, now), before) in self.0.iter_mut().zip(now.0).zip(before.0) {
            *value += now.saturating_sub(before);
        }
    }

    pub(super) fn value(&self, count: Count) -> u64 {
        let position = Count::all().position(|it| it == count);
        position.map_or(0, |position| self.0[position])
    }
}

impl Count {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let plain: [Self; PLAIN] = [
            Self::Processed,
            Self::Dropped,
            Self::Seen,
            Self::Overflow,
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
            | Self::Overflow
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
        match self {
            Self::Processed => ledger.flows.packets,
            Self::Dropped => ledger.dropped_packets(),
            Self::Seen => ledger.seen.packets,
            Self::Overflow => ledger.overflow_packets,
            Self::Packets(Direction::Rcvd) => totals.packets_rcvd,
            Self::Packets(Direction::Sent) => totals.packets_sent,
            Self::Bytes(Direction::Rcvd) => totals.bytes_rcvd,
            Self::Bytes(Direction::Sent) => totals.bytes_sent,
            Self::Link(direction) => status.watch.coverage[direction as usize].compared.link,
            Self::Reattached => status.watch.reattached,
            Self::DetachedSeconds => status.watch.detached.as_secs(),
            Self::Lost(loss) => ledger.loss(loss).packets,
            Self::Issue(issue) => issue.count(ledger),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Count, Counts, NUMBER};

    #[test]
    fn every_counter_has_a_place_of_its_own() {
        assert_eq!(Count::all().count(), NUMBER);
        let mut numbered = Counts::default();
        for (value, number) in numbered.0.iter_mut().zip(1..) {
            *value = number;
        }
        for (count, number) in Count::all().zip(1..) {
            assert_eq!(numbered.value(count), number, "{count:?}");
        }
    }
}
