//! What the programs push through the ring: one record per packet, or per run of packets of one
//! flow once they are coalesced in the kernel.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    ephash::{EpHash, EpHashV4, EpHashV6},
    wire_type,
};

/// [`RecordHead::family`] of a [`RecordV4`].
pub const FAMILY_V4: u8 = 4;
/// [`RecordHead::family`] of a [`RecordV6`].
pub const FAMILY_V6: u8 = 6;

/// Direction of packets that entered the host through the interface ("received").
pub const INGRESS: u8 = 0;
/// Direction of packets that left the host through the interface ("sent").
pub const EGRESS: u8 = 1;

/// [`RecordHead::notes`]: a fragment other than the first, hence without ports.
pub const NOTE_LATER_FRAGMENT: u8 = 1 << 0;
/// [`RecordHead::notes`]: the transport header was cut, so ports or TCP flags may be missing.
pub const NOTE_SHORT_TRANSPORT: u8 = 1 << 1;
/// [`RecordHead::notes`]: the first fragment of several, which tells the ports of all of them.
pub const NOTE_FIRST_FRAGMENT: u8 = 1 << 2;

/// [`RecordHead::notes`]: the direction.
const DIRECTION_SHIFT: u8 = 6;
/// [`RecordHead::notes`]: the bank.
const BANK_SHIFT: u8 = 7;

/// The bits of [`RecordHead::notes`] that say where packets were counted: in which direction
/// ([`INGRESS`] or [`EGRESS`]) and in which bank (0 or 1).
#[inline(always)]
pub const fn place(direction: u8, bank: u8) -> u8 {
    (direction & 1) << DIRECTION_SHIFT | bank << BANK_SHIFT
}

/// The part of a record that does not depend on the IP version.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct RecordHead {
    /// IP octets on the wire: headers and payload of the outermost IP packet, without link header
    /// and padding, summed over all `packets`.
    pub octets: u64,
    /// Packets on the wire (segments of a GSO super-packet count one each).
    pub packets: u32,
    /// Interface index in the network namespace of the agent.
    pub ifindex: u32,
    /// Identification of the packet that a fragment is a part of: 16 bits in IPv4, 32 in IPv6. 0 in
    /// packets that are no fragments.
    pub fragment_id: u32,
    /// [`FAMILY_V4`] or [`FAMILY_V6`]; says which record type this is.
    pub family: u8,
    /// All TCP flags seen, or-ed (RFC 9293, section 3.1); 0 for other protocols.
    pub tcp_flags: u8,
    /// Auxiliary byte of the first packet: TCP flags, ICMP or ICMPv6 type, else 0.
    pub aux: u8,
    /// `NOTE_*` bits, and those of [`place`].
    pub notes: u8,
}

impl RecordHead {
    /// [`INGRESS`] or [`EGRESS`].
    #[inline(always)]
    pub const fn direction(&self) -> u8 {
        self.notes >> DIRECTION_SHIFT & 1
    }

    /// The bank that was active when the packets were seen: 0 or 1. It tells the packets on either
    /// side of a rotation apart (see [`crate::control::BANKS`]).
    #[inline(always)]
    pub const fn bank(&self) -> u8 {
        self.notes >> BANK_SHIFT
    }

    /// Whether this is a fragment, the first or a later one.
    #[inline(always)]
    pub const fn is_fragment(&self) -> bool {
        self.notes & (NOTE_FIRST_FRAGMENT | NOTE_LATER_FRAGMENT) != 0
    }
}

/// A record with its flow key.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
#[repr(C)]
pub struct RecordV4 {
    /// Counts and metadata.
    pub head: RecordHead,
    /// Flow key, in packet orientation (not aggregated, not reversed).
    pub key: EpHashV4,
    /// Zero.
    pub reserved: [u8; 3],
}

/// A record with its flow key.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
#[repr(C)]
pub struct RecordV6 {
    /// Counts and metadata.
    pub head: RecordHead,
    /// Flow key, in packet orientation (not aggregated, not reversed).
    pub key: EpHashV6,
    /// Zero.
    pub reserved: [u8; 3],
}

wire_type!(RecordHead, size = 24);
wire_type!(RecordV4, size = 40);
wire_type!(RecordV6, size = 64);

