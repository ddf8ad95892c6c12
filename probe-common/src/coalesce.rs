//! The flow cache: which packets of a flow make one record, and where a record lies until it leaves.
//!
//! The programs merge packets into open records, in one [area](crate::control::area) per CPU and bank. An
//! area has two levels, both set-associative with [8 slots per set](tags): L1, which fits into the caches of
//! the CPU, and L2 with room for many flows. A packet is [merged](Coalesce::merge) into the record of its
//! flow if that record takes it. In L1 a record has a preferred slot in its set, which is tried first;
//! it lies in another slot only where the preferred one was taken. A packet that finds no slot in L1 goes to
//! L2. Of 64 such packets one replaces the record in its preferred slot of L1, and the replaced record goes
//! to L2 in its stead. In L2 a record takes a vacant slot, or evicts another record to the ring. What is left
//! in the areas of a closed bank is flushed by the agent.
//!
//! Between L1 and L2 is the [insert batch](INSERT_BATCH_LEN) of an area. A full batch is merged into L2 as a
//! whole, so that the cache misses of its records overlap. While L1 is thrashing, packets may bypass it (see
//! [`BypassState`]): so in L2 an older record may be merged into a newer one.
//! Where there are many CPUs and so few flows for each, there is only L1.
//!
//! docs/DATAPATH.md has the whole picture.

mod cache_slot;
mod insert_batch;
pub mod tags;

use core::hint::black_box;

use zerocopy::{transmute_mut, transmute_ref};

pub use self::{
    cache_slot::{CacheSlot, L1SlotV4},
    insert_batch::{
        BypassState, FullBatch, INSERT_BATCH_LEN, InsertBatch, InsertBatchV4, InsertBatchV6,
    },
};

use crate::{
    headers::{
        ip_protocol::TCP,
        tcp_flags::{ACK, SYN},
    },
    record::{FLAG_FIRST_FRAGMENT, FLAG_LATER_FRAGMENT, FLAG_SHORT_TRANSPORT, RecordV4, RecordV6},
};

/// Flags of packets that are not merged, each of which is a record of its own: fragments have an
/// identification, and a transport header that was cut is flagged packet by packet.
const NEVER_COALESCED: u8 = FLAG_FIRST_FRAGMENT | FLAG_LATER_FRAGMENT | FLAG_SHORT_TRANSPORT;

/// Mask for the last word of a record: the end of the key, and the record flags. Between them lie the TCP
/// flags and the auxiliary byte.
const KEY_AND_FLAGS: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0xff]);
/// [`KEY_AND_FLAGS`] with the auxiliary byte.
const KEY_AUX_AND_FLAGS: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff]);

/// Mask for the last word of a record: the TCP flags.
const TCP_FLAGS: u64 = u64::from_ne_bytes([0, 0, 0, 0, 0, 0xff, 0, 0]);

/// Odd numbers without pattern (the first digits of π and of its fractions): one for each word.
const FACTORS: [u64; 5] = [
    0x2437_15d3_08a3_8d31,
    0x9e37_79b9_7f4a_7c15,
    0xa409_3822_299f_31d1,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
];

/// Bits of [`Coalesce::l1_hash`] that choose the preferred slot: the highest bits of a product, on which
/// all octets of the key have an effect.
pub const L1_INDEX_BITS: u32 = 13;

/// Number of the preferred slot in the L1 of an area, from a [`Coalesce::l1_hash`] and the number of slots,
/// a power of two: as many of the highest bits.
#[inline(always)]
pub const fn preferred_slot(l1_hash: u32, slots: u32) -> u32 {
    ((l1_hash as u64 * slots as u64) >> u32::BITS) as u32
}

/// The tag in L1, from the bits below those of the preferred slot. Never 0.
#[inline(always)]
pub const fn l1_tag(l1_hash: u32) -> u8 {
    tags::tag(l1_hash << L1_INDEX_BITS)
}

/// A record that packets can be merged into.
pub trait Coalesce: Copy {
    /// The L1 slot of such a record.
    type L1Slot: CacheSlot<Record = Self>;

    /// What [`L2_SLOTS`](crate::control::globals::L2_SLOTS) are divided by for the L2 of an area: 1 or 2.
    /// Where there is IPv4, IPv6 has fewer flows, and its records are larger.
    const L2_DIVISOR: u32;

    /// Whether it may stay open for more packets.
    fn is_coalescible(&self) -> bool;

    /// Whether it has no packets, as every slot at first.
    fn is_vacant(&self) -> bool;

