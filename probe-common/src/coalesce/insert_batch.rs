//! The insert batch between L1 and L2 of an area of the cache. See [`super`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Coalesce;
use crate::{
    record::{RecordV4, RecordV6},
    wire_type,
};

/// Records of an insert batch. They are merged into L2 together, so that their cache misses overlap. A power
/// of two. The verifier walks through the records one by one, so a batch has no more.
pub const INSERT_BATCH_LEN: usize = 64;

/// With at most this many L1 hits per full batch, one in five packets, a lookup in L1 costs more than it
/// saves.
const BYPASS_MAX_HITS: u32 = 16;

/// Batches after such a one during which packets bypass L1.
const BYPASSED_BATCHES: u32 = 15;

/// Whether packets bypass L1 while it is [thrashing](crate::control::CounterBlock::is_thrashing). One batch
/// in sixteen samples the L1 hits.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(C)]
pub struct BypassState {
    /// L1 hits by tag since the last full batch.
    l1_hits: u32,
    /// Batches that still bypass L1, with the current one.
    bypassed_batches: u32,
}

wire_type!(BypassState, size = 8);

impl BypassState {
    /// Whether packets bypass L1.
    #[inline(always)]
    pub const fn is_active(&self) -> bool {
        self.bypassed_batches != 0
    }

    /// Counts a packet that was merged in L1, found by its tag.
    #[inline(always)]
    pub const fn on_l1_hit(&mut self) {
        self.l1_hits = self.l1_hits.wrapping_add(1);
    }

    /// Decides about the next batch, at the end of a full one. Without thrashing nothing bypasses L1.
    #[inline(always)]
    pub const fn on_full_batch(&mut self, is_thrashing: bool) {
        self.bypassed_batches = if !is_thrashing {
            0
        } else if self.bypassed_batches != 0 {
            self.bypassed_batches - 1
        } else if self.l1_hits <= BYPASS_MAX_HITS {
            BYPASSED_BATCHES
        } else {
            0
        };
        self.l1_hits = 0;
    }
}

macro_rules! insert_batch {
    ($name:ident, $record:ty, size = $size:expr) => {
        /// The insert batch of an area of the cache.
        #[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
        #[repr(C)]
        pub struct $name {
            /// The records. Those from `len` on were merged elsewhere, or are about to be.
            pub records: [$record; INSERT_BATCH_LEN],
            /// Number of records that wait.
            pub len: u64,
            /// L2 hash of each record, during the merge into L2: kept here because the stack is too small.
            pub hashes: [u32; INSERT_BATCH_LEN],
            /// During the merge: index of the tags of each record, and then of its slot in L2.
            pub indices: [u32; INSERT_BATCH_LEN],
            /// Whether packets bypass L1.
            pub bypass: BypassState,
        }

        wire_type!($name, size = $size);

        impl InsertBatch for $name {
            type Record = $record;

            #[inline(always)]
            fn parts(&self) -> (u64, &[$record; INSERT_BATCH_LEN]) {
                (self.len, &self.records)
            }

            #[inline(always)]
            fn parts_mut(&mut self) -> (&mut u64, &mut [$record; INSERT_BATCH_LEN]) {
                (&mut self.len, &mut self.records)
            }

            #[inline(always)]
            fn bypass(&mut self) -> &mut BypassState {
                &mut self.bypass
            }

            #[inline(always)]
            fn full(&mut self) -> FullBatch<'_, $record> {
                FullBatch {
                    records: &self.records,
                    hashes: &mut self.hashes,
                    indices: &mut self.indices,
                }
            }
        }
    };
}

/// A full insert batch, while its records are merged into L2.
#[derive(Debug)]
pub struct FullBatch<'batch, Record> {
    /// The records of the batch, in order of insertion.
    pub records: &'batch [Record; INSERT_BATCH_LEN],
    /// Room for the L2 hash of each record.
    pub hashes: &'batch mut [u32; INSERT_BATCH_LEN],
    /// Room for the index of each record's tags, and then of its slot in L2.
    pub indices: &'batch mut [u32; INSERT_BATCH_LEN],
}

/// Records of one IP version that wait for their merge into L2.
pub trait InsertBatch: Sized {
    /// The record type of the IP version.
    type Record: Coalesce;

    /// Number of records that wait, and the whole array.
    fn parts(&self) -> (u64, &[Self::Record; INSERT_BATCH_LEN]);

    /// As [`Self::parts`], for changes to the records.
    fn parts_mut(&mut self) -> (&mut u64, &mut [Self::Record; INSERT_BATCH_LEN]);

