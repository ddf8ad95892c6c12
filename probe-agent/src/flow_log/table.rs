//! The flows of one IP version.

use hashbrown::{HashMap, hash_map::Entry};
use probe_common::{
    classify::{Direction, classify_handshake},
    ephash::EpHash,
    ports::{ICMP, ICMPV6, TCP},
    record::{NOTE_LATER_FRAGMENT, RecordHead},
};

use super::{FlowLogOptions, first_tcp_flags};
use crate::flow::Flow;

/// Flows by key, in the orientation that the evidence gave them.
#[derive(Debug)]
pub(super) struct FlowTable<const N: usize> {
    flows: HashMap<EpHash<N>, Flow>,
    classify: fn(&EpHash<N>, u8) -> Direction,
}

impl<const N: usize> FlowTable<N> {
    pub(super) fn new(classify: fn(&EpHash<N>, u8) -> Direction) -> Self {
        Self {
            flows: HashMap::new(),
            classify,
        }
    }

    /// A table without flows that classifies as this one does.
    pub(super) fn empty(&self) -> Self {
        Self::new(self.classify)
    }

    /// Copies the flow that packets of this key belong to, if `other` has it and this one does not.
    pub(super) fn adopt(&mut self, other: &Self, key: EpHash<N>, bidirectional: bool) {
        for stored in [key, key.reverse()]
            .into_iter()
            .take(1 + usize::from(bidirectional))
        {
            if let Some(flow) = other.flows.get(&stored) {
                self.flows.entry(stored).or_insert(*flow);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.flows.allocation_size()
    }

    /// Counts a record under its flow. If the flow is new and the log is full, gives back the key
    /// in the orientation that the flow would have had.
    #[inline]
    pub(super) fn count(
        &mut self,
        key: EpHash<N>,
        head: &RecordHead,
        options: &FlowLogOptions,
        is_full: bool,
    ) -> Result<(), EpHash<N>> {
        if let Some(stored) = self.find(key, options.bidirectional, head) {
            if stored.needs_direction {
                self.correct_direction(key, stored.reversed, head);
            }
            return Ok(());
        }
        let direction = if options.bidirectional {
            (self.classify)(&key, head.aux)
        } else {
            Direction {
                reverse: false,
                evidence: (self.classify)(&key, head.aux).evidence,
            }
        };
        let key = if direction.reverse {
            key.reverse()
        } else {
            key
        };
        if is_full {
            return Err(key);
        }
        let mut flow = Flow {
            evidence: direction.evidence,
            ..Flow::default()
        };
        flow.on_record(head);
        self.flows.insert(key, flow);
        Ok(())
    }

    /// Finds the flow in either orientation and counts the record under it. Looks first where the
    /// ports suggest that the flow is, which saves most second look-ups.
    #[inline]
    fn find(&mut self, key: EpHash<N>, bidirectional: bool, head: &RecordHead) -> Option<Found> {
        if !bidirectional {
            self.flows.get_mut(&key)?.on_record(head);
            return Some(Found {
                reversed: false,
                needs_direction: false,
            });
        }
        let likely_reversed = is_probably_reverse(&key);
        for reversed in [likely_reversed, !likely_reversed] {
            let candidate = if reversed { key.reverse() } else { key };
            if let Some(flow) = self.flows.get_mut(&candidate) {
                flow.on_record(head);
                let needs_direction = matches!(key.ip_protocol, TCP | ICMP | ICMPV6)
                    && !flow.evidence.is_high_confidence();
                return Some(Found {
                    reversed,
                    needs_direction,
                });
            }
        }
        None
    }

    /// Replaces a guess by what a handshake or an ICMP type says, turning the flow round if the
    /// guess was wrong. (Before a first ping over IPv6 the neighbours find each other, and the
    /// answer to that says nothing about who is the client.)
    fn correct_direction(&mut self, key: EpHash<N>, reversed: bool, head: &RecordHead) {
        let verdict = match key.ip_protocol {
            TCP => classify_handshake(first_tcp_flags(head)),
            // Has no ICMP header, whose type could be read.
            _ if head.notes & NOTE_LATER_FRAGMENT != 0 => None,
            _ => Some((self.classify)(&key, head.aux)),
        };
        let Some(verdict) = verdict.filter(|it| it.evidence.is_high_confidence()) else {
            return;
        };
        let stored = if reversed { key.reverse() } else { key };
        let right = if verdict.reverse { key.reverse() } else { key };
        if let Some(mut flow) = self.flows.remove(&stored) {
            flow.evidence = verdict.evidence;
            match self.flows.entry(right) {
                Entry::Vacant(entry) => {
                    entry.insert(flow);
                }
                // A flow whose two ends are the same: both orientations are one key.
                Entry::Occupied(mut entry) => entry.get_mut().absorb(&flow),
            }
        }
    }

    pub(super) fn rotate_into(&mut self, out: &mut Vec<(EpHash<N>, Flow)>) {
        out.reserve(self.flows.len());
        self.flows.retain(|key, flow| {
            if flow.is_idle() {
                return false;
            }
            out.push((*key, *flow));
            flow.begin_interval();
            true
        });
    }

    /// Copies the flows that had traffic, but for those that `except` has.
    pub(super) fn copy_into(&self, out: &mut Vec<(EpHash<N>, Flow)>, except: &Self) {
        let active = self
            .flows
            .iter()
            .filter(|(key, flow)| !flow.is_idle() && !except.flows.contains_key(*key));
        out.extend(active.map(|(key, flow)| (*key, *flow)));
    }

    pub(super) fn to_vec(&self) -> Vec<(EpHash<N>, Flow)> {
        self.flows.iter().map(|(key, flow)| (*key, *flow)).collect()
    }
}

/// Where a record's flow was found.
struct Found {
    /// Under the reverse of the record's key.
    reversed: bool,
    /// Its direction is a guess that a handshake may correct.
    needs_direction: bool,
}

/// Whether a packet probably travels against the stored orientation of its flow.
#[inline]
const fn is_probably_reverse<const N: usize>(key: &EpHash<N>) -> bool {
    match (key.src_port(), key.dst_port()) {
        (0, _) => false,
        (_, 0) => true,
        (src, dst) => src < dst,
    }
}
