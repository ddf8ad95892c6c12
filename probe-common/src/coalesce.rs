//! Coalescing: which packets of a flow make one record.
//!
//! The programs keep a cache of open records, one [area](crate::control::area) per CPU and bank. An
//! area has a front, small enough to be at hand, and a back with room for many flows. In either a record
//! has the choice of the [places of a set](tags), and is added to the record of its flow if that
//! [takes](Coalesce::absorb) it. In the front it has a home among them, which is looked at first, and
//! lies elsewhere only where that was taken. What finds all places of the front taken goes to the
//! back, and of 64 that do so one takes its home in the front, and who was there goes to the back in
//! its stead. In the back it takes a vacant place or that of another, which goes to the ring. What is left
//! in the areas of a closed bank the agent takes out itself.
//!
//! Between front and back is a short row of [pending](PENDING) records; a full row goes to the back
//! as a whole, so that they wait for the memory of their places together, not one after the other. Where
//! next to none would be found in the front, packets go to the row at once (see [`Looks`]): so in the back
//! an older record may join a newer one.
//! Where there are many CPUs and so few flows for each, the front is all.

mod entry;
mod pending;
pub mod tags;

use core::hint::black_box;

use zerocopy::{transmute_mut, transmute_ref};

pub use self::{
    entry::{Entry, LineV4},
    pending::{FullRow, Looks, PENDING, Pending, PendingV4, PendingV6},
};

use crate::{
    ports::TCP,
    record::{NOTE_FIRST_FRAGMENT, NOTE_LATER_FRAGMENT, NOTE_SHORT_TRANSPORT, RecordV4, RecordV6},
};

// RFC 9293, section 3.1.
const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;

/// What makes a record of its own of each packet: fragments have an identification and go by the
/// fragment table, and a cut transport header is noted packet by packet.
const NEVER_COALESCED: u8 = NOTE_FIRST_FRAGMENT | NOTE_LATER_FRAGMENT | NOTE_SHORT_TRANSPORT;

/// In the last word of a record: the end of the key, and the notes. Between them lie the TCP flags
/// and the auxiliary byte.
const KEY_AND_NOTES: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0xff]);
/// The same with the auxiliary byte.
const KEY_AUX_AND_NOTES: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff]);

const TCP_FLAGS: u64 = u64::from_ne_bytes([0, 0, 0, 0, 0, 0xff, 0, 0]);

/// Odd numbers without pattern (the first digits of π and of its fractions): one for each word.
const FACTORS: [u64; 5] = [
    0x2437_15d3_08a3_8d31,
    0x9e37_79b9_7f4a_7c15,
    0xa409_3822_299f_31d1,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
];

/// Bits of [`Coalesce::quick_hash`] for the place in the front: the highest ones of a product, to which
/// all of a key comes up.
pub const QUICK_BITS: u32 = 13;

/// The place in a front by a [`Coalesce::quick_hash`], and by the number of its slots, a power of two:
/// the highest bits, as many as it has.
#[inline(always)]
pub const fn quick_place(quick_hash: u32, slots: u32) -> u32 {
    ((quick_hash as u64 * slots as u64) >> u32::BITS) as u32
}

/// The tag there, by the bits below. Never 0.
#[inline(always)]
pub const fn quick_tag(quick_hash: u32) -> u8 {
    tags::tag(quick_hash << QUICK_BITS)
}

/// A record that packets can be added to.
pub trait Coalesce: Copy {
    /// An entry of the front.
    type Line: Entry<Record = Self>;

    /// What [`BACK_SLOTS`](crate::control::globals::BACK_SLOTS) are divided by for a back: 1 or 2. Of
    /// IPv6 there are fewer flows where there is IPv4, and its records are larger.
    const BACK_PART: u32;

    /// Whether it may stay open for more packets.
    fn is_coalescible(&self) -> bool;

    /// Whether it is an entry without packets, which every entry is at first.
    fn is_vacant(&self) -> bool;

    /// Whether nothing but who spoke first tells the direction of the flow: both ports are the same
    /// (or none), and neither a handshake nor the ports say anything.
    fn is_told_by_order(&self) -> bool;

    /// A copy that is made here and nowhere before, in whole words. Without it the compiler would
    /// write each record to the stack early, for the sake of rare functions that take it by
    /// reference, or write it field by field, and who reads words right after that waits.
    #[must_use]
    fn in_memory(&self) -> Self;

    /// A record of one moment, that of a tick.
    #[must_use]
    fn at(self, tick: u32) -> Self;

    /// Whether it must not overtake an older record of its flow: it may be one that does not take
    /// it.
    fn must_follow(&self) -> bool;

    /// A number for the front, with as few instructions as will do, since each packet waits for it:
    /// those that meet by it part in the back. See [`quick_place`] and [`quick_tag`].
    fn quick_hash(&self) -> u32;

    /// A number of which the low bits choose the set in the back, and the highest ones are its
    /// [tag](tags::tag) there.
    fn hash(&self) -> u32;

