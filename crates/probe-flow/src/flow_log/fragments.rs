//! Which flow a fragment belongs to.
//!
//! Only the first fragment of a packet has the ports, and it need not be the first to arrive. So
//! the ports of first fragments are remembered, and later fragments that come before theirs wait.
//! Both in one table of bounded size, oldest out first: a fragment that has waited in vain is
//! counted in the flow without ports, and as unattributed.

use hashbrown::HashMap;
use probe_common::{
    ephash::EpHash,
    headers::ip_protocol::{ICMP, ICMPV6},
    record::{FLAG_LATER_FRAGMENT, FRAGMENT_BEHIND_AH, RecordHead},
};

/// Packets in fragments that are remembered, per IP version of a flow log: 1,024. The kernel itself
/// reassembles no more than 4 MiB at a time (`net.ipv4.ipfrag_high_thresh`), 70 packets of 60 KB.
pub(super) const MAX_PACKETS: usize = 1024;

/// No ICMP type, so that nothing is concluded from a type that was not seen (255 is reserved,
/// RFC 4443, section 2.1).
const NO_ICMP_TYPE: u8 = 255;

/// What the fragments of one packet have in common: RFC 791, section 3.2, and RFC 8200, section
/// 4.5, and the direction, since the same packet may come in and go out through one interface.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct PacketId<const N: usize> {
    src_addr: [u8; N],
    dst_addr: [u8; N],
    identification: u32,
    /// 0 in IPv6, where later fragments do not have it if extension headers follow the fragment
    /// header, and in IPv4 behind an authentication header, which the identification tells.
    ip_protocol: u8,
    direction: u8,
}

impl<const N: usize> PacketId<N> {
    const fn from_key(key: &EpHash<N>, head: &RecordHead) -> Self {
        let identification = head.fragment_id();
        let has_protocol = N == 4 && identification & FRAGMENT_BEHIND_AH == 0;
        Self {
            src_addr: key.src_addr,
            dst_addr: key.dst_addr,
            identification,
            ip_protocol: if has_protocol { key.ip_protocol } else { 0 },
            direction: head.direction(),
        }
    }
}

/// Packets and octets to be counted in a flow.
pub(super) type Counted<const N: usize> = (EpHash<N>, RecordHead);

/// What is known of a packet.
#[derive(Clone, Copy, Debug)]
enum FragmentState<const N: usize> {
    /// The flow and the auxiliary byte of its first fragment.
    Known { key: EpHash<N>, aux: u8 },
    /// The sum of its later fragments, as a record of the flow without ports, at the time of the
    /// first that came: the rest follows within moments.
    Waiting(Counted<N>),
}

#[derive(Clone, Copy, Debug)]
struct FragmentedPacket<const N: usize> {
    id: PacketId<N>,
    state: FragmentState<N>,
    /// A fragment came since the last rotation.
    is_fresh: bool,
}

/// What can be counted now that a fragment has come.
#[derive(Debug)]
pub(super) struct Released<const N: usize> {
    /// Later fragments, under the flow of their first one.
    pub(super) attributed: Option<Counted<N>>,
    /// Later fragments that had to make room.
    pub(super) unattributed: Option<Counted<N>>,
}

/// Packets of one IP version of which fragments have been seen.
#[derive(Debug)]
pub(super) struct FragmentTable<const N: usize> {
    /// Where they are in `entries`.
    positions: HashMap<PacketId<N>, usize>,
    /// In a ring once there are [`MAX_PACKETS`].
    entries: Vec<FragmentedPacket<N>>,
    oldest: usize,
}

impl<const N: usize> Default for FragmentTable<N> {
    fn default() -> Self {
        Self {
            positions: HashMap::new(),
            entries: Vec::new(),
            oldest: 0,
        }
    }
}