    /// Whether only the order of packets tells the direction of the flow: both ports are the same (or
    /// none), so neither a handshake nor the ports say anything.
    fn is_order_sensitive(&self) -> bool;

    /// A copy that the compiler makes here and nowhere before, in whole words. Otherwise it would write each
    /// record to the stack early, for the sake of rare functions that take it by reference, or write it
    /// field by field, and a read of whole words right after that stalls.
    #[must_use]
    fn materialize(&self) -> Self;

    /// A copy with a tick as the time of its first and its last packet.
    #[must_use]
    fn at(self, tick: u32) -> Self;

    /// Whether it has a SYN. It must not overtake an older record of its flow, which may be one that does
    /// not take it.
    fn starts_connection(&self) -> bool;

    /// The hash for L1, of as few instructions as will do, since each packet waits for it. Flows that
    /// collide here part in L2. See [`preferred_slot`] and [`l1_tag`].
    fn l1_hash(&self) -> u32;

    /// The hash for L2: its low bits choose the set, and its highest bits are the [tag](tags::tag).
    fn l2_hash(&self) -> u32;

    /// Merges another record, which came later, into this one if it belongs here: both are of the same flow,
    /// interface, direction and bank, nothing that tells the direction of a flow is lost (the kind of
    /// an ICMP message, the start of a TCP connection), and the count of packets does not overflow. The
    /// auxiliary byte stays that of the first packet. Returns whether the record was merged; a vacant slot
    /// takes none.
    fn merge(&mut self, other: &Self) -> bool;

    /// [`Self::merge`] where either record may have come first.
    fn merge_in_any_order(&mut self, other: &Self) -> bool;

    /// [`Self::merge`] where the other record is of TCP or UDP packets and has no time yet: `last` is called
    /// for the time of its last packet if it belongs here.
    fn merge_tcp_or_udp(&mut self, other: &Self, last: impl FnOnce() -> u32) -> bool;

    /// [`Self::merge_tcp_or_udp`] with the mask of the bits of the last word that have to be the same.
    #[doc(hidden)]
    fn merge_if_same_flow(&mut self, other: &Self, mask: u64, last: impl FnOnce() -> u32) -> bool;
}

