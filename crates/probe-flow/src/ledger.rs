//! The conservation ledger: where every packet of an interface went.
//!
//! `seen = flows + Σ losses`, per interface and interval, in packets. The residue is exported and
//! must be 0; anything else is a defect of ours, not of the network.

use std::fmt;

use probe_common::control::{Counters, Tally};
pub use probe_common::loss::Loss;

use crate::text::counted;

/// Whether packets of this loss are in no flow because they are none that flows are made of: not IP, or left out
/// by the configuration.
pub const fn is_by_design(loss: Loss) -> bool {
    matches!(loss, Loss::NonIp | Loss::Filtered)
}

/// What must hold in the ledger of a closed interval. Together they are the ledger's own identity,
/// `seen = flows + Σ losses`; apart they say where it broke.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Identity {
    /// In the kernel: every packet seen became part of a record or a named loss.
    Programs,
    /// On the way to the flows: every packet of a record is in a flow or was lost with the record.
    Records,
    /// The same for the IP octets.
    Octets,
}

impl Identity {
    /// Number of identities in the ledger.
    pub const COUNT: usize = Self::ALL.len();

    /// All identities, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Programs, Self::Records, Self::Octets];

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Programs => "programs",
            Self::Records => "records",
            Self::Octets => "octets",
        }
    }

    /// What is counted: `packets` or `IP octets`.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Programs | Self::Records => "packets",
            Self::Octets => "IP octets",
        }
    }

    /// The losses on its right side.
    pub fn losses(self) -> impl Iterator<Item = Loss> {
        let is_with_record = self != Self::Programs;
        Loss::ALL
            .into_iter()
            .filter(move |loss| loss.is_with_record() == is_with_record)
    }

    /// The identity as a formula, in [`Self::unit`].
    pub fn formula(self) -> String {
        let mut formula = match self {
            Self::Programs => "seen = recorded".to_owned(),
            Self::Records | Self::Octets => "recorded = flows".to_owned(),
        };
        for loss in self.losses() {
            formula.push_str(" + ");
            formula.push_str(loss.name());
        }
        formula
    }
}

const _: () = {
    let mut number = 0;
    while number < Identity::COUNT {
        assert!(Identity::ALL[number] as usize == number);
        number += 1;
    }
};

/// Where the packets of one interface went, over an interval or since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ledger {
    /// Every packet that the programs were handed; bytes are whole frames.
    pub seen: Tally,
    /// Packets that became part of a record; bytes are IP octets.
    pub recorded: Tally,
    /// Packets counted in flows; bytes are IP octets.
    pub flows: Tally,
    /// Packets lost, by [`Loss`]. Bytes are IP octets for what was lost
    /// [with a record](Loss::is_with_record), else whole frames.
    pub losses: [Tally; Loss::COUNT],
    /// Of the packets in flows: fragments other than the first.
    pub later_fragments: u64,
    /// Of those: counted in flows without ports, since the first fragment was not seen with them.
    pub unattributed_fragments: u64,
    /// Of the packets in flows: those with a cut transport header.
    pub short_transports: u64,
    /// Of the packets in flows: those in overflow flows, since the log was full.
    pub overflow_packets: u64,
    /// Of the packets in flows: those whose length field states more octets than the frame has. Bytes are the
    /// octets beyond the frame, which are in no flow.
    pub beyond_frame: Tally,
}

impl Ledger {
    /// Adds what the source counted.
    pub fn on_source_counters(&mut self, counters: &Counters) {
        let Counters {
            seen,
            recorded,
            losses,
            later_fragments,
            short_transports,
            further_segments: _,
            beyond_frame,
        } = *counters;
        self.seen += seen;
        self.recorded += recorded;
        // Both by the number of the loss; the agent counts the rest itself.
        for (mine, theirs) in self.losses.iter_mut().zip(losses) {
            *mine += theirs;
        }
        self.later_fragments += later_fragments;
        self.short_transports += short_transports;
        self.beyond_frame += beyond_frame;
    }

    /// Packets of one loss.
    pub const fn loss(&self, loss: Loss) -> Tally {
        self.losses[loss as usize]
    }

    /// Packets that were lost with a record, because the agent did not keep up.
    pub fn dropped_packets(&self) -> u64 {
        let losses = Identity::Records.losses();
        losses.map(|loss| self.loss(loss).packets).sum()
    }

    /// Packets of all losses.
    pub fn lost_packets(&self) -> u64 {
        self.losses.iter().map(|tally| tally.packets).sum()
    }

