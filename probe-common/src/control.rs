//! What the agent sets and reads in the programs' maps: map names, banks, interface slots and the
//! counters of everything that happens to a packet.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute};

use crate::{coalesce::PENDING, loss::Loss, wire_type};

/// Interfaces that one loaded object serves at most.
pub const MAX_INTERFACES: u32 = 1024;

/// Counters and records come in two banks. A rotation makes the other bank the active one and
/// waits until no program runs with the old choice any more; from then on the counters of the idle
/// bank are final, and the bank number in each record says to which side of the rotation it
/// belongs. So the counters of an interval add up exactly, although no packet was held back.
pub const BANKS: u32 = 2;

/// Directions per interface and bank: ingress, egress.
pub const DIRECTIONS: u32 = 2;

/// Names of the maps in the object.
pub mod maps {
    /// `BPF_MAP_TYPE_RINGBUF` of [`crate::record`] entries: ring 0, of the CPUs whose number has no
    /// bit of [`super::globals::RING_MASK`], and of all records whose order counts.
    pub const RECORDS: &str = "RECORDS";
    /// Array of maps like [`RECORDS`], of the same size: the rings from 1 on. Nothing is at 0.
    pub const FURTHER_RECORDS: &str = "FURTHER_RECORDS";
    /// Array of [`super::Station`] in shared memory: for each interface slot as many as
    /// [`super::stations_per_slot`] says, indexed by [`super::station_index`].
    pub const COUNTERS: &str = "COUNTERS";
    /// Array of [`crate::coalesce::LineV4`] in shared memory: the open records of the fronts, for each
    /// [`super::area`] [`super::globals::FRONT_SLOTS`].
    pub const FRONT_V4: &str = "FRONT_V4";
    /// The same of [`crate::record::RecordV6`].
    pub const FRONT_V6: &str = "FRONT_V6";
    /// Array of [`crate::record::RecordV4`] in shared memory: the open records of the backs, for each
    /// [`super::area`] [`super::globals::BACK_SLOTS`].
    pub const BACK_V4: &str = "BACK_V4";
    /// The same of [`crate::record::RecordV6`].
    pub const BACK_V6: &str = "BACK_V6";
    /// Array of [`crate::coalesce::tags::Tags`] in shared memory: one for each
    /// [`crate::coalesce::tags::WAYS`] entries of [`FRONT_V4`], and behind these of [`BACK_V4`]. It says
    /// which of them hold packets, and which do not hold those of a flow.
    pub const TAGS_V4: &str = "TAGS_V4";
    /// The same of IPv6.
    pub const TAGS_V6: &str = "TAGS_V6";
    /// Array of [`crate::coalesce::PendingV4`] in shared memory, one for each [`super::area`].
    pub const PENDING_V4: &str = "PENDING_V4";
    /// The same of [`crate::coalesce::PendingV6`].
    pub const PENDING_V6: &str = "PENDING_V6";
    /// Array of `u64` in shared memory: for each entry of [`FRONT_V4`], and behind these of [`BACK_V4`],
    /// when it was opened, in nanoseconds of the monotonic clock. Ticks are too coarse to tell who spoke
    /// first.
    pub const OPENED_V4: &str = "OPENED_V4";
    /// The same of IPv6.
    pub const OPENED_V6: &str = "OPENED_V6";
    /// Array of one [`super::SlotTable`]. It holds one interface per entry, the first come. Like
    /// [`ACTIVE_BANK`] the section of a variable.
    pub const SLOTS: &str = ".bss.slots";
    /// Hash map from ifindex (`u32`) to [`super::Slot`], for all interfaces: read where the entry
    /// of [`SLOTS`] is another interface's.
    pub const ALL_SLOTS: &str = "ALL_SLOTS";
    /// Array of one `u64`: the active bank. It is the section of a variable: no look-up is needed
    /// to read it.
    pub const ACTIVE_BANK: &str = ".data.bank";
    /// Per-CPU array of one [`super::Tally`]: frames on interfaces that have no slot.
    pub const UNCLAIMED: &str = "UNCLAIMED";
    /// Array of one map, which no program reads: updating it waits for an RCU grace period.
    pub const GRACE_PERIOD: &str = "GRACE_PERIOD";
}