    /// Adds the packets of another record, which came later, if they belong into this one: they are
    /// of the same flow, interface, direction and bank, nothing that tells the direction of a flow
    /// is lost (the kind of an ICMP message, the start of a TCP connection), and the count of
    /// packets does not overflow. The auxiliary byte stays that of the first packet. Says whether
    /// they were added; a vacant entry takes none.
    fn absorb(&mut self, other: &Self) -> bool;

    /// The same where either may have come first.
    fn absorb_in_any_order(&mut self, other: &Self) -> bool;

    /// [`Self::absorb`] where the other record is of TCP or UDP packets, and has no time yet: that of the
    /// last one is asked for if they belong here.
    fn absorb_tcp_or_udp(&mut self, other: &Self, last: impl FnOnce() -> u32) -> bool;

    /// The same where all is of one flow that is the same in a mask of the last word, and in the rest.
    #[doc(hidden)]
    fn absorb_if_same(&mut self, other: &Self, mask: u64, last: impl FnOnce() -> u32) -> bool;
}

macro_rules! coalesce {
    ($record:ty, line = $line:ty, words = $words:literal, back_part = $back_part:literal) => {
        impl Coalesce for $record {
            type Line = $line;

            const BACK_PART: u32 = $back_part;

            #[inline(always)]
            fn is_coalescible(&self) -> bool {
                self.notes & NEVER_COALESCED == 0
            }

            #[inline(always)]
            fn is_vacant(&self) -> bool {
                self.packets == 0
            }

            #[inline(always)]
            fn is_told_by_order(&self) -> bool {
                self.key.src_port == self.key.dst_port
            }

            #[inline(always)]
            fn in_memory(&self) -> Self {
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
            fn must_follow(&self) -> bool {
                self.tcp_flags & TCP_SYN != 0
            }

            #[inline(always)]
            fn quick_hash(&self) -> u32 {
                let words: &[u64; $words] = transmute_ref!(self);
                let last = words[$words - 1] & KEY_AND_NOTES ^ u64::from(self.ifindex);
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
            fn hash(&self) -> u32 {
                let words: &[u64; $words] = transmute_ref!(self);
                let last = words[$words - 1] & KEY_AND_NOTES;
                let mut hash = (last ^ u64::from(self.ifindex)).wrapping_mul(FACTORS[0]);
                let mut word = FIRST_KEY_WORD;
                while word < $words - 1 {
                    hash ^= words[word].wrapping_mul(FACTORS[word - FIRST_KEY_WORD + 1]);
                    word += 1;
                }
                // A product passes bits upwards only: what differs in the highest octet of a word has
                // to come down, and be spread once more, to reach the bits that choose the slot.
                let folded = hash ^ (hash >> 32);
                (folded.wrapping_mul(FACTORS[0]) >> 32) as u32
            }

            #[inline(always)]
            fn absorb(&mut self, other: &Self) -> bool {
                let last = other.last_or_fragment_id;
                self.absorb_if_same(other, mask_for(other.key.ip_protocol), || last)
            }

            #[inline(always)]
            fn absorb_in_any_order(&mut self, other: &Self) -> bool {
                let (first, last) = (self.first, self.last_or_fragment_id);
                let mask = mask_for(other.key.ip_protocol);
                let later = || later(last, other.last_or_fragment_id);
                let is_absorbed = self.absorb_if_same(other, mask, later);
                if is_absorbed {
                    self.first = earlier(first, other.first);
                }
                is_absorbed
            }

            #[inline(always)]
            fn absorb_tcp_or_udp(&mut self, other: &Self, last: impl FnOnce() -> u32) -> bool {
                self.absorb_if_same(other, KEY_AND_NOTES, last)
            }

            #[inline(always)]
            fn absorb_if_same(
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

coalesce!(RecordV4, line = LineV4, words = 5, back_part = 1);
coalesce!(RecordV6, line = RecordV6, words = 8, back_part = 2);

/// What has to be the same in the last word of two records of a flow. The first flags of TCP may differ; what
/// is neither TCP nor ICMP has 0 there.
#[inline(always)]
const fn mask_for(ip_protocol: u8) -> u64 {
    match ip_protocol {
        TCP => KEY_AND_NOTES,
        _ => KEY_AUX_AND_NOTES,
    }
}

/// The later one of two ticks (see [`tick_after`](crate::record::tick_after)), without a branch: the
/// verifier would follow both ways for each record of a row.
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

/// A SYN (or SYN+ACK) is only added to a record whose first packet was the same, so that each says
/// by the auxiliary byte of a record who opened the connection. So a record with a SYN among its
/// `flags` began with it: `aux`, its first ones, tells which of the two it was. Records of other
/// protocols have no TCP flags.
#[inline(always)]
const fn keeps_handshake(first: u8, flags: u8, aux: u8) -> bool {
    flags & TCP_SYN == 0 || (first ^ aux) & (TCP_SYN | TCP_ACK) == 0
}

#[cfg(test)]
mod tests;
