//! The conservation ledger: where every packet of an interface went.
//!
//! `seen = flows + Σ losses`, per interface and interval, in packets. The residue is exported and
//! must be 0; anything else is a defect of ours, not of the network.

use std::fmt;

use probe_common::{
    control::{Counters, Tally},
    parse::ParseError,
};

/// Names of all losses, in the order of [`Ledger::losses`].
///
/// The first are those of [`ParseError`], in its order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Loss {
    /// EtherType neither IPv4 nor IPv6.
    NonIp,
    /// IP header with the wrong version or a length field that contradicts the header.
    InvalidIpHeader,
    /// Frame ends inside a link, IP or extension header.
    Truncated,
    /// More tags, labels or extension headers than the parser follows.
    TooManyHeaders,
    /// Left out by configuration (`ignore_vlans`).
    Filtered,
    /// The kernel's ring was full: the agent did not keep up.
    RingFull,
    /// The buffer that takes records during a rotation or live query was full.
    LocalBufferFull,
}

impl Loss {
    /// Number of losses.
    pub const COUNT: usize = 7;

    /// All losses, in the order of [`Ledger::losses`].
    pub const ALL: [Self; Self::COUNT] = [
        Self::NonIp,
        Self::InvalidIpHeader,
        Self::Truncated,
        Self::TooManyHeaders,
        Self::Filtered,
        Self::RingFull,
        Self::LocalBufferFull,
    ];

    /// The one name of the loss: in the metrics, the stored interval and the output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NonIp => ParseError::NotIp.name(),
            Self::InvalidIpHeader => ParseError::InvalidHeader.name(),
            Self::Truncated => ParseError::Truncated.name(),
            Self::TooManyHeaders => ParseError::TooManyHeaders.name(),
            Self::Filtered => "filtered",
            Self::RingFull => "ring_full",
            Self::LocalBufferFull => "local_buffer_full",
        }
    }
}

/// What must hold in the ledger of a closed interval. Together they are the ledger's own identity,
/// `seen = flows + Σ losses`; apart they say where it broke.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Identity {
    /// In the kernel: every packet seen became part of a record or a named loss.
    /// `seen = recorded + filtered + Σ unparsed`
    Programs,
    /// On the way to the flows: every packet of a record is in a flow or was lost with the record.
    /// `recorded = flows + ring_full + local_buffer_full`
    Records,
    /// The same for the IP octets.
    Octets,
}

impl Identity {
    /// All identities.
    pub const ALL: [Self; 3] = [Self::Programs, Self::Records, Self::Octets];

    /// The identity as a formula, for the log.
    pub const fn formula(self) -> &'static str {
        match self {
            Self::Programs => "seen = recorded + filtered + unparsed (packets)",
            Self::Records => "recorded = flows + ring_full + local_buffer_full (packets)",
            Self::Octets => "recorded = flows + ring_full + local_buffer_full (octets)",
        }
    }
}

/// Where the packets of one interface went, over an interval or since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ledger {
    /// Every packet that the programs were handed; bytes are whole frames.
    pub seen: Tally,
    /// Packets that became part of a record; bytes are IP octets.
    pub recorded: Tally,
    /// Packets counted in flows; bytes are IP octets.
    pub flows: Tally,
    /// Packets lost, by [`Loss`]. Bytes are whole frames for what could not be parsed, else IP
    /// octets.
    pub losses: [Tally; Loss::COUNT],
    /// Of the packets in flows: fragments other than the first.
    pub later_fragments: u64,
    /// Of those: counted in flows without ports, since the first fragment was not seen with them.
    pub unattributed_fragments: u64,
    /// Of the packets in flows: those with a cut transport header.
    pub short_transports: u64,
}

impl Ledger {
    /// Books what the source counted.
    pub fn on_source_counters(&mut self, counters: &Counters) {
        let Counters {
            seen,
            recorded,
            ring_full,
            filtered,
            unparsed,
            later_fragments,
            short_transports,
            further_segments: _,
        } = *counters;
        self.seen += seen;
        self.recorded += recorded;
        for (loss, tally) in self.losses.iter_mut().zip(unparsed) {
            *loss += tally;
        }
        self.losses[Loss::RingFull as usize] += ring_full;
        self.losses[Loss::Filtered as usize] += filtered;
        self.later_fragments += later_fragments;
        self.short_transports += short_transports;
    }

    /// Packets of one loss.
    pub const fn loss(&self, loss: Loss) -> Tally {
        self.losses[loss as usize]
    }

    /// Packets of all losses.
    pub fn lost_packets(&self) -> u64 {
        self.losses.iter().map(|tally| tally.packets).sum()
    }

