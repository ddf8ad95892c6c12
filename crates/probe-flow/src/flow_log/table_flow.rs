//! A flow as the table keeps it.

use probe_common::{classify::Evidence, record::RecordHead};

use crate::flow::Flow;

/// A flow of the table, and whether its direction has been handed out.
///
/// Flows that stand for many lie in a table of their own, so the flag for them is free here: a flow
/// with its key fills one cache line.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableFlow(Flow);

impl TableFlow {
    /// A flow of one record, whose direction rests on this.
    pub(super) fn new(evidence: Evidence, head: &RecordHead) -> Self {
        let mut flow = Flow {
            evidence,
            ..Flow::default()
        };
        flow.on_record(head);
        Self(flow)
    }

    /// Adds the counts of one record. Returns whether it began before others since the last rotation, which
    /// came earlier.
    pub(super) fn on_record(&mut self, head: &RecordHead) -> bool {
        let is_overtaking = !self.is_idle() && self.is_begun_by(head.first);
        self.0.on_record(head);
        is_overtaking
    }

    /// Counts a record that does not begin the flow: see [`Flow::on_later_record`].
    #[inline(always)]
    pub(super) fn on_later_record(&mut self, head: &RecordHead, last: u32) {
        self.0.on_later_record(head, last);
    }

    /// Whether packets of this tick begin the flow: see [`Flow::is_begun_by`].
    #[inline(always)]
    pub(super) const fn is_begun_by(&self, first: u32) -> bool {
        self.0.is_begun_by(first)
    }

    /// What the direction rests on.
    pub(super) const fn evidence(&self) -> Evidence {
        self.0.evidence
    }

    /// Takes in that the direction rests on something else now.
    pub(super) const fn set_evidence(&mut self, evidence: Evidence) {
        self.0.evidence = evidence;
    }

    /// Whether an interval has ended since the flow began: who was the first to send in a later one says
    /// nothing about who began.
    pub(super) const fn is_of_earlier_interval(&self) -> bool {
        self.0.is_overflow
    }

    /// Forgets what belongs to the interval that has ended; what is known of the direction stays.
    pub(super) fn begin_interval(&mut self) {
        self.0.begin_interval();
        self.0.is_overflow = true;
    }

    /// Had no packet since the last rotation.
    pub(super) const fn is_idle(&self) -> bool {
        self.0.is_idle()
    }

    /// The flow for readers.
    pub(super) const fn flow(&self) -> Flow {
        Flow {
            is_overflow: false,
            ..self.0
        }
    }
}