/// Constants of the programs that the agent sets before it loads them.
pub mod globals {
    /// `u32`: slots of the front of each area of the cache, a power of two, or 0 for no cache.
    pub const FRONT_SLOTS: &str = "FRONT_SLOTS";
    /// `u32`: slots of its back, a power of two, or 0 for none; IPv6 has a
    /// [part](crate::coalesce::Coalesce::BACK_PART) of them.
    pub const BACK_SLOTS: &str = "BACK_SLOTS";
    /// `u32`: entries of all fronts, behind which the backs have their tags.
    pub const BACKS: &str = "BACKS";
    /// `u32`: bits of a CPU's number that say which ring it has: one less than the number of rings,
    /// a power of two.
    pub const RING_MASK: &str = "RING_MASK";
    /// `u32`: bytes in a ring at which its reader is woken.
    pub const WAKE_BYTES: &str = "WAKE_BYTES";
}

/// Names of the programs in the object.
pub mod programs {
    /// XDP, frames that start with an Ethernet header, in one buffer or several (kernel 5.18).
    pub const XDP_INGRESS: &str = "probe_xdp_ingress";
    /// The same for kernels before 5.18.
    pub const XDP_INGRESS_LINEAR: &str = "probe_xdp_ingress_linear";
    /// TC ingress, frames that start with an Ethernet header.
    pub const TC_INGRESS: &str = "probe_tc_ingress";
    /// TC egress, frames that start with an Ethernet header.
    pub const TC_EGRESS: &str = "probe_tc_egress";
    /// TC ingress on a device without link header (tun, WireGuard, ipip).
    pub const TC_INGRESS_L3: &str = "probe_tc_ingress_l3";
    /// TC egress on a device without link header.
    pub const TC_EGRESS_L3: &str = "probe_tc_egress_l3";
    /// Attached nowhere: a test run of it answers the tick of the moment.
    pub const TICKS: &str = "probe_ticks";
}

/// Number of what belongs to one bank of one CPU: counters, and a part of the cache.
#[inline(always)]
pub const fn area(cpu: u32, bank: u32) -> u32 {
    cpu * BANKS + bank
}

/// Position of the counters of an area and direction ([`crate::record::INGRESS`] or
/// [`crate::record::EGRESS`]) among those of an interface, which lie side by side.
#[inline(always)]
pub const fn station_index(area: u32, direction: u8) -> u32 {
    area * DIRECTIONS + direction as u32
}

/// Entries that [`maps::COUNTERS`] has for each interface slot, with so many CPUs.
pub const fn stations_per_slot(cpus: u32) -> u32 {
    station_index(area(cpus, 0), 0)
}

/// Bytes that are left free in front of what each packet needs. Maps begin with pages, frames have pages
/// of their own, and what is at the same place in all pages shares one set of a CPU's first cache, which is
/// eight lines. So the start of a page, where the heads of frames are, is the worst place.
const BYTES_OF_FRAME_HEADS: usize = 1536;

/// Entries of [`maps::COUNTERS`] in front of those of the first interface slot.
#[expect(clippy::cast_possible_truncation, reason = "it is 8")]
pub const FIRST_STATION: u32 = (BYTES_OF_FRAME_HEADS / size_of::<Station>()) as u32;

/// Entries of [`SlotTable`] in front of those that are used.
const FIRST_SLOT: usize = BYTES_OF_FRAME_HEADS / size_of::<Slot>();

/// Interfaces that have an entry of [`SlotTable`] for themselves, if their numbers are in a row.
const SLOT_ENTRIES: usize = 4 * MAX_INTERFACES as usize;

/// Interfaces by [`slot_index`].
pub type SlotTable = [Slot; FIRST_SLOT + SLOT_ENTRIES];

/// Position of an interface in a [`SlotTable`], shared by those whose low bits are equal.
#[inline(always)]
pub const fn slot_index(ifindex: u32) -> usize {
    FIRST_SLOT + ifindex as usize % SLOT_ENTRIES
}

