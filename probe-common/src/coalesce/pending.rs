//! The row of records between front and back of an area of the cache. See [`super`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Coalesce;
use crate::{
    record::{RecordV4, RecordV6},
    wire_type,
};

/// Records that wait to be taken into the back of an area of the cache, so that they wait for memory
/// together. A power of two. The verifier walks through them one by one, so they are not more.
pub const PENDING: usize = 64;

/// With no more packets found in the front for each full row, one in five, looking there costs more than it
/// saves.
const FOUND_IN_VAIN: u32 = 16;

/// Rows after such a one for which nobody looks.
const ROWS_IN_VAIN: u32 = 15;

/// Whether it is worth looking into the front in a [crowd](crate::control::Station::is_crowded): told by
/// one row in sixteen.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct Looks {
    /// Packets that were found in the front since the row was full.
    found: u32,
    /// Rows for which nobody looks, with this one.
    rows_in_vain: u32,
}

wire_type!(Looks, size = 8);

impl Looks {
    /// Whether nobody need look.
    #[inline(always)]
    pub const fn are_in_vain(&self) -> bool {
        self.rows_in_vain != 0
    }

    /// A packet was found.
    #[inline(always)]
    pub const fn on_found(&mut self) {
        self.found = self.found.wrapping_add(1);
    }

    /// The row is full. Without a crowd it says nothing.
    #[inline(always)]
    pub const fn on_full_row(&mut self, is_crowded: bool) {
        self.rows_in_vain = if !is_crowded {
            0
        } else if self.rows_in_vain != 0 {
            self.rows_in_vain - 1
        } else if self.found <= FOUND_IN_VAIN {
            ROWS_IN_VAIN
        } else {
            0
        };
        self.found = 0;
    }
}

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
            /// Their hashes, while they are taken into the back: kept here, since the stack has no room.
            pub hashes: [u32; PENDING],
            /// Where their tags lie, and then their places.
            pub places: [u32; PENDING],
            /// What came of looking into the front.
            pub looks: Looks,
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
            fn looks(&mut self) -> &mut Looks {
                &mut self.looks
            }

            #[inline(always)]
            fn full(&mut self) -> FullRow<'_, $record> {
                FullRow {
                    records: &self.records,
                    hashes: &mut self.hashes,
                    places: &mut self.places,
                }
            }
        }
    };
}

/// A full row, while its records are taken into the back.
#[derive(Debug)]
pub struct FullRow<'row, Record> {
    /// The records.
    pub records: &'row [Record; PENDING],
    /// Room for the hash of each.
    pub hashes: &'row mut [u32; PENDING],
    /// Room for where the tags of each lie, and then for its place.
    pub places: &'row mut [u32; PENDING],
}

/// A row of pending records.
pub trait Pending: Sized {
    /// What waits in it.
    type Record: Coalesce;

    /// How many records wait, and all places.
    fn parts(&self) -> (u64, &[Self::Record; PENDING]);

    /// The same to change.
    fn parts_mut(&mut self) -> (&mut u64, &mut [Self::Record; PENDING]);

    /// What came of looking into the front.
    fn looks(&mut self) -> &mut Looks;

    /// The records of a full row.
    fn full(&mut self) -> FullRow<'_, Self::Record>;

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

pending!(PendingV4, RecordV4, size = 3088);
pending!(PendingV6, RecordV6, size = 4624);

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use zerocopy::FromZeros as _;

    use super::{FOUND_IN_VAIN, Looks, PENDING, Pending as _, PendingV4, ROWS_IN_VAIN};
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
        assert!(
            (0..)
                .zip(row.full().records)
                .all(|(flow, it)| *it == record(flow))
        );
    }

    #[test]
    fn one_row_in_sixteen_tells_whether_it_is_worth_looking() {
        let mut looks = Looks::default();
        let mut fill_row = |found| {
            let in_vain = looks.are_in_vain();
            for _ in 0..found {
                looks.on_found();
            }
            looks.on_full_row(true);
            in_vain
        };
        assert!(!fill_row(FOUND_IN_VAIN + 1), "some are found");
        for _ in 0..3 {
            assert!(!fill_row(FOUND_IN_VAIN), "the one that tells");
            assert!((0..ROWS_IN_VAIN).all(|_| fill_row(0)), "nobody looks");
        }
        assert!(!fill_row(FOUND_IN_VAIN + 1) && !fill_row(0));
        assert!(looks.are_in_vain());
        looks.on_full_row(false);
        assert!(!looks.are_in_vain(), "there is no crowd");
        looks.on_full_row(false);
        assert!(!looks.are_in_vain(), "they were found at home");
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