macro_rules! coalesce {
    ($record:ty, l1_slot = $l1_slot:ty, words = $words:literal, l2_divisor = $l2_divisor:literal) => {
        impl Coalesce for $record {
            type L1Slot = $l1_slot;

            const L2_DIVISOR: u32 = $l2_divisor;

            #[inline(always)]
            fn is_coalescible(&self) -> bool {
                self.flags & NEVER_COALESCED == 0
            }

            #[inline(always)]
            fn is_vacant(&self) -> bool {
                self.packets == 0
            }

            #[inline(always)]
            fn is_order_sensitive(&self) -> bool {
                self.key.src_port == self.key.dst_port
            }

            #[inline(always)]
            fn materialize(&self) -> Self {
                black_box(*self)
            }

            #[inline(always)]
            fn at(self, tick: u32) -> Self {
                Self {
                    first: tick,
                    last_or_fragment_id: tick,
                    ..self
                }
            }

            #[inline(always)]
            fn starts_connection(&self) -> bool {
                self.tcp_flags & SYN != 0
            }

            #[inline(always)]
            fn l1_hash(&self) -> u32 {
                let words: &[u64; $words] = transmute_ref!(self);
                let last = words[$words - 1] & KEY_AND_FLAGS ^ u64::from(self.ifindex);
                let mut mixed = 0;
                let mut word = FIRST_KEY_WORD;
                while word < $words - 1 {
                    mixed ^= words[word];
                    word += 1;
                }
                // In IPv6 the ends of an address and the ports would lie on each other.
                let product = match $words {
                    5 => (mixed ^ last).wrapping_mul(FACTORS[0]),
                    _ => mixed.wrapping_mul(FACTORS[1]) ^ last.wrapping_mul(FACTORS[0]),
                };
                (product >> 32) as u32
            }

            #[inline(always)]
            fn l2_hash(&self) -> u32 {
                let words: &[u64; $words] = transmute_ref!(self);
                let last = words[$words - 1] & KEY_AND_FLAGS;
                let mut hash = (last ^ u64::from(self.ifindex)).wrapping_mul(FACTORS[0]);
                let mut word = FIRST_KEY_WORD;
                while word < $words - 1 {
                    hash ^= words[word].wrapping_mul(FACTORS[word - FIRST_KEY_WORD + 1]);
                    word += 1;
                }
                // A product carries bits upwards only: a difference in the highest octet of a word has
                // to come down, and be spread once more, to reach the bits that choose the set.
                let folded = hash ^ (hash >> 32);
                (folded.wrapping_mul(FACTORS[0]) >> 32) as u32
            }

            #[inline(always)]
            fn merge(&mut self, other: &Self) -> bool {
                let last = other.last_or_fragment_id;
                self.merge_if_same_flow(other, mask_for(other.key.ip_protocol), || last)
            }

            #[inline(always)]
            fn merge_in_any_order(&mut self, other: &Self) -> bool {
                let (first, last) = (self.first, self.last_or_fragment_id);
                let mask = mask_for(other.key.ip_protocol);
                let later = || later(last, other.last_or_fragment_id);
                let is_merged = self.merge_if_same_flow(other, mask, later);
                if is_merged {
                    self.first = earlier(first, other.first);
                }
                is_merged
            }

            #[inline(always)]
            fn merge_tcp_or_udp(&mut self, other: &Self, last: impl FnOnce() -> u32) -> bool {
                self.merge_if_same_flow(other, KEY_AND_FLAGS, last)
            }

            #[inline(always)]
            fn merge_if_same_flow(
                &mut self,
                other: &Self,
                mask: u64,
                last: impl FnOnce() -> u32,
            ) -> bool {
                let first_flags = self.aux;
                let words: &mut [u64; $words] = transmute_mut!(self);
                let others: &[u64; $words] = transmute_ref!(other);
                // Each word is read once and written once: in the program every instruction counts.
                let tail = words[$words - 1];
                let mut differing = (tail ^ others[$words - 1]) & mask;
                let mut word = FIRST_KEY_WORD;
                while word < $words - 1 {
                    differing |= words[word] ^ others[word];
                    word += 1;
                }
                let counts = u64::from_le(words[COUNTS_WORD]);
                let sum = counts.wrapping_add(other.packets.into());
                // A carry out of the packets would show here as another interface.
                differing |= sum >> 32 ^ u64::from(other.ifindex);
                if differing != 0 || !keeps_handshake(first_flags, other.tcp_flags, other.aux) {
                    return false;
                }
                words[COUNTS_WORD] = sum.to_le();
                words[$words - 1] = tail | others[$words - 1] & TCP_FLAGS;
                self.octets += other.octets;
                self.last_or_fragment_id = last();
                true
            }
        }
    };
}

/// Packets in the low half, the interface in the high one.
const COUNTS_WORD: usize = 1;
/// The key starts at an offset of 24 bytes.
const FIRST_KEY_WORD: usize = 3;

coalesce!(RecordV4, l1_slot = L1SlotV4, words = 5, l2_divisor = 1);
coalesce!(RecordV6, l1_slot = RecordV6, words = 8, l2_divisor = 2);

/// Mask of the bits in the last word that are the same in two records of a flow. The auxiliary byte is the
/// first flags in TCP, which may differ, and 0 in protocols other than TCP and ICMP.
#[inline(always)]
const fn mask_for(ip_protocol: u8) -> u64 {
    match ip_protocol {
        TCP => KEY_AND_FLAGS,
        _ => KEY_AUX_AND_FLAGS,
    }
}

/// The later one of two ticks (see [`tick_after`](crate::record::tick_after)), without a branch: the
/// verifier would follow both paths for each record of an insert batch.
#[inline(always)]
const fn later(tick: u32, other: u32) -> u32 {
    let by = other.wrapping_sub(tick);
    let is_before = (by.cast_signed() >> (u32::BITS - 1)).cast_unsigned();
    tick.wrapping_add(by & !is_before)
}

/// The earlier one of two ticks.
#[inline(always)]
const fn earlier(tick: u32, other: u32) -> u32 {
    tick.wrapping_add(other).wrapping_sub(later(tick, other))
}

/// A SYN (or SYN+ACK) is only merged into a record whose first packet was one, too, so that the auxiliary
/// byte of each record tells which end opened the connection. So a record with a SYN among its `tcp_flags`
/// began with it: `aux`, the flags of its first packet, tells which of the two it was. Records of other
/// protocols have no TCP flags.
#[inline(always)]
const fn keeps_handshake(first: u8, tcp_flags: u8, aux: u8) -> bool {
    tcp_flags & SYN == 0 || (first ^ aux) & (SYN | ACK) == 0
}

#[cfg(test)]
mod tests;