/// In the place of a [`Slot`]: packets with a VLAN tag are counted as `filtered` and left out of the
/// flows. The highest bit, which is the sign of the whole word and the cheapest to ask for.
const IGNORES_VLANS: u32 = 1 << 31;

/// What the programs need to know of an interface, in one word.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct Slot {
    /// The interface. 0, which no interface has, in an empty entry.
    pub ifindex: u32,
    /// [`Self::first_station`], and [`IGNORES_VLANS`].
    place: u32,
}

impl Slot {
    /// Of an interface whose counters begin at a position of [`maps::COUNTERS`].
    pub const fn new(ifindex: u32, first_station: u32, ignores_vlans: bool) -> Self {
        let flag = if ignores_vlans { IGNORES_VLANS } else { 0 };
        Self {
            ifindex,
            place: first_station | flag,
        }
    }

    /// From its word in a [`SlotTable`].
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        transmute!(word)
    }

    /// Position of its counters, see [`station_index`].
    #[inline(always)]
    pub const fn first_station(self) -> u32 {
        self.place & !IGNORES_VLANS
    }

    /// Whether packets with a VLAN tag are left out.
    #[inline(always)]
    pub const fn ignores_vlans(self) -> bool {
        self.place & IGNORES_VLANS != 0
    }
}

/// Packets and bytes that met one destiny.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct Tally {
    /// Packets on the wire (segments of a super-packet count one each).
    pub packets: u64,
    /// Bytes; the field's user says which.
    pub bytes: u64,
}

/// What happened to the packets of one interface, direction and bank. Only ever grows.
///
/// The identity that must hold when the bank is idle: `seen = recorded + Σ losses` (packets),
/// of the losses that are not [with a record](Loss::is_with_record). What the agent is handed is
/// `recorded` less the losses that are, packets and bytes.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct Counters {
    /// Everything the program was handed; bytes are whole frames with the link header.
    pub seen: Tally,
    /// Became part of a record; bytes are IP octets.
    pub recorded: Tally,
    /// Lost, by [`Loss`]: those that the programs count.
    pub losses: [Tally; Loss::IN_KERNEL],
    /// Of the recorded packets: fragments other than the first, which have no ports.
    pub later_fragments: u64,
    /// Of the recorded packets: those whose transport header was cut.
    pub short_transports: u64,
    /// Of the packets seen: segments of super-packets beyond the first of each. See
    /// [`Self::frames`].
    pub further_segments: u64,
}

/// What an area has for an interface and direction. A multiple of a line of the CPU's cache, and what
/// each packet needs is in the first one.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct Station {
    /// A note of the programs for themselves: how many packets will have been seen when this is over,
    /// see [`Self::is_crowded`].
    pub crowded_until: u64,
    /// What happened to packets.
    pub counters: Counters,
    /// The rest of the last line.
    pub rest: [u64; REST],
}

/// Words behind the counters of a [`Station`] to the end of their last line.
const REST: usize = {
    let used = size_of::<u64>() + size_of::<Counters>();
    (used.next_multiple_of(64) - used) / size_of::<u64>()
};

/// Packets for which a full [row](crate::coalesce::PENDING) tells: with fewer from one to the next,
/// most miss the front.
const CROWDED_BY_ROW: u64 = 2 * PENDING as u64;

impl Station {
    /// Whether most packets miss the front of the cache, as far as is known. Then they are better off
    /// to ask for its [tags](crate::coalesce::tags) first. Asked for each packet, so it has to be cheap.
    #[inline(always)]
    pub const fn is_crowded(&self) -> bool {
        self.counters.seen.packets < self.crowded_until
    }

    /// The last one of the packets seen has filled the row. The second time that this comes quickly
    /// makes a crowd.
    #[inline(always)]
    pub const fn on_full_row(&mut self) {
        let seen = self.counters.seen.packets;
        self.crowded_until = if seen <= self.crowded_until + CROWDED_BY_ROW {
            seen + CROWDED_BY_ROW
        } else {
            seen
        };
    }
}

