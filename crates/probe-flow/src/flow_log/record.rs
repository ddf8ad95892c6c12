//! What is counted in flows.

use probe_common::{
    ephash::EpHash,
    record::{RecordHead, RecordV4, RecordV6},
};

/// A record, or a key and a head without one.
///
/// Handed on as it is and not as its head: that would be written to memory for each record, only
/// because functions that are seldom called borrow it.
pub(super) trait FlowRecord<const N: usize> {
    /// In packet orientation, not aggregated.
    fn key(&self) -> &EpHash<N>;

    fn head(&self) -> RecordHead;
}

macro_rules! flow_record {
    ($record:ty, $n:literal) => {
        impl FlowRecord<$n> for $record {
            #[inline(always)]
            fn key(&self) -> &EpHash<$n> {
                &self.key
            }

            #[inline(always)]
            fn head(&self) -> RecordHead {
                self.head()
            }
        }
    };
}

flow_record!(RecordV4, 4);
flow_record!(RecordV6, 16);

impl<const N: usize> FlowRecord<N> for (EpHash<N>, RecordHead) {
    #[inline(always)]
    fn key(&self) -> &EpHash<N> {
        &self.0
    }

    #[inline(always)]
    fn head(&self) -> RecordHead {
        self.1
    }
}
