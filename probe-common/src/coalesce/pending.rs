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
            /// Position of the last record; those behind it have been taken into the cache before.
            pub last: u64,
            /// The records. Those that hold no packets are vacant.
            pub records: [$record; PENDING],
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

    /// Adds a record to the last one or behind it. `false` if the row is full: then
    /// [`Self::restart`] follows, once all records have been taken into the cache.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "it is less than PENDING")]
    fn add(&mut self, record: &Self::Record) -> bool {
        let (last, records) = self.parts_mut();
        // Masked where it is used, so that the verifier sees it.
        let at = *last as usize % PENDING;
        if records[at].absorb(record) {
            return true;
        }
        let next = at + 1;
        if next == PENDING {
            return false;
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
        let waiting = records.iter().take(last as usize + 1);
        waiting.filter(|record| !record.is_vacant())
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
        let mut row = PendingV4::new_zeroed();
        assert_eq!(row.waiting().count(), 0);
        // The first place is vacant once.
        for flow in (1..).take(PENDING - 1) {
            assert!(row.add(&record(flow)) && row.add(&record(flow)));
        }
        assert!(!row.add(&record(0)), "full");
        assert!(row.waiting().all(|record| record.packets == 2));
        assert_eq!(row.waiting().count(), PENDING - 1);
        row.restart(&record(9));
        assert!(row.add(&record(9)) && row.add(&record(1)));
        let waiting: Vec<_> = row
            .waiting()
            .map(|it| (it.key.src_addr[0], it.packets))
            .collect();
        assert_eq!(waiting, [(9, 2), (1, 1)], "not those that went on");
    }
}
