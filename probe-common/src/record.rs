//! What the programs push through the ring: one record per packet, or per run of packets of one
//! flow once they are coalesced in the kernel.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute};

use crate::{
    ephash::{EpHashV4, EpHashV6},
    wire_type,
};

/// Direction of packets that entered the host through the interface ("received").
pub const INGRESS: u8 = 0;
/// Direction of packets that left the host through the interface ("sent").
pub const EGRESS: u8 = 1;

/// [`RecordHead::flags`]: a fragment other than the first, hence without ports.
pub const FLAG_LATER_FRAGMENT: u8 = 1 << 0;
/// [`RecordHead::flags`]: the transport header was cut, so ports or TCP flags may be missing.
pub const FLAG_SHORT_TRANSPORT: u8 = 1 << 1;
/// [`RecordHead::flags`]: the first fragment of several, which tells the ports of all of them.
pub const FLAG_FIRST_FRAGMENT: u8 = 1 << 2;

/// [`RecordHead::fragment_id`] of IPv4, beside the 16 bits of the identification: the IP header names the
/// authentication header, while the key of a first fragment has the protocol behind it.
pub const FRAGMENT_BEHIND_AH: u32 = 1 << 16;

/// Bit of the direction in [`RecordHead::flags`].
const DIRECTION_SHIFT: u8 = 6;
/// Bit of the bank in [`RecordHead::flags`].
const BANK_SHIFT: u8 = 7;

/// The bits of [`RecordHead::flags`] that say where packets were counted: in which direction
/// ([`INGRESS`] or [`EGRESS`]) and in which bank (0 or 1).
#[inline(always)]
pub const fn origin_flags(direction: u8, bank: u8) -> u8 {
    (direction & 1) << DIRECTION_SHIFT | bank << BANK_SHIFT
}

/// What a record says beside its key, in one piece for readers. In the record itself it lies
/// around the key, which is at an offset of 24 so that it can be copied and compared in words.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RecordHead {
    /// IP octets on the wire: headers and payload of the outermost IP packet, without link header
    /// and padding, summed over all `packets`.
    pub octets: u64,
    /// Packets on the wire (segments of a GSO super-packet count one each).
    pub packets: u32,
    /// Interface index in the network namespace of the agent.
    pub ifindex: u32,
    /// Tick of the first packet: the low half of a count that the source's clock tells the time of.
    /// Compare by [`tick_after`], since it wraps round.
    pub first: u32,
    /// Tick of the last packet; in fragments, which are never summed up, the identification. Read
    /// it by [`Self::last`] and [`Self::fragment_id`].
    pub last_or_fragment_id: u32,
    /// All TCP flags seen, or-ed (RFC 9293, section 3.1); 0 for other protocols.
    pub tcp_flags: u8,
    /// Auxiliary byte of the first packet: TCP flags, ICMP or ICMPv6 type, else 0.
    pub aux: u8,
    /// `FLAG_*` bits, and those of [`origin_flags`].
    pub flags: u8,
}

/// Whether a tick is later than another: by less than half of the range, 24 days of milliseconds.
#[inline(always)]
pub const fn tick_after(tick: u32, other: u32) -> bool {
    tick.wrapping_sub(other).cast_signed() > 0
}

impl RecordHead {
    /// Direction of the packet: [`INGRESS`] or [`EGRESS`].
    #[inline(always)]
    pub const fn direction(&self) -> u8 {
        self.flags >> DIRECTION_SHIFT & 1
    }

    /// The bank that was active when the packets were seen: 0 or 1. It tells the packets on either
    /// side of a rotation apart (see [`crate::control::BANKS`]).
    #[inline(always)]
    pub const fn bank(&self) -> u8 {
        self.flags >> BANK_SHIFT
    }

    /// Whether this is a fragment, the first or a later one.
    #[inline(always)]
    pub const fn is_fragment(&self) -> bool {
        self.flags & (FLAG_FIRST_FRAGMENT | FLAG_LATER_FRAGMENT) != 0
    }

    /// Tick of the last packet.
    #[inline(always)]
    pub const fn last(&self) -> u32 {
        if self.is_fragment() {
            self.first
        } else {
            self.last_or_fragment_id
        }
    }

    /// Identification of the packet that a fragment is a part of: 16 bits in IPv4 and
    /// [`FRAGMENT_BEHIND_AH`], 32 in IPv6. 0 in packets that are no fragments.
    #[inline(always)]
    pub const fn fragment_id(&self) -> u32 {
        if self.is_fragment() {
            self.last_or_fragment_id
        } else {
            0
        }
    }
}

