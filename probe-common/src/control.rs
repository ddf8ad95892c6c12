//! What the agent sets and reads in the programs' maps: map names, banks, interface slots and the
//! counters of everything that happens to a packet.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute};

use crate::{
    coalesce::{Coalesce, PENDING, quick_place},
    parse::ParseError,
    wire_type,
};

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
    /// Array of [`super::Station`] in shared memory: for each [`super::area`] as many as
    /// [`super::globals::COUNTERS_PER_AREA`] says, indexed by [`super::counters_index`].
    pub const COUNTERS: &str = "COUNTERS";
    /// Array of [`crate::record::RecordV4`] in shared memory: open records. For each
    /// [`super::area`] [`super::globals::FRONT_SLOTS`], and behind these for each a back.
    pub const CACHE_V4: &str = "CACHE_V4";
    /// The same of [`crate::record::RecordV6`].
    pub const CACHE_V6: &str = "CACHE_V6";
    /// Array of [`crate::coalesce::tags::Tags`] in shared memory: one for each
    /// [`crate::coalesce::tags::WAYS`] entries of [`CACHE_V4`]. It says which of them hold packets, and
    /// which do not hold those of a flow.
    pub const TAGS_V4: &str = "TAGS_V4";
    /// The same for [`CACHE_V6`].
    pub const TAGS_V6: &str = "TAGS_V6";
    /// Array of [`crate::coalesce::PendingV4`] in shared memory, one for each area of [`CACHE_V4`].
    pub const PENDING_V4: &str = "PENDING_V4";
    /// The same of [`crate::coalesce::PendingV6`].
    pub const PENDING_V6: &str = "PENDING_V6";
    /// Array of `u64` in shared memory: for each entry of [`CACHE_V4`] when it was opened, in
    /// nanoseconds of the monotonic clock. Ticks are too coarse to tell who spoke first.
    pub const OPENED_V4: &str = "OPENED_V4";
    /// The same for [`CACHE_V6`].
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
    /// `u32`: position of the first back, behind all fronts.
    pub const BACKS: &str = "BACKS";
    /// `u32`: bits of a CPU's number that say which ring it has: one less than the number of rings,
    /// a power of two.
    pub const RING_MASK: &str = "RING_MASK";
    /// `u32`: bytes in a ring at which its reader is woken.
    pub const WAKE_BYTES: &str = "WAKE_BYTES";
    /// `u32`: [`super::counters_entries`] of the interface slots that there is room for.
    pub const COUNTERS_PER_AREA: &str = "COUNTERS_PER_AREA";
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

/// Position of the counters of one interface slot and direction ([`crate::record::INGRESS`] or
/// [`crate::record::EGRESS`]) among those of an area in [`maps::COUNTERS`].
#[inline(always)]
pub const fn counters_index(slot: u32, direction: u8) -> u32 {
    slot * DIRECTIONS + direction as u32
}

/// Entries that [`maps::COUNTERS`] needs in each area for so many interface slots.
pub const fn counters_entries(slots: u32) -> u32 {
    slots * DIRECTIONS
}

/// Entries of [`SlotTable`].
pub const SLOT_ENTRIES: usize = 4 * MAX_INTERFACES as usize;

/// Interfaces by [`slot_index`].
pub type SlotTable = [Slot; SLOT_ENTRIES];

/// Position of an interface in a [`SlotTable`], shared by those whose low bits are equal.
#[inline(always)]
pub const fn slot_index(ifindex: u32) -> usize {
    ifindex as usize % SLOT_ENTRIES
}

/// [`Slot::flags`]: packets with a VLAN tag are counted as `filtered` and left out of the flows. The
/// highest bit, which is the sign of the whole word and the cheapest to ask for.
pub const SLOT_IGNORE_VLANS: u16 = 1 << 15;

/// What the programs need to know of an interface, in one word.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct Slot {
    /// The interface. 0, which no interface has, in an empty entry.
    pub ifindex: u32,
    /// Position of its counters, see [`counters_index`].
    pub slot: u16,
    /// `SLOT_*` bits.
    pub flags: u16,
}

