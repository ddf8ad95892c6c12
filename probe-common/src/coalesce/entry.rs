//! What the cache consists of.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    record::{RecordV4, RecordV6},
    wire_type,
};

/// An entry of the front or back, which begins with its record.
pub trait Entry: Copy + core::fmt::Debug {
    /// What is open in it.
    type Record;

    /// The record.
    fn record(&self) -> Self::Record;
}

/// An entry of the front that is a line of the CPU's cache, 64 octets: half of all records would lie
/// across two if they lay side by side. In the back, where many more are open, room counts for more.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct LineV4 {
    /// The record.
    pub record: RecordV4,
    /// The rest of the line.
    pub rest: [u64; 3],
}

wire_type!(LineV4, size = 64);
// The programs take an entry for its record.
const _: () = assert!(core::mem::offset_of!(LineV4, record) == 0);

impl Entry for LineV4 {
    type Record = RecordV4;

    #[inline]
    fn record(&self) -> RecordV4 {
        self.record
    }
}

impl Entry for RecordV4 {
    type Record = Self;

    #[inline]
    fn record(&self) -> Self {
        *self
    }
}

/// It is a line itself.
impl Entry for RecordV6 {
    type Record = Self;

    #[inline]
    fn record(&self) -> Self {
        *self
    }
}
