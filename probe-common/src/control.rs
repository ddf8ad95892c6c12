//! What the agent sets and reads in the programs' maps: map names, banks, interface slots and the
//! counters of everything that happens to a packet.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute};

use crate::{coalesce::INSERT_BATCH_LEN, loss::Loss, wire_type};

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
    /// Array of [`super::CounterBlock`] in shared memory: for each interface slot
    /// [`super::counter_blocks_per_slot`] of them, indexed by [`super::counter_block_index`].
    pub const COUNTERS: &str = "COUNTERS";
    /// Array of [`crate::coalesce::L1SlotV4`] in shared memory: the open records in L1, for each
    /// [`super::area`] [`super::globals::L1_SLOTS`].
    pub const L1_V4: &str = "L1_V4";
    /// Array of [`crate::record::RecordV6`], the L1 of IPv6.
    pub const L1_V6: &str = "L1_V6";
    /// Array of [`crate::record::RecordV4`] in shared memory: the open records in L2, for each
    /// [`super::area`] [`super::globals::L2_SLOTS`].
    pub const L2_V4: &str = "L2_V4";
    /// Array of [`crate::record::RecordV6`], the L2 of IPv6.
    pub const L2_V6: &str = "L2_V6";
    /// Array of [`crate::coalesce::tags::Tags`] in shared memory: one for each
    /// [`crate::coalesce::tags::WAYS`] slots of [`L1_V4`], and behind these of [`L2_V4`]. The tags tell
    /// which slots hold packets, and which do not hold those of a flow.
    pub const TAGS_V4: &str = "TAGS_V4";
    /// Tags of [`L1_V6`] and [`L2_V6`], like [`TAGS_V4`].
    pub const TAGS_V6: &str = "TAGS_V6";
    /// Array of [`crate::coalesce::InsertBatchV4`] in shared memory, one for each [`super::area`].
    pub const INSERT_BATCH_V4: &str = "INSERT_BATCH_V4";
    /// Array of [`crate::coalesce::InsertBatchV6`] in shared memory, one for each [`super::area`].
    pub const INSERT_BATCH_V6: &str = "INSERT_BATCH_V6";
    /// Array of `u64` in shared memory: for each slot of [`L1_V4`], and behind these of [`L2_V4`], when its
    /// record was opened, in nanoseconds of the monotonic clock. Written for order-sensitive records only:
    /// ticks are too coarse to tell their order.
    pub const OPENED_V4: &str = "OPENED_V4";
    /// Opening times of [`L1_V6`] and [`L2_V6`], like [`OPENED_V4`].
    pub const OPENED_V6: &str = "OPENED_V6";
    /// Array of one [`super::InterfaceTable`]. It holds one interface per slot, the first come. Like
    /// [`ACTIVE_BANK`] the section of a variable.
    pub const INTERFACES: &str = ".bss.interfaces";
    /// Hash map from ifindex (`u32`) to [`super::InterfaceSlot`], for all interfaces: read where the slot
    /// in [`INTERFACES`] is another interface's.
    pub const ALL_INTERFACES: &str = "ALL_INTERFACES";
    /// Array of one `u64`: the [word](super::bank_word) of the active bank. It is the section of a variable: no
    /// look-up is needed to read it.
    pub const ACTIVE_BANK: &str = ".data.bank";
    /// Per-CPU array of one [`super::Tally`]: packets on interfaces that are not captured.
    pub const UNKNOWN_IFACE: &str = "UNKNOWN_IFACE";
    /// Array of one map, which no program reads: updating it waits for an RCU grace period.
    pub const GRACE_PERIOD: &str = "GRACE_PERIOD";
}