    /// By how much an identity does not hold: its left side less its right. Must be 0.
    pub fn violation(&self, identity: Identity) -> i64 {
        let mut lost = Tally::default();
        for loss in identity.losses() {
            lost += self.loss(loss);
        }
        let (left, right) = match identity {
            Identity::Programs => (self.seen.packets, self.recorded.packets + lost.packets),
            Identity::Records => (self.recorded.packets, self.flows.packets + lost.packets),
            Identity::Octets => (self.recorded.bytes, self.flows.bytes + lost.bytes),
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
            overflow_packets,
            beyond_frame,
        } = other;
        self.seen += seen;
        self.recorded += recorded;
        self.flows += flows;
        for (mine, theirs) in self.losses.iter_mut().zip(losses) {
            *mine += theirs;
        }
        self.later_fragments += later_fragments;
        self.unattributed_fragments += unattributed_fragments;
        self.overflow_packets += overflow_packets;
        self.short_transports += short_transports;
        self.beyond_frame += beyond_frame;
    }
}

/// What stands behind a ledger in one line, of what there is: the fragments that could not be attributed
/// (`; 2 fragments without ports`), the packets for whose flows there was no room (`; 7 packets in
/// overflow flows`), and the lengths that were not believed (`; 3 lengths beyond the frame, by 900
/// octets`).
pub fn remarks(fragments: u64, overflow: u64, lengths: u64, octets: u64) -> String {
    let parts = [
        (fragments, "fragment", " without ports"),
        (overflow, "packet", " in overflow flows"),
        (lengths, "length", " beyond the frame, by "),
    ];
    let parts = parts.into_iter().filter(|(number, ..)| *number > 0);
    let parts = parts.map(|(number, noun, what)| format!("; {}{what}", counted(number, noun)));
    let octets = (lengths > 0).then(|| counted(octets, "octet"));
    parts.chain(octets).collect()
}

impl fmt::Display for Ledger {
    /// One line: `seen 12 = flows 10 + non_ip 2 (residue 0)`; losses of 0 are left out. Then the
    /// [`remarks`].
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
        let Tally { packets, bytes } = self.beyond_frame;
        let (fragments, overflow) = (self.unattributed_fragments, self.overflow_packets);
        f.write_str(&remarks(fragments, overflow, packets, bytes))
    }
}

#[cfg(test)]
mod tests {
    use probe_common::control::{Counters, Tally};

    use super::{Identity, Ledger, Loss, remarks};

    #[test]
    fn what_the_programs_count_is_in_the_ledger_by_the_same_name() {
        let mut counters = Counters::default();
        for loss in Loss::ALL.into_iter().take(Loss::IN_KERNEL) {
            counters.losses[loss as usize].add(loss as u64 + 1, 100);
        }
        let mut ledger = Ledger::default();
        ledger.on_source_counters(&counters);
        for loss in Loss::ALL {
            assert_eq!(ledger.loss(loss), counters.loss(loss), "{}", loss.name());
        }
    }

    #[test]
    fn a_violation_says_where_the_packets_went_missing() {
        let mut counters = Counters::default();
        counters.seen.add(10, 1000);
        counters.recorded.add(8, 800);
        counters.losses[Loss::RingFull as usize].add(1, 100);
        counters.losses[Loss::Filtered as usize].add(2, 200);
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
    fn each_loss_has_its_place_in_the_identities() {
        for loss in Loss::ALL {
            let identities = Identity::ALL.map(|it| it.losses().any(|other| other == loss));
            let with_record = [false, true, true];
            let expected = if loss.is_with_record() {
                with_record
            } else {
                with_record.map(|it| !it)
            };
            assert_eq!(identities, expected, "{}", loss.name());
        }
        assert_eq!(
            Identity::Records.formula(),
            "recorded = flows + ring_full + local_buffer_full"
        );
    }

    #[test]
    fn residue_is_what_has_no_address() {
        let mut counters = Counters::default();
        counters.seen.add(10, 1000);
        counters.losses[Loss::NonIp as usize].add(2, 120);
        counters.losses[Loss::RingFull as usize].add(1, 60);
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
        ledger.overflow_packets = 7;
        ledger.beyond_frame.add(2, 900);
        assert!(ledger.to_string().ends_with(
            "without ports; 7 packets in overflow flows; 2 lengths beyond the frame, by 900 octets"
        ));
        assert_eq!(
            remarks(1, 1, 1, 1),
            "; 1 fragment without ports; 1 packet in overflow flows; 1 length beyond the frame, by 1 octet"
        );
    }
}
