//! The row of records in front of an area of the cache. See [`super`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Coalesce;
use crate::{
    record::{RecordV4, RecordV6},
    wire_type,
};

/// Records that wait to be taken into an area of the cache: about as many as a CPU fetches from
/// memory at once. A power of two.
pub const PENDING: usize = 8;

macro_rules! pending {
    ($name:ident, $record:ty, size = $size:expr) => {
        /// The row in front of an area of the cache.
        #[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
        #[repr(C)]
        pub struct $name {
            /// The records.
            pub records: [$record; PENDING],
            /// Position of the last record. Behind it are records that have been taken into the cache
            /// before.
            pub last: u64,
        }

        wire_type!($name, size = $size);

        impl Pending for $name {
            type Record = $record;

            #[inline(always)]
            fn parts(&self) -> (u64, &[$record; PENDING]) {
                (self.last, &self.records)
            }

            #[inline(always)]
            fn parts_mut(&mut self) -> (&mut u64, &mut [$record; PENDING]) {
                (&mut self.last, &mut self.records)
            }
        }
    };
}

/// A row of pending records.
pub trait Pending: Sized {
    /// What waits in it.
    type Record: Coalesce;

    /// Position of the last record, and all of them.
    fn parts(&self) -> (u64, &[Self::Record; PENDING]);

    /// The same to change.
    fn parts_mut(&mut self) -> (&mut u64, &mut [Self::Record; PENDING]);

    /// Adds a record to the last one, if that takes it.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "it is less than PENDING")]
    fn add_to_last(&mut self, record: &Self::Record) -> bool {
        let (last, records) = self.parts_mut();
        // The remainder is how the verifier knows that it is in bounds, here and below.
        records[*last as usize % PENDING].absorb(record)
    }

    /// Adds a record behind the last one. `false` if the row is full: then [`Self::restart`] follows,
    /// once all records have been taken into the cache.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "it is less than PENDING")]
    fn append(&mut self, record: &Self::Record) -> bool {
        let (last, records) = self.parts_mut();
        let mut next = *last as usize % PENDING;
        if !records[next].is_vacant() {
            next = (next + 1) % PENDING;
            if next == 0 {
                return false;
            }
        }
        records[next] = *record;
        *last = next as u64;
        true
    }

    /// Begins anew with a record.
    #[inline(always)]
    fn restart(&mut self, record: &Self::Record) {
        let (last, records) = self.parts_mut();
        records[0] = *record;
        *last = 0;
    }

    /// The records that wait.
    #[expect(clippy::cast_possible_truncation, reason = "it is less than PENDING")]
    fn waiting(&self) -> impl Iterator<Item = &Self::Record> {
        let (last, records) = self.parts();
        let count = last as usize % PENDING + 1;
        records.iter().take(count).filter(|it| !it.is_vacant())
    }
}

pending!(PendingV4, RecordV4, size = 328);
pending!(PendingV6, RecordV6, size = 520);

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
    fn a_row_takes_the_packets_of_its_last_record_and_a_number_of_others() {
        let add = |row: &mut PendingV4, flow| {
            let record = record(flow);
            row.add_to_last(&record) || row.append(&record)
        };
        let mut row = PendingV4::new_zeroed();
        assert_eq!(row.waiting().count(), 0);
        for flow in (1..).take(PENDING) {
            assert!(add(&mut row, flow) && add(&mut row, flow));
        }
        assert!(!add(&mut row, 0), "full");
        assert!(add(&mut row, 8), "but for the last flow");
        assert_eq!(row.waiting().map(|it| it.packets).sum::<u32>(), 17);
        assert_eq!(row.waiting().count(), PENDING);
        row.restart(&record(9));
        assert!(add(&mut row, 9) && add(&mut row, 1));
        let waiting: Vec<_> = row
            .waiting()
            .map(|it| (it.key.src_addr[0], it.packets))
            .collect();
        assert_eq!(waiting, [(9, 2), (1, 1)], "not those that went on");
    }
}