/// Declares a record type: the fields of [`RecordHead`] around a flow key.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident, $key:ty, size = $size:expr, $words:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
        #[repr(C)]
        pub struct $name {
            /// IP octets; see [`RecordHead::octets`].
            pub octets: u64,
            /// Number of packets; see [`RecordHead::packets`].
            pub packets: u32,
            /// Index of the link; see [`RecordHead::ifindex`].
            pub ifindex: u32,
            /// Tick of the first packet; see [`RecordHead::first`].
            pub first: u32,
            /// Tick or fragment id; see [`RecordHead::last_or_fragment_id`].
            pub last_or_fragment_id: u32,
            /// Flow key, in packet orientation (not aggregated, not reversed).
            pub key: $key,
            /// Flags of all packets, or-ed; see [`RecordHead::tcp_flags`].
            pub tcp_flags: u8,
            /// Evidence of the direction; see [`RecordHead::aux`].
            pub aux: u8,
            /// Direction and state; see [`RecordHead::flags`].
            pub flags: u8,
        }

        wire_type!($name, size = $size);

        impl $name {
            /// All but the key.
            #[inline(always)]
            pub const fn head(&self) -> RecordHead {
                RecordHead {
                    octets: self.octets,
                    packets: self.packets,
                    ifindex: self.ifindex,
                    first: self.first,
                    last_or_fragment_id: self.last_or_fragment_id,
                    tcp_flags: self.tcp_flags,
                    aux: self.aux,
                    flags: self.flags,
                }
            }
        }

        impl IntoRecord for $key {
            type Record = $name;
            #[inline(always)]
            fn join_record(self, head: RecordHead, join: impl Fn(u64, u64) -> u64) -> $name {
                transmute!($words(self, &head, join))
            }
        }
    };
}

/// The words of a record, as they lie in memory. Records are read in words, and a word whose parts
/// were just written apart from each other would have to wait for all of them (store forwarding).
#[inline(always)]
fn head_words(head: &RecordHead) -> [u64; 3] {
    let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    [
        head.octets,
        pair(head.packets, head.ifindex),
        pair(head.first, head.last_or_fragment_id),
    ]
}

/// What follows the key in its last word.
#[inline(always)]
fn tail_of_last_word(head: &RecordHead) -> u64 {
    u64::from(head.tcp_flags) << 40 | u64::from(head.aux) << 48 | u64::from(head.flags) << 56
}

#[inline(always)]
fn words_v4(key: EpHashV4, head: &RecordHead, join: impl Fn(u64, u64) -> u64) -> [u64; 5] {
    let [src, dst] = [key.src_addr, key.dst_addr].map(|it| u64::from(u32::from_le_bytes(it)));
    let [src_port, dst_port] = ports(key.src_port, key.dst_port);
    let [octets, counts, times] = head_words(head);
    [
        octets,
        counts,
        times,
        join(src | src_port << 32, dst << 48),
        join(
            dst >> 16 | dst_port << 16 | u64::from(key.ip_protocol) << 32,
            tail_of_last_word(head),
        ),
    ]
    .map(u64::to_le)
}

#[inline(always)]
fn words_v6(key: EpHashV6, head: &RecordHead, join: impl Fn(u64, u64) -> u64) -> [u64; 8] {
    let [src_low, src_high] = halves(key.src_addr);
    let [dst_low, dst_high] = halves(key.dst_addr);
    let [src_port, dst_port] = ports(key.src_port, key.dst_port);
    let [octets, counts, times] = head_words(head);
    let protocol = u64::from(key.ip_protocol) << 32;
    [
        octets,
        counts,
        times,
        src_low,
        src_high,
        join(src_port, dst_low << 16),
        join(dst_low >> 48, dst_high << 16),
        join(
            dst_high >> 48 | dst_port << 16 | protocol,
            tail_of_last_word(head),
        ),
    ]
    .map(u64::to_le)
}

#[inline(always)]
fn ports(src: [u8; 2], dst: [u8; 2]) -> [u64; 2] {
    [src, dst].map(|port| u64::from(u16::from_le_bytes(port)))
}

#[inline(always)]
fn halves(addr: [u8; 16]) -> [u64; 2] {
    let halves: [u64; 2] = transmute!(addr);
    halves.map(u64::from_le)
}

/// Makes the record type of an EPHash: [`RecordV4`] for [`EpHashV4`], [`RecordV6`] for
/// [`EpHashV6`].
pub trait IntoRecord: Copy {
    /// The record as it lies in the ring.
    type Record: IntoBytes + Immutable;

    /// Puts head and key together.
    #[inline(always)]
    fn into_record(self, head: RecordHead) -> Self::Record {
        self.join_record(head, |part, other| part | other)
    }

    /// The same, with a function that ors the parts of those words that are not in one piece before. In
    /// the programs that is one that the compiler does not see through: else it would put off to make words
    /// of the parts, which need more registers than there are.
    fn join_record(self, head: RecordHead, join: impl Fn(u64, u64) -> u64) -> Self::Record;
}

/// A record of either family that can be borrowed as such.
pub trait AsRecord {
    /// Borrows it as a [`Record`] of its family.
    fn as_record(&self) -> Record<'_>;
}

impl AsRecord for RecordV4 {
    #[inline]
    fn as_record(&self) -> Record<'_> {
        Record::V4(self)
    }
}

impl AsRecord for RecordV6 {
    #[inline]
    fn as_record(&self) -> Record<'_> {
        Record::V6(self)
    }
}

record!(
    /// A record of IPv4 packets.
    RecordV4, EpHashV4, size = 40, words_v4
);
record!(
    /// A record of IPv6 packets.
    RecordV6, EpHashV6, size = 64, words_v6
);