    /// By how much an identity does not hold: its left side less its right. Must be 0.
    pub fn violation(&self, identity: Identity) -> i64 {
        let mut with_records = self.loss(Loss::RingFull);
        with_records += self.loss(Loss::LocalBufferFull);
        let Tally { packets, bytes } = with_records;
        let (left, right) = match identity {
            Identity::Programs => (
                self.seen.packets,
                self.recorded.packets + self.lost_packets() - packets,
            ),
            Identity::Records => (self.recorded.packets, self.flows.packets + packets),
            Identity::Octets => (self.recorded.bytes, self.flows.bytes + bytes),
        };
        left.wrapping_sub(right).cast_signed()
    }

    /// Packets without an address: `seen - flows - Σ losses`. Must be 0.
    pub fn residue(&self) -> i64 {
        self.seen
            .packets
            .wrapping_sub(self.flows.packets + self.lost_packets())
            .cast_signed()
    }
}

impl std::ops::AddAssign for Ledger {
    fn add_assign(&mut self, other: Self) {
        let Self {
            seen,
            recorded,
            flows,
            losses,
            later_fragments,
            unattributed_fragments,
            short_transports,
        } = other;
        self.seen += seen;
        self.recorded += recorded;
        self.flows += flows;
        for (mine, theirs) in self.losses.iter_mut().zip(losses) {
            *mine += theirs;
        }
        self.later_fragments += later_fragments;
        self.unattributed_fragments += unattributed_fragments;
        self.short_transports += short_transports;
    }
}

impl fmt::Display for Ledger {
    /// One line: `seen 12 = flows 10 + non_ip 2 (residue 0)`; losses of 0 are left out. Behind
    /// it, if there are any, the fragments that could not be attributed: `; 2 fragments without
    /// ports`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seen {} = flows {}",
            self.seen.packets, self.flows.packets
        )?;
        for loss in Loss::ALL {
            let packets = self.loss(loss).packets;
            if packets > 0 {
                write!(f, " + {} {packets}", loss.name())?;
            }
        }
        write!(f, " (residue {})", self.residue())?;
        if self.unattributed_fragments > 0 {
            write!(
                f,
                "; {} fragments without ports",
                self.unattributed_fragments
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use probe_common::{
        control::{Counters, Tally},
        parse::ParseError,
    };

    use super::{Identity, Ledger, Loss};

    #[test]
    fn parse_errors_and_losses_agree_by_position_and_name() {
        for error in ParseError::ALL {
            assert_eq!(Loss::ALL[error.index()].name(), error.name());
        }
        for (position, loss) in Loss::ALL.into_iter().enumerate() {
            assert_eq!(loss as usize, position);
        }
    }

    #[test]
    fn a_violation_says_where_the_packets_went_missing() {
        let mut counters = Counters::default();
        counters.seen.add(10, 1000);
        counters.recorded.add(8, 800);
        counters.ring_full.add(1, 100);
        counters.filtered.add(2, 200);
        let mut ledger = Ledger::default();
        ledger.on_source_counters(&counters);
        ledger.flows.add(4, 400);
        ledger.losses[Loss::LocalBufferFull as usize].add(3, 300);
        let violations = |ledger: &Ledger| Identity::ALL.map(|it| ledger.violation(it));
        assert_eq!(violations(&ledger), [0, 0, 0]);
        ledger.seen.add(5, 0);
        assert_eq!(violations(&ledger), [5, 0, 0], "the programs lost some");
        ledger.flows.add(1, 90);
        assert_eq!(violations(&ledger), [5, -1, -90], "a record counted twice");
        let split = ledger.violation(Identity::Programs) + ledger.violation(Identity::Records);
        assert_eq!(split, ledger.residue(), "the residue is the sum");
    }

    #[test]
    fn residue_is_what_has_no_address() {
        let mut counters = Counters::default();
        counters.seen.add(10, 1000);
        counters.unparsed[ParseError::NotIp.index()].add(2, 120);
        counters.ring_full.add(1, 60);
        let mut ledger = Ledger::default();
        ledger.on_source_counters(&counters);
        assert_eq!(ledger.residue(), 7, "seven packets are not in flows yet");
        ledger.flows = Tally {
            packets: 8,
            bytes: 0,
        };
        assert_eq!(ledger.residue(), -1, "a packet was counted twice");
        ledger.flows.packets = 7;
        assert_eq!(
            ledger.to_string(),
            "seen 10 = flows 7 + non_ip 2 + ring_full 1 (residue 0)"
        );
        ledger.unattributed_fragments = 3;
        assert_eq!(ledger.residue(), 0, "they are in flows");
        assert!(
            ledger
                .to_string()
                .ends_with("(residue 0); 3 fragments without ports")
        );
    }
}