/// Constants of the programs that the agent sets before it loads them.
pub mod globals {
    /// `u32`: slots of L1 in each area of the cache, a power of two, or 0 for no cache.
    pub const L1_SLOTS: &str = "L1_SLOTS";
    /// `u32`: IPv4 slots of L2 in each area, a power of two, or 0 for no L2. Those of IPv6 are this divided
    /// by [`L2_DIVISOR`](crate::coalesce::Coalesce::L2_DIVISOR).
    pub const L2_SLOTS: &str = "L2_SLOTS";
    /// `u32`: L1 slots of all areas, behind whose tags and opening times those of L2 begin.
    pub const L2_FIRST_SLOT: &str = "L2_FIRST_SLOT";
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

/// Number of the area of a CPU and bank. An area is what programs on that CPU write while the bank is
/// active: counters, and a part of the cache.
#[inline(always)]
pub const fn area(cpu: u32, bank: u32) -> u32 {
    cpu * BANKS + bank
}

/// What [`maps::ACTIVE_BANK`] holds while a bank is active: [`counter_block_index`] of the bank on CPU 0. So the
/// programs find their counters by adding it up, and divide where they need the area.
#[inline(always)]
pub const fn bank_word(bank: u32) -> u32 {
    counter_block_index(area(0, bank), 0)
}

/// The area whose counters, of either direction, are at a [`counter_block_index`].
#[inline(always)]
pub const fn area_of_counter_block(index: u32) -> u32 {
    index / DIRECTIONS
}

/// Position of the counters of an area and direction ([`crate::record::INGRESS`] or
/// [`crate::record::EGRESS`]) among those of an interface, which lie side by side.
#[inline(always)]
pub const fn counter_block_index(area: u32, direction: u8) -> u32 {
    area * DIRECTIONS + direction as u32
}

/// Counter blocks that [`maps::COUNTERS`] has for each interface slot, with this number of CPUs.
pub const fn counter_blocks_per_slot(cpus: u32) -> u32 {
    counter_block_index(area(cpus, 0), 0)
}

/// Bytes that are left free in front of what each packet needs. Maps begin with pages, frames have pages
/// of their own, and data at the same offset of all pages shares one set of a CPU's L1 data cache, which is
/// eight lines. So the start of a page, where the headers of frames are, is the worst offset.
const FRAME_HEADER_BYTES: usize = 1536;

/// Index in [`maps::COUNTERS`] of the first counter block of interface slot 0.
#[expect(clippy::cast_possible_truncation, reason = "it is 8")]
pub const FIRST_COUNTER_BLOCK: u32 = (FRAME_HEADER_BYTES / size_of::<CounterBlock>()) as u32;

/// Slots of an [`InterfaceTable`] in front of those that are used.
const FIRST_INTERFACE_SLOT: usize = FRAME_HEADER_BYTES / size_of::<InterfaceSlot>();

/// Interfaces that have a slot of an [`InterfaceTable`] for themselves, if their numbers are consecutive.
const INTERFACE_SLOTS: usize = 4 * MAX_INTERFACES as usize;

/// Slots of all interfaces, indexed by [`interface_index`].
pub type InterfaceTable = [InterfaceSlot; FIRST_INTERFACE_SLOT + INTERFACE_SLOTS];

/// Index of an interface in an [`InterfaceTable`], shared by interfaces whose low bits are equal.
#[inline(always)]
pub const fn interface_index(ifindex: u32) -> usize {
    FIRST_INTERFACE_SLOT + ifindex as usize % INTERFACE_SLOTS
}

/// In [`InterfaceSlot::counters_and_flag`]: packets with a VLAN tag are counted as `filtered` and left out of the
/// flows. The highest bit, which is the sign of the whole word and the cheapest to test.
const IGNORES_VLANS: u32 = 1 << 31;

/// What the programs need to know of an interface, in one word.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct InterfaceSlot {
    /// The interface. 0, which no interface has, in an empty slot.
    pub ifindex: u32,
    /// [`Self::first_counter_block`] in the low bits, and [`IGNORES_VLANS`].
    counters_and_flag: u32,
}

impl InterfaceSlot {
    /// The slot of an interface whose counter blocks begin at an index of [`maps::COUNTERS`].
    pub const fn new(ifindex: u32, first_counter_block: u32, ignores_vlans: bool) -> Self {
        let flag = if ignores_vlans { IGNORES_VLANS } else { 0 };
        Self {
            ifindex,
            counters_and_flag: first_counter_block | flag,
        }
    }

    /// The slot in a word of an [`InterfaceTable`].
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        transmute!(word)
    }

    /// Index of the first of its counter blocks, see [`counter_block_index`].
    #[inline(always)]
    pub const fn first_counter_block(self) -> u32 {
        self.counters_and_flag & !IGNORES_VLANS
    }

    /// The same if [`Self::ignores_vlans`] is known to be false: without an instruction that takes it out.
    #[inline(always)]
    pub const fn first_counter_block_if_all_pass(self) -> u32 {
        self.counters_and_flag
    }

    /// Whether packets with a VLAN tag are left out.
    #[inline(always)]
    pub const fn ignores_vlans(self) -> bool {
        self.counters_and_flag & IGNORES_VLANS != 0
    }
}

/// Packets and bytes with the same outcome.
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
    /// Of the recorded packets: those whose length field states more octets than the frame has. Bytes are the
    /// octets beyond the frame, which are counted nowhere else.
    pub beyond_frame: Tally,
}

/// The counters of an area for one interface and direction. A multiple of a cache line of the CPU, and what
/// each packet needs is in the first one.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct CounterBlock {
    /// Written and read by the programs only: the number of packets seen at which L1 stops thrashing, see
    /// [`Self::is_thrashing`].
    pub thrashing_until: u64,
    /// What happened to packets.
    pub counters: Counters,
    /// Fills the last cache line.
    pub padding: [u64; PADDING],
}