impl Slot {
    /// From its word in a [`SlotTable`].
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        transmute!(word)
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
/// The identity that must hold when the bank is idle: `seen = recorded + filtered + Σ unparsed`
/// (packets). What the agent is handed is `recorded - ring_full`, packets and bytes.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct Counters {
    /// Everything the program was handed; bytes are whole frames with the link header.
    pub seen: Tally,
    /// Became part of a record; bytes are IP octets.
    pub recorded: Tally,
    /// Of those: lost with their record, because the ring was full; bytes are IP octets.
    pub ring_full: Tally,
    /// Left out because the configuration says so ([`SLOT_IGNORE_VLANS`]); bytes are whole frames.
    pub filtered: Tally,
    /// Lost by [`ParseError`], indexed by [`ParseError::index`]; bytes are whole frames.
    pub unparsed: [Tally; ParseError::COUNT],
    /// Of the recorded packets: fragments other than the first, which have no ports.
    pub later_fragments: u64,
    /// Of the recorded packets: those whose transport header was cut.
    pub short_transports: u64,
    /// Of the packets seen: segments of super-packets beyond the first of each. See
    /// [`Self::frames`].
    pub further_segments: u64,
}

/// What an area has for an interface and direction.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct Station {
    /// What happened to packets.
    pub counters: Counters,
    /// A note of the programs for themselves: how many packets will have been seen when this is over,
    /// see [`Self::is_crowded`].
    pub crowded_until: u64,
    /// Where the front of the area is, the same in all of its stations: found here with the counters, it
    /// need not be computed for each packet.
    pub front: Front,
}

/// Where the front of an area lies in [`maps::CACHE_V4`] and [`maps::CACHE_V6`].
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct Front {
    /// Position of its first slot; behind the end if there is none.
    pub start: u32,
    /// The number of its slots, which is a power of two, less one.
    pub mask: u32,
}

impl Front {
    /// That of an area, with [`globals::FRONT_SLOTS`].
    #[inline(always)]
    pub const fn of(area: u32, slots: u32) -> Self {
        match slots {
            0 => Self {
                start: u32::MAX,
                mask: 0,
            },
            slots => Self {
                start: area * slots,
                mask: slots - 1,
            },
        }
    }

    /// The position of a record.
    #[inline(always)]
    pub fn index(self, record: &impl Coalesce) -> u32 {
        self.start
            .wrapping_add(quick_place(record.quick_hash(), self.mask))
    }
}

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
wire_type!(Counters, size = 152);
wire_type!(Front, size = 8);
wire_type!(Station, size = 168);

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
            ring_full,
            filtered,
            unparsed,
            later_fragments,
            short_transports,
            further_segments,
        } = other;
        self.seen += seen;
        self.recorded += recorded;
        self.ring_full += ring_full;
        self.filtered += filtered;
        for (mine, theirs) in self.unparsed.iter_mut().zip(unparsed) {
            *mine += theirs;
        }
        self.later_fragments += later_fragments;
        self.short_transports += short_transports;
        self.further_segments += further_segments;
    }
}

#[cfg(test)]
mod tests {
    use super::{
        BANKS, Counters, DIRECTIONS, Front, MAX_INTERFACES, PENDING, Station, area,
        counters_entries, counters_index,
    };

    #[test]
    fn every_bank_slot_and_direction_has_its_own_counters() {
        let entries = counters_entries(MAX_INTERFACES);
        let mut taken = [false; 4096];
        assert_eq!((entries * BANKS) as usize, taken.len());
        for bank in 0..BANKS {
            for slot in 0..MAX_INTERFACES {
                for direction in [0, 1] {
                    let index = area(0, bank) * entries + counters_index(slot, direction);
                    let index = index as usize;
                    assert!(
                        !core::mem::replace(&mut taken[index], true),
                        "{index} is shared"
                    );
                }
            }
        }
        assert_eq!(DIRECTIONS, 2);
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
    fn fronts_lie_one_behind_the_other() {
        let starts = [0, 1, 2].map(|area| Front::of(area, 64).start);
        assert_eq!(starts, [0, 64, 128]);
        assert_eq!(Front::of(1, 64).mask, 63);
        assert_eq!(Front::of(1, 0).start, u32::MAX, "there is none");
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