    /// Whether packets bypass L1.
    fn bypass(&mut self) -> &mut BypassState;

    /// The records of a full batch, with room for the merge.
    fn full(&mut self) -> FullBatch<'_, Self::Record>;

    /// Adds a record. If the batch was [almost full](Self::is_almost_full) it begins anew, and all its
    /// records have to be merged into L2 before another one is added.
    #[inline(always)]
    fn append(&mut self, record: &Self::Record) {
        *self.next_record() = *record;
        self.append_next();
    }

    /// The place of the next record. What is written there is part of the batch after [`Self::append_next`].
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is less than INSERT_BATCH_LEN"
    )]
    fn next_record(&mut self) -> &mut Self::Record {
        let (len, records) = self.parts_mut();
        // The remainder is how the verifier knows that it is in bounds.
        &mut records[*len as usize % INSERT_BATCH_LEN]
    }

    /// [`Self::append`] for what was written to [`Self::next_record`].
    #[inline(always)]
    fn append_next(&mut self) {
        let (len, _) = self.parts_mut();
        *len = (*len + 1) % INSERT_BATCH_LEN as u64;
    }

    /// Whether the next record fills it up.
    #[inline(always)]
    fn is_almost_full(&self) -> bool {
        self.parts().0 == INSERT_BATCH_LEN as u64 - 1
    }

    /// The records that wait.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is less than INSERT_BATCH_LEN"
    )]
    fn waiting(&self) -> &[Self::Record] {
        let (len, records) = self.parts();
        &records[..len as usize % INSERT_BATCH_LEN]
    }
}

insert_batch!(InsertBatchV4, RecordV4, size = 3088);
insert_batch!(InsertBatchV6, RecordV6, size = 4624);

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use zerocopy::FromZeros as _;

    use super::{
        BYPASS_MAX_HITS, BYPASSED_BATCHES, BypassState, INSERT_BATCH_LEN, InsertBatch as _,
        InsertBatchV4,
    };
    use crate::{
        ephash::EpHashV4,
        headers::ip_protocol::UDP,
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
    fn a_record_in_the_next_place_waits_once_it_is_appended() {
        let mut batch = InsertBatchV4::new_zeroed();
        for flow in 0..u8::try_from(INSERT_BATCH_LEN).expect("few") {
            *batch.next_record() = record(flow);
            assert_eq!(batch.waiting().len(), usize::from(flow));
            batch.append_next();
        }
        assert!(batch.waiting().is_empty(), "a full batch is merged whole");
        assert!(
            (0..)
                .zip(batch.full().records)
                .all(|(flow, it)| *it == record(flow))
        );
    }

    #[test]
    fn one_batch_in_sixteen_samples_the_hits() {
        let mut bypass = BypassState::default();
        let mut fill_batch = |hits| {
            let is_active = bypass.is_active();
            for _ in 0..hits {
                bypass.on_l1_hit();
            }
            bypass.on_full_batch(true);
            is_active
        };
        assert!(!fill_batch(BYPASS_MAX_HITS + 1), "L1 hits");
        for _ in 0..3 {
            assert!(!fill_batch(BYPASS_MAX_HITS), "this batch samples");
            assert!(
                (0..BYPASSED_BATCHES).all(|_| fill_batch(0)),
                "all bypass L1"
            );
        }
        assert!(!fill_batch(BYPASS_MAX_HITS + 1) && !fill_batch(0));
        assert!(bypass.is_active());
        bypass.on_full_batch(false);
        assert!(!bypass.is_active(), "no thrashing");
        bypass.on_full_batch(false);
        assert!(!bypass.is_active(), "hits in the preferred slot");
    }

    #[test]
    fn a_full_batch_begins_anew() {
        let mut batch = InsertBatchV4::new_zeroed();
        let waiting = |batch: &InsertBatchV4| -> Vec<u8> {
            batch
                .waiting()
                .iter()
                .map(|it| it.key.src_addr[0])
                .collect()
        };
        let full = u8::try_from(INSERT_BATCH_LEN).expect("few");
        for turn in [0, 100] {
            for flow in 1..full {
                assert!(!batch.is_almost_full());
                batch.append(&record(turn + flow));
                assert_eq!(waiting(&batch).len(), usize::from(flow));
            }
            assert!(batch.is_almost_full());
            assert_eq!(waiting(&batch)[0], turn + 1);
            batch.append(&record(turn + full));
            assert_eq!(waiting(&batch), [], "all of them are merged");
            assert_eq!(
                batch.records[INSERT_BATCH_LEN - 1].key.src_addr[0],
                turn + full
            );
        }
    }
}
