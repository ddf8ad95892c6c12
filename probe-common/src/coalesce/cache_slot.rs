//! The slots of the cache as they lie in memory. See [`super`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    record::{RecordV4, RecordV6},
    wire_type,
};

/// A slot of L1 or L2, which begins with its record.
pub trait CacheSlot: Copy + core::fmt::Debug {
    /// The record type of the slot's IP version.
    type Record;

    /// Copies the record, which has no packets if the slot is vacant.
    fn record(&self) -> Self::Record;
}

/// An IPv4 slot of L1: a cache line of the CPU, 64 octets. If records of 40 octets lay side by side, half of
/// them would lie across two lines. In L2, which has many more slots, memory counts for more.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct L1SlotV4 {
    /// The open record, or one without packets.
    pub record: RecordV4,
    /// Fills the cache line.
    pub padding: [u64; 3],
}

wire_type!(L1SlotV4, size = 64);
// The programs cast a pointer to a slot into one to its record.
const _: () = assert!(core::mem::offset_of!(L1SlotV4, record) == 0);

impl CacheSlot for L1SlotV4 {
    type Record = RecordV4;

    #[inline]
    fn record(&self) -> RecordV4 {
        self.record
    }
}

impl CacheSlot for RecordV4 {
    type Record = Self;

    #[inline]
    fn record(&self) -> Self {
        *self
    }
}

/// A record of IPv6 fills a cache line by itself.
impl CacheSlot for RecordV6 {
    type Record = Self;

    #[inline]
    fn record(&self) -> Self {
        *self
    }
}