/// Words behind the counters of a [`CounterBlock`] to the end of their last cache line.
const PADDING: usize = {
    let used = size_of::<u64>() + size_of::<Counters>();
    (used.next_multiple_of(64) - used) / size_of::<u64>()
};

/// Packets after a full [insert batch](crate::coalesce::INSERT_BATCH_LEN) within which the next one has to
/// fill up for L1 to be thrashing: then most packets miss L1.
const THRASHING_PACKETS: u64 = 2 * INSERT_BATCH_LEN as u64;

impl CounterBlock {
    /// Whether most packets miss the preferred slot of L1, as far as is known. Then it is cheaper to read the
    /// [tags](crate::coalesce::tags) first. Asked for each packet, so it has to be cheap.
    #[inline(always)]
    pub const fn is_thrashing(&self) -> bool {
        self.counters.seen.packets < self.thrashing_until
    }

    /// Counts a full insert batch, filled by the last of the packets seen. L1 is thrashing from the second
    /// batch on that fills up quickly.
    #[inline(always)]
    pub const fn on_full_batch(&mut self) {
        let seen = self.counters.seen.packets;
        self.thrashing_until = if seen <= self.thrashing_until + THRASHING_PACKETS {
            seen + THRASHING_PACKETS
        } else {
            seen
        };
    }
}

wire_type!(Tally, size = 16);
wire_type!(InterfaceSlot, size = 8);
wire_type!(Counters, size = 72 + 16 * Loss::IN_KERNEL);
wire_type!(
    CounterBlock,
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
            beyond_frame,
        } = other;
        self.seen += seen;
        self.recorded += recorded;
        for (mine, theirs) in self.losses.iter_mut().zip(losses) {
            *mine += theirs;
        }
        self.later_fragments += later_fragments;
        self.short_transports += short_transports;
        self.further_segments += further_segments;
        self.beyond_frame += beyond_frame;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::{
        BANKS, CounterBlock, Counters, INSERT_BATCH_LEN, InterfaceSlot, area,
        area_of_counter_block, bank_word, counter_block_index, counter_blocks_per_slot,
    };
    use crate::record::{EGRESS, INGRESS};

    #[test]
    fn every_cpu_bank_and_direction_has_its_own_counters() {
        const CPUS: u32 = 3;
        let indices: Vec<u32> = (0..CPUS)
            .flat_map(|cpu| (0..BANKS).map(move |bank| area(cpu, bank)))
            .flat_map(|area| {
                [INGRESS, EGRESS].map(|direction| counter_block_index(area, direction))
            })
            .collect();
        let all: Vec<u32> = (0..counter_blocks_per_slot(CPUS)).collect();
        assert_eq!(indices, all);
        for (cpu, bank, direction) in [(0, 1, INGRESS), (2, 0, EGRESS), (2, 1, EGRESS)] {
            let index = counter_block_index(area(cpu, 0), direction) + bank_word(bank);
            assert_eq!(index, counter_block_index(area(cpu, bank), direction));
            assert_eq!(area_of_counter_block(index), area(cpu, bank));
        }
    }

    #[test]
    fn an_interface_slot_is_an_index_and_a_flag() {
        for ignores_vlans in [false, true] {
            let slot = InterfaceSlot::new(7, 0x1234_5678, ignores_vlans);
            assert_eq!((slot.ifindex, slot.first_counter_block()), (7, 0x1234_5678));
            assert_eq!(slot.ignores_vlans(), ignores_vlans);
        }
    }

    #[test]
    fn each_packet_needs_one_cache_line_of_its_counter_block() {
        let hot =
            core::mem::offset_of!(CounterBlock, counters) + core::mem::offset_of!(Counters, losses);
        assert!(hot <= 64);
        assert_eq!(size_of::<CounterBlock>() % 64, 0);
    }

    #[test]
    fn l1_is_thrashing_where_batches_fill_up_quickly() {
        let batch = INSERT_BATCH_LEN as u64;
        let mut block = CounterBlock::default();
        let mut see = |packets| {
            let seen = &mut block.counters.seen.packets;
            *seen += packets;
            let was_thrashing = block.is_thrashing();
            block.on_full_batch();
            was_thrashing
        };
        see(1000);
        assert!(!see(8 * batch), "one packet in eight misses L1");
        assert!(!see(batch), "the first quick batch");
        assert!(see(batch) && see(batch), "all miss it");
        assert!(!see(8 * batch) && !see(8 * batch));
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