/// A record of either family, borrowed from the ring, a buffer or a file reader.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Record<'a> {
    /// A record of an IPv4 flow.
    V4(&'a RecordV4),
    /// A record of an IPv6 flow.
    V6(&'a RecordV6),
}

impl<'a> Record<'a> {
    /// Reads a record, whose length says which kind it is. The bytes must be aligned to 8 as the
    /// ring's entries are. `None` if they are no record: wrong length or alignment.
    #[inline]
    pub fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        match bytes.len() {
            LEN_V4 => RecordV4::ref_from_bytes(bytes).ok().map(Self::V4),
            LEN_V6 => RecordV6::ref_from_bytes(bytes).ok().map(Self::V6),
            _ => None,
        }
    }

    /// The bytes of the record, as they crossed the ring.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        match *self {
            Self::V4(record) => record.as_bytes(),
            Self::V6(record) => record.as_bytes(),
        }
    }

    /// All but the key.
    #[inline]
    pub const fn head(&self) -> RecordHead {
        match self {
            Self::V4(record) => record.head(),
            Self::V6(record) => record.head(),
        }
    }

    /// [`RecordHead::ifindex`], for routing without reading the rest.
    #[inline]
    pub const fn ifindex(&self) -> u32 {
        match self {
            Self::V4(record) => record.ifindex,
            Self::V6(record) => record.ifindex,
        }
    }
}

const LEN_V4: usize = size_of::<RecordV4>();
const LEN_V6: usize = size_of::<RecordV6>();

#[cfg(test)]
mod tests {
    use zerocopy::{FromZeros, IntoBytes};

    use super::{
        EGRESS, FLAG_FIRST_FRAGMENT, FLAG_LATER_FRAGMENT, FLAG_SHORT_TRANSPORT, INGRESS,
        IntoRecord, Record, RecordHead, RecordV4, RecordV6, origin_flags, tick_after,
    };
    use crate::ephash::{EpHashV4, EpHashV6};

    #[test]
    fn records_survive_the_ring() {
        let head = RecordHead {
            octets: 1500,
            packets: 1,
            ifindex: 7,
            first: 3,
            last_or_fragment_id: 4,
            tcp_flags: 0x12,
            aux: 2,
            flags: origin_flags(EGRESS, 1),
        };
        let v4 = EpHashV4::new_zeroed().into_record(head);
        let v6 = EpHashV6::new_zeroed().into_record(head);
        assert_eq!((v4.head(), v6.head()), (head, head));
        assert_eq!(Record::from_bytes(v4.as_bytes()), Some(Record::V4(&v4)));
        assert_eq!(Record::from_bytes(v6.as_bytes()), Some(Record::V6(&v6)));
    }

    #[test]
    fn keys_can_be_copied_in_words() {
        assert_eq!(core::mem::offset_of!(RecordV4, key) % 8, 0);
        assert_eq!(core::mem::offset_of!(RecordV6, key) % 8, 0);
    }

    #[test]
    fn direction_and_bank_lie_beside_the_notes() {
        let all = FLAG_LATER_FRAGMENT | FLAG_SHORT_TRANSPORT | FLAG_FIRST_FRAGMENT;
        for (direction, bank) in [(INGRESS, 0), (INGRESS, 1), (EGRESS, 0), (EGRESS, 1)] {
            for flags in [0, all] {
                let head = RecordHead {
                    flags: flags | origin_flags(direction, bank),
                    ..RecordHead::default()
                };
                assert_eq!((head.direction(), head.bank()), (direction, bank));
                assert_eq!(head.flags & all, flags);
                assert_eq!(head.is_fragment(), flags != 0);
            }
        }
    }

    #[test]
    fn a_fragment_is_one_moment_and_has_an_identification() {
        let whole = RecordHead {
            first: 7,
            last_or_fragment_id: 9,
            ..RecordHead::default()
        };
        assert_eq!((whole.last(), whole.fragment_id()), (9, 0));
        for flags in [FLAG_FIRST_FRAGMENT, FLAG_LATER_FRAGMENT] {
            let fragment = RecordHead { flags, ..whole };
            assert_eq!((fragment.last(), fragment.fragment_id()), (7, 9));
        }
    }

    #[test]
    fn ticks_are_compared_round_the_end_of_their_range() {
        for (later, earlier) in [(1, 0), (0, u32::MAX), (5, u32::MAX - 5), (1 << 30, 1)] {
            assert!(tick_after(later, earlier), "{later} after {earlier}");
            assert!(!tick_after(earlier, later), "{earlier} before {later}");
        }
        assert!(!tick_after(4, 4));
    }

    #[test]
    fn foreign_bytes_are_no_record() {
        let v6 = EpHashV6::new_zeroed().into_record(RecordHead::default());
        assert_eq!(Record::from_bytes(&[]), None);
        for len in (0..64).filter(|len| *len != 40) {
            assert_eq!(Record::from_bytes(&v6.as_bytes()[..len]), None, "{len}");
        }
    }
}