impl<const N: usize> FragmentTable<N> {
    /// Takes a fragment. The first one is to be counted by the caller, since its flow is known;
    /// later ones are counted when they are released.
    pub(super) fn handle(&mut self, key: EpHash<N>, head: &RecordHead) -> Released<N> {
        let id = PacketId::from_key(&key, head);
        let is_later = head.flags & FLAG_LATER_FRAGMENT != 0;
        let Some(&position) = self.positions.get(&id) else {
            let state = if is_later {
                FragmentState::Waiting((key, waiting_head(&key, head)))
            } else {
                FragmentState::Known { key, aux: head.aux }
            };
            return Released {
                attributed: None,
                unattributed: self.insert(id, state),
            };
        };
        let entry = &mut self.entries[position];
        entry.is_fresh = true;
        if is_later {
            entry.on_later(&key, head)
        } else {
            entry.on_first(key, head)
        }
    }

    /// Adds a packet. Returns what waited in the place that it takes.
    fn insert(&mut self, id: PacketId<N>, state: FragmentState<N>) -> Option<Counted<N>> {
        let entry = FragmentedPacket {
            id,
            state,
            is_fresh: true,
        };
        if self.entries.len() < MAX_PACKETS {
            self.positions.insert(id, self.entries.len());
            self.entries.push(entry);
            return None;
        }
        let evicted = std::mem::replace(&mut self.entries[self.oldest], entry);
        self.positions.remove(&evicted.id);
        self.positions.insert(id, self.oldest);
        self.oldest = (self.oldest + 1) % MAX_PACKETS;
        evicted.waiting()
    }

    /// Ends the interval: takes out what waits, oldest first. First fragments are remembered, but
    /// not those of which nothing came for a whole interval: their identification is used again.
    pub(super) fn rotate(&mut self) -> Vec<Counted<N>> {
        let unattributed = self.waiting().collect();
        self.entries.rotate_left(self.oldest);
        self.oldest = 0;
        self.entries
            .retain(|entry| entry.is_fresh && entry.waiting().is_none());
        self.positions.clear();
        for (position, entry) in self.entries.iter_mut().enumerate() {
            entry.is_fresh = false;
            self.positions.insert(entry.id, position);
        }
        unattributed
    }

    /// What waits, oldest first.
    pub(super) fn waiting(&self) -> impl Iterator<Item = Counted<N>> {
        let (newer, older) = self.entries.split_at(self.oldest);
        older
            .iter()
            .chain(newer)
            .filter_map(FragmentedPacket::waiting)
    }
}

impl<const N: usize> FragmentedPacket<N> {
    const fn waiting(&self) -> Option<Counted<N>> {
        match self.state {
            FragmentState::Known { .. } => None,
            FragmentState::Waiting(counted) => Some(counted),
        }
    }

    /// A first fragment says where those that wait belong. A second one is a duplicate, or the
    /// identification is used again: then what comes next belongs to the new packet.
    fn on_first(&mut self, key: EpHash<N>, head: &RecordHead) -> Released<N> {
        let known = FragmentState::Known { key, aux: head.aux };
        let attributed = match std::mem::replace(&mut self.state, known) {
            FragmentState::Known { .. } => None,
            FragmentState::Waiting((_, waiting)) => Some((
                key,
                RecordHead {
                    aux: head.aux,
                    ..waiting
                },
            )),
        };
        Released {
            attributed,
            unattributed: None,
        }
    }

    fn on_later(&mut self, key: &EpHash<N>, head: &RecordHead) -> Released<N> {
        let mut released = Released {
            attributed: None,
            unattributed: None,
        };
        match &mut self.state {
            FragmentState::Known { key, aux } => {
                released.attributed = Some((*key, RecordHead { aux: *aux, ..*head }));
            }
            FragmentState::Waiting((_, sum)) => {
                if let Some(packets) = sum.packets.checked_add(head.packets) {
                    sum.packets = packets;
                    sum.octets += head.octets;
                } else {
                    // Four billion fragments of one packet are no packet.
                    let sum = std::mem::replace(sum, waiting_head(key, head));
                    released.unattributed = Some((*key, sum));
                }
            }
        }
        released
    }
}

/// The head of a later fragment of which no more is known.
const fn waiting_head<const N: usize>(key: &EpHash<N>, head: &RecordHead) -> RecordHead {
    let aux = match key.ip_protocol {
        ICMP | ICMPV6 => NO_ICMP_TYPE,
        _ => head.aux,
    };
    RecordHead { aux, ..*head }
}

#[cfg(test)]
mod tests;
