//! The row of records between front and back of an area of the cache. See [`super`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Coalesce;
use crate::{
    record::{RecordV4, RecordV6},
    wire_type,
};

/// Records that wait to be taken into the back of an area of the cache, so that they wait for memory
/// together. A power of two. Twice as many would save more, but the verifier walks through them one by
/// one.
pub const PENDING: usize = 32;

macro_rules! pending {
    ($name:ident, $record:ty, size = $size:expr) => {
        /// The row of an area of the cache.
        #[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
        #[repr(C)]
        pub struct $name {
            /// The records.
            pub records: [$record; PENDING],
            /// How many of them wait; behind them is what is on its way elsewhere, or has gone.
            pub len: u64,
            /// Their hashes and then their places in the back, while they are taken in there: kept here,
            /// since the stack has no room.
            pub places: [u32; PENDING],
        }

        wire_type!($name, size = $size);

        impl Pending for $name {
            type Record = $record;

            #[inline(always)]
            fn parts(&self) -> (u64, &[$record; PENDING]) {
                (self.len, &self.records)
            }

            #[inline(always)]
            fn parts_mut(&mut self) -> (&mut u64, &mut [$record; PENDING]) {
                (&mut self.len, &mut self.records)
            }

            #[inline(always)]
            fn all(&mut self) -> (&[$record; PENDING], &mut [u32; PENDING]) {
                (&self.records, &mut self.places)
            }
        }
    };
}

/// A row of pending records.
pub trait Pending: Sized {
    /// What waits in it.
    type Record: Coalesce;

    /// How many records wait, and all places.
    fn parts(&self) -> (u64, &[Self::Record; PENDING]);

    /// The same to change.
    fn parts_mut(&mut self) -> (&mut u64, &mut [Self::Record; PENDING]);

    /// The records of a full row, and room for the place of each.
    fn all(&mut self) -> (&[Self::Record; PENDING], &mut [u32; PENDING]);

    /// Adds a record. If the row was [almost full](Self::is_almost_full) it begins anew, and all its
    /// records have to be taken into the back before another one is added.
    #[inline(always)]
    fn append(&mut self, record: &Self::Record) {
        *self.next() = *record;
        self.append_next();
    }

    /// The place of the next record, which waits there as soon as [`Self::append_next`] says so.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "it is less than PENDING")]
    fn next(&mut self) -> &mut Self::Record {
        let (len, records) = self.parts_mut();
        // The remainder is how the verifier knows that it is in bounds.
        &mut records[*len as usize % PENDING]
    }

    /// [`Self::append`] for what is in the [place](Self::next) of the next record.
    #[inline(always)]
    fn append_next(&mut self) {
        let (len, _) = self.parts_mut();
        *len = (*len + 1) % PENDING as u64;
    }

    /// Whether the next record fills it up.
    #[inline(always)]
    fn is_almost_full(&self) -> bool {
        self.parts().0 == PENDING as u64 - 1
    }

    /// The records that wait.
    #[expect(clippy::cast_possible_truncation, reason = "it is less than PENDING")]
    fn waiting(&self) -> &[Self::Record] {
        let (len, records) = self.parts();
        &records[..len as usize % PENDING]
    }
}

pending!(PendingV4, RecordV4, size = 1416);
pending!(PendingV6, RecordV6, size = 2184);

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use zerocopy::FromZeros as _;

    use super::{PENDING, Pending as _, PendingV4};
    use crate::{
        ephash::EpHashV4,
        ports::UDP,
        record::{IntoRecord as _, RecordHead, RecordV4},
    };

    fn record(flow: u8) -> RecordV4 {
        let key = EpHashV4 {
            src_addr: [flow, 0, 0, 1],
            src_port: [2; 2],
            dst_addr: [3; 4],
            dst_port: [4; 2],
            ip_protocol: UDP,
        };
        key.into_record(RecordHead {
            octets: 100,
            packets: 1,
            ifindex: 7,
            ..RecordHead::default()
        })
    }

    #[test]
    fn what_is_put_in_the_next_place_waits_once_it_is_appended() {
        let mut row = PendingV4::new_zeroed();
        for flow in 0..u8::try_from(PENDING).expect("few") {
            *row.next() = record(flow);
            assert_eq!(row.waiting().len(), usize::from(flow));
            row.append_next();
        }
        assert!(row.waiting().is_empty(), "all of a full row go on");
        let (records, _) = row.all();
        assert!((0..).zip(records).all(|(flow, it)| *it == record(flow)));
    }

    #[test]
    fn a_row_that_is_full_begins_anew() {
        let mut row = PendingV4::new_zeroed();
        let waiting = |row: &PendingV4| -> Vec<u8> {
            row.waiting().iter().map(|it| it.key.src_addr[0]).collect()
        };
        let full = u8::try_from(PENDING).expect("few");
        for turn in [0, 100] {
            for flow in 1..full {
                assert!(!row.is_almost_full());
                row.append(&record(turn + flow));
                assert_eq!(waiting(&row).len(), usize::from(flow));
            }
            assert!(row.is_almost_full());
            assert_eq!(waiting(&row)[0], turn + 1);
            row.append(&record(turn + full));
            assert_eq!(waiting(&row), [], "all of them go on");
            assert_eq!(row.records[PENDING - 1].key.src_addr[0], turn + full);
        }
    }
}