wire_type!(Tally, size = 16);
wire_type!(Slot, size = 8);
wire_type!(Counters, size = 56 + 16 * Loss::IN_KERNEL);
wire_type!(
    Station,
    size = (8 + size_of::<Counters>()).next_multiple_of(64)
);

impl Tally {
    /// Adds packets and bytes.
    #[inline(always)]
    pub const fn add(&mut self, packets: u64, bytes: u64) {
        self.packets += packets;
        self.bytes += bytes;
    }
}

impl Counters {
    /// Counts what the program was handed. Each frame is counted once.
    #[inline(always)]
    pub const fn see(&mut self, packets: u64, bytes: u64) {
        self.seen.add(packets, bytes);
        // In nearly every frame: so not one of them pays for it.
        if packets > 1 {
            self.further_segments += packets - 1;
        }
    }

    /// What was lost in one way; nothing of what the agent counts.
    pub fn loss(&self, loss: Loss) -> Tally {
        let counted = self.losses.get(loss as usize);
        counted.copied().unwrap_or_default()
    }

    /// Frames the program was handed: super-packets count once, which is how most drivers of virtual
    /// devices count.
    pub const fn frames(&self) -> u64 {
        self.seen.packets.saturating_sub(self.further_segments)
    }
}

impl core::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.add(other.packets, other.bytes);
    }
}

impl core::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        // Destructured, so that a new field cannot be forgotten.
        let Self {
            seen,
            recorded,
            losses,
            later_fragments,
            short_transports,
            further_segments,
        } = other;
        self.seen += seen;
        self.recorded += recorded;
        for (mine, theirs) in self.losses.iter_mut().zip(losses) {
            *mine += theirs;
        }
        self.later_fragments += later_fragments;
        self.short_transports += short_transports;
        self.further_segments += further_segments;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::{BANKS, Counters, PENDING, Slot, Station, area, station_index, stations_per_slot};
    use crate::record::{EGRESS, INGRESS};

    #[test]
    fn every_cpu_bank_and_direction_has_its_own_counters() {
        const CPUS: u32 = 3;
        let indices: Vec<u32> = (0..CPUS)
            .flat_map(|cpu| (0..BANKS).map(move |bank| area(cpu, bank)))
            .flat_map(|area| [INGRESS, EGRESS].map(|direction| station_index(area, direction)))
            .collect();
        let all: Vec<u32> = (0..stations_per_slot(CPUS)).collect();
        assert_eq!(indices, all);
    }

    #[test]
    fn a_slot_is_a_place_and_a_flag() {
        for ignores_vlans in [false, true] {
            let slot = Slot::new(7, 0x1234_5678, ignores_vlans);
            assert_eq!((slot.ifindex, slot.first_station()), (7, 0x1234_5678));
            assert_eq!(slot.ignores_vlans(), ignores_vlans);
        }
    }

    #[test]
    fn each_packet_needs_one_line_of_its_station() {
        let hot =
            core::mem::offset_of!(Station, counters) + core::mem::offset_of!(Counters, losses);
        assert!(hot <= 64);
        assert_eq!(size_of::<Station>() % 64, 0);
    }

    #[test]
    fn it_is_crowded_where_rows_fill_up_quickly() {
        let row = PENDING as u64;
        let mut station = Station::default();
        let mut see = |packets| {
            let seen = &mut station.counters.seen.packets;
            *seen += packets;
            let was_crowded = station.is_crowded();
            station.on_full_row();
            was_crowded
        };
        see(1000);
        assert!(!see(8 * row), "one packet in eight misses the front");
        assert!(!see(row), "it was the first quick one");
        assert!(see(row) && see(row), "all miss it");
        assert!(!see(8 * row) && !see(8 * row));
    }

    #[test]
    fn a_super_packet_is_one_frame() {
        let mut counters = Counters::default();
        counters.see(1, 60);
        counters.see(45, 65_000);
        counters.see(1, 60);
        assert_eq!((counters.seen.packets, counters.frames()), (47, 3));
    }
}
