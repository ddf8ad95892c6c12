//! What the agent sets and reads in the programs' maps: map names, banks, interface slots and the
//! counters of everything that happens to a packet.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{parse::ParseError, wire_type};

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
    /// `BPF_MAP_TYPE_RINGBUF` of [`crate::record`] entries.
    pub const RECORDS: &str = "RECORDS";
    /// Array of [`super::Counters`] in shared memory: for each CPU as many as
    /// [`super::globals::COUNTERS_PER_CPU`] says, indexed by [`super::counters_index`].
    pub const COUNTERS: &str = "COUNTERS";
    /// Array of [`crate::record::RecordV4`] in shared memory: open records, as many for each
    /// [`crate::coalesce::area`] as [`super::globals::CACHE_SLOTS`] says.
    pub const CACHE_V4: &str = "CACHE_V4";
    /// The same of [`crate::record::RecordV6`].
    pub const CACHE_V6: &str = "CACHE_V6";
    /// Array of `u64` in shared memory: for each area [`crate::coalesce::dirty_words`], with a bit
    /// for each entry of [`CACHE_V4`] that holds packets.
    pub const DIRTY_V4: &str = "DIRTY_V4";
    /// The same for [`CACHE_V6`].
    pub const DIRTY_V6: &str = "DIRTY_V6";
    /// Array of [`crate::coalesce::PendingV4`] in shared memory, one for each area of [`CACHE_V4`].
    pub const PENDING_V4: &str = "PENDING_V4";
    /// The same of [`crate::coalesce::PendingV6`].
    pub const PENDING_V6: &str = "PENDING_V6";
    /// Array of `u64` in shared memory: for each entry of [`CACHE_V4`] when it was opened, in
    /// nanoseconds of the monotonic clock. Ticks are too coarse to tell who spoke first.
    pub const OPENED_V4: &str = "OPENED_V4";
    /// The same for [`CACHE_V6`].
    pub const OPENED_V6: &str = "OPENED_V6";
    /// Array of [`super::Slot`], indexed by [`super::slot_index`]. It holds one interface per
    /// entry, the first come; no helper call is needed to read it.
    pub const SLOTS: &str = "SLOTS";
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
    /// `u32`: slots of each area of the cache, a power of two, or 0 for no cache.
    pub const CACHE_SLOTS: &str = "CACHE_SLOTS";
    /// `u32`: bytes in the ring at which its reader is woken.
    pub const WAKE_BYTES: &str = "WAKE_BYTES";
    /// `u32`: [`super::counters_entries`] of the interface slots that there is room for.
    pub const COUNTERS_PER_CPU: &str = "COUNTERS_PER_CPU";
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

/// Position of the counters of one bank, interface slot and direction ([`crate::record::INGRESS`]
/// or [`crate::record::EGRESS`]) among those of a CPU in [`maps::COUNTERS`].
#[inline(always)]
pub const fn counters_index(bank: u32, slot: u32, direction: u8) -> u32 {
    (slot * DIRECTIONS + direction as u32) * BANKS + bank
}

/// Entries that [`maps::COUNTERS`] needs on each CPU for so many interface slots.
pub const fn counters_entries(slots: u32) -> u32 {
    slots * DIRECTIONS * BANKS
}

/// Entries of [`maps::SLOTS`].
pub const SLOT_ENTRIES: u32 = 4 * MAX_INTERFACES;

/// Position of an interface in [`maps::SLOTS`], shared by those whose low bits are equal.
#[inline(always)]
pub const fn slot_index(ifindex: u32) -> u32 {
    ifindex % SLOT_ENTRIES
}

/// [`Slot::flags`]: packets with a VLAN tag are counted as `filtered` and left out of the flows.
pub const SLOT_IGNORE_VLANS: u32 = 1 << 0;

/// What the programs need to know of an interface.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct Slot {
    /// The interface. 0, which no interface has, in an empty entry.
    pub ifindex: u32,
    /// Position of its counters, see [`counters_index`].
    pub slot: u32,
    /// `SLOT_*` bits.
    pub flags: u32,
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
    /// Frames the program was handed: `seen.packets` with super-packets counted once, which is how
    /// most drivers of virtual devices count.
    pub frames: u64,
}

wire_type!(Tally, size = 16);
wire_type!(Slot, size = 12);
wire_type!(Counters, size = 152);

impl Tally {
    /// Adds packets and bytes.
    #[inline(always)]
    pub const fn add(&mut self, packets: u64, bytes: u64) {
        self.packets += packets;
        self.bytes += bytes;
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
            frames,
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
        self.frames += frames;
    }
}

#[cfg(test)]
mod tests {
    use super::{BANKS, DIRECTIONS, MAX_INTERFACES, counters_entries, counters_index};

    #[test]
    fn every_bank_slot_and_direction_has_its_own_counters() {
        let entries = counters_entries(MAX_INTERFACES);
        let mut taken = [false; 4096];
        assert_eq!(entries as usize, taken.len());
        for bank in 0..BANKS {
            for slot in 0..MAX_INTERFACES {
                for direction in [0, 1] {
                    let index = counters_index(bank, slot, direction) as usize;
                    assert!(
                        !core::mem::replace(&mut taken[index], true),
                        "{index} is shared"
                    );
                }
            }
        }
        assert_eq!(DIRECTIONS, 2);
    }
}
