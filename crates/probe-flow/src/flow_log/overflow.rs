//! Flows that stand for many: where records go once the log is full.
//!
//! A flood of unique flows must cost bounded memory and yet lose no packet of the totals. So what
//! does not fit is folded by (protocol, destination port, destination prefix), and when even those
//! are too many (a scan over ports and networks), by protocol alone, of which there are 256.

use hashbrown::HashMap;
use probe_common::{ephash::EpHash, record::RecordHead};

use crate::flow::Flow;

/// Overflow flows by port and prefix, before protocol alone is kept.
const MAX_PREFIX_FLOWS: usize = 4096;

/// Overflow flows of one IP version. They live for one interval.
#[derive(Clone, Debug)]
pub(super) struct OverflowTable<const N: usize> {
    flows: HashMap<EpHash<N>, Flow>,
    /// Packets that were ever counted here.
    packets: u64,
}

impl<const N: usize> Default for OverflowTable<N> {
    fn default() -> Self {
        Self {
            flows: HashMap::new(),
            packets: 0,
        }
    }
}

impl<const N: usize> OverflowTable<N> {
    #[cold]
    pub(super) fn count(&mut self, key: EpHash<N>, head: &RecordHead) {
        let mut folded = EpHash {
            src_addr: [0; N],
            src_port: [0; 2],
            dst_addr: prefix(key.dst_addr),
            dst_port: key.dst_port,
            ip_protocol: key.ip_protocol,
        };
        if self.flows.len() >= MAX_PREFIX_FLOWS && !self.flows.contains_key(&folded) {
            folded.dst_addr = [0; N];
            folded.dst_port = [0; 2];
        }
        let flow = self.flows.entry(folded).or_default();
        flow.is_overflow = true;
        flow.on_record(head);
        self.packets += u64::from(head.packets);
    }

    pub(super) const fn packets(&self) -> u64 {
        self.packets
    }

    pub(super) fn drain_into(&mut self, out: &mut Vec<(EpHash<N>, Flow)>) {
        out.extend(self.flows.drain());
    }
}

/// The network of an address: /24 for IPv4, /48 for IPv6.
fn prefix<const N: usize>(mut addr: [u8; N]) -> [u8; N] {
    let kept = if N == 4 { 3 } else { 6 };
    for byte in &mut addr[kept..] {
        *byte = 0;
    }
    addr
}