/// A record of either family, borrowed from the ring, a buffer or a file reader.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Record<'a> {
    /// IPv4.
    V4(&'a RecordV4),
    /// IPv6.
    V6(&'a RecordV6),
}

impl<'a> Record<'a> {
    /// Reads a record from the front of `bytes`, which must be aligned to 8 bytes as the ring's
    /// entries are. `None` if the bytes are no record: wrong length, alignment or family.
    #[inline]
    pub fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        match *bytes.get(core::mem::offset_of!(RecordHead, family))? {
            FAMILY_V4 => RecordV4::ref_from_prefix(bytes)
                .ok()
                .map(|(record, _)| Self::V4(record)),
            FAMILY_V6 => RecordV6::ref_from_prefix(bytes)
                .ok()
                .map(|(record, _)| Self::V6(record)),
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

    /// The part that does not depend on the IP version.
    #[inline]
    pub const fn head(&self) -> &'a RecordHead {
        match self {
            Self::V4(record) => &record.head,
            Self::V6(record) => &record.head,
        }
    }
}

/// Makes the record type of an EPHash: [`RecordV4`] for [`EpHashV4`], [`RecordV6`] for
/// [`EpHashV6`].
pub trait IntoRecord: Copy {
    /// The wire type.
    type Record: IntoBytes + Immutable;
    /// [`FAMILY_V4`] or [`FAMILY_V6`].
    const FAMILY: u8;
    /// Puts head and key together; sets the head's family.
    fn into_record(self, head: RecordHead) -> Self::Record;
}

impl IntoRecord for EpHash<4> {
    type Record = RecordV4;
    const FAMILY: u8 = FAMILY_V4;
    #[inline(always)]
    fn into_record(self, head: RecordHead) -> RecordV4 {
        RecordV4 {
            head: RecordHead {
                family: Self::FAMILY,
                ..head
            },
            key: self,
            reserved: [0; 3],
        }
    }
}

impl IntoRecord for EpHash<16> {
    type Record = RecordV6;
    const FAMILY: u8 = FAMILY_V6;
    #[inline(always)]
    fn into_record(self, head: RecordHead) -> RecordV6 {
        RecordV6 {
            head: RecordHead {
                family: Self::FAMILY,
                ..head
            },
            key: self,
            reserved: [0; 3],
        }
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::{FromZeros, IntoBytes};

    use super::{
        EGRESS, FAMILY_V4, FAMILY_V6, INGRESS, IntoRecord, NOTE_FIRST_FRAGMENT,
        NOTE_LATER_FRAGMENT, NOTE_SHORT_TRANSPORT, Record, RecordHead, RecordV6, place,
    };
    use crate::ephash::{EpHashV4, EpHashV6};

    #[test]
    fn records_survive_the_ring() {
        let head = RecordHead {
            octets: 1500,
            packets: 1,
            ifindex: 7,
            ..RecordHead::default()
        };
        let v4 = EpHashV4::new_zeroed().into_record(head);
        let v6 = EpHashV6::new_zeroed().into_record(head);
        assert_eq!(v4.head.family, FAMILY_V4);
        assert_eq!(v6.head.family, FAMILY_V6);
        assert_eq!(Record::from_bytes(v4.as_bytes()), Some(Record::V4(&v4)));
        assert_eq!(Record::from_bytes(v6.as_bytes()), Some(Record::V6(&v6)));
    }

    #[test]
    fn direction_and_bank_lie_beside_the_notes() {
        let all = NOTE_LATER_FRAGMENT | NOTE_SHORT_TRANSPORT | NOTE_FIRST_FRAGMENT;
        for (direction, bank) in [(INGRESS, 0), (INGRESS, 1), (EGRESS, 0), (EGRESS, 1)] {
            for notes in [0, all] {
                let head = RecordHead {
                    notes: notes | place(direction, bank),
                    ..RecordHead::default()
                };
                assert_eq!((head.direction(), head.bank()), (direction, bank));
                assert_eq!(head.notes & all, notes);
                assert_eq!(head.is_fragment(), notes != 0);
            }
        }
    }

    #[test]
    fn foreign_bytes_are_no_record() {
        let v6 = EpHashV6::new_zeroed().into_record(RecordHead::default());
        assert_eq!(Record::from_bytes(&[]), None);
        assert_eq!(Record::from_bytes(&v6.as_bytes()[..40]), None, "cut");
        assert_eq!(
            Record::from_bytes(RecordV6::new_zeroed().as_bytes()),
            None,
            "family 0"
        );
    }
}
