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
            /// Position of the next record. Behind it are records that have been taken into the cache
            /// before; at 0 there are none, and the row is full or vacant.
            pub next: u64,
            /// The records.
            pub records: [$record; PENDING],
        }

        wire_type!($name, size = $size);

        impl Pending for $name {
            type Record = $record;

            #[inline(always)]
            fn parts(&self) -> (u64, &[$record; PENDING]) {
                (self.next, &self.records)
            }

            #[inline(always)]
            fn parts_mut(&mut self) -> (&mut u64, &mut [$record; PENDING]) {
                (&mut self.next, &mut self.records)
            }
        }
    };
}

/// A row of pending records.
pub trait Pending: Sized {
    /// What waits in it.
    type Record: Coalesce;

    /// Position of the next record, and all of them.
    fn parts(&self) -> (u64, &[Self::Record; PENDING]);

    /// The same to change.
    fn parts_mut(&mut self) -> (&mut u64, &mut [Self::Record; PENDING]);

    /// Adds a record to the last one or behind it. `false` if the row is full: then
    /// [`Self::restart`] follows, once all records have been taken into the cache.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "it is less than PENDING")]
    fn add(&mut self, record: &Self::Record) -> bool {
        let (position, records) = self.parts_mut();
        // Both masked: that is how the verifier knows that they are in bounds. (Kernels before 6.7
        // learn nothing from a position that is not equal to another.)
        let next = *position as usize % PENDING;
        let last = (next + PENDING - 1) % PENDING;
        if records[last].absorb(record) {
            return true;
        }
        if next == 0 && !records[0].is_vacant() {
            return false;
        }
        records[next] = *record;
        *position = ((next + 1) % PENDING) as u64;
        true
    }

    /// Begins anew with a record.
    #[inline(always)]
    fn restart(&mut self, record: &Self::Record) {
        let (position, records) = self.parts_mut();
        records[0] = *record;
        *position = 1;
    }

    /// The records that wait.
    #[expect(clippy::cast_possible_truncation, reason = "it is less than PENDING")]
    fn waiting(&self) -> impl Iterator<Item = &Self::Record> {
        let (next, records) = self.parts();
        let count = match next as usize % PENDING {
            0 => PENDING,
            next => next,
        };
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
        let mut row = PendingV4::new_zeroed();
        assert_eq!(row.waiting().count(), 0);
        for flow in (1..).take(PENDING) {
            assert!(row.add(&record(flow)) && row.add(&record(flow)));
        }
        assert!(!row.add(&record(0)), "full");
        assert!(row.add(&record(8)), "but for the last flow");
        assert_eq!(row.waiting().map(|it| it.packets).sum::<u32>(), 17);
        assert_eq!(row.waiting().count(), PENDING);
        row.restart(&record(9));
        assert!(row.add(&record(9)) && row.add(&record(1)));
        let waiting: Vec<_> = row
            .waiting()
            .map(|it| (it.key.src_addr[0], it.packets))
            .collect();
        assert_eq!(waiting, [(9, 2), (1, 1)], "not those that went on");
    }
}
