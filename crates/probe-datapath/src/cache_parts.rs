//! The size of the flow cache: see [`probe_common::coalesce`].

use std::ops::RangeInclusive;

use probe_common::{
    coalesce::{Coalesce, L1_INDEX_BITS},
    control::BANKS,
    record::{RecordV4, RecordV6},
};

/// The fewest slots of L1: CPUs must not share a cache line of tags.
const MIN_L1_SLOTS: u32 = 64;

/// The fewest slots of L2, for the same reason: IPv6 has these divided by its divisor.
const MIN_L2_SLOTS: u32 = MIN_L1_SLOTS * RecordV6::L2_DIVISOR;

/// The most slots of the L2 of an area.
const MAX_L2_SLOTS: u32 = 1 << 20;

/// The most slots of L1: 512 KiB, which fit into the L2 cache of a CPU. With more, each packet would wait
/// for memory that is far away; with fewer, more flows would not lie in their preferred slot.
const MAX_L1_SLOTS: u32 = 1 << L1_INDEX_BITS;

/// Memory that the cache may take by default, in bytes, except on hosts with very many CPUs.
const BUDGET_BYTES: u64 = 50 << 20;

/// Slots per CPU by default: the fewest that are worth their memory, and the number beyond which more
/// make little difference.
const AFFORDABLE_SLOTS: RangeInclusive<u32> = 1 << 10..=1 << 17;

/// Slots of the two levels of each area of the cache.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CacheParts {
    l1: u32,
    l2: u32,
}

impl CacheParts {
    /// No cache: each packet becomes a record.
    pub const NONE: Self = Self { l1: 0, l2: 0 };

    /// An L1 and an L2 of this number of slots; with an L2 of 0 there is only L1, with an L1 of 0 no cache.
    /// Other numbers are rounded up to a power of two, of at least 64 and 128.
    pub fn new(l1: u32, l2: u32) -> Self {
        let round_up = |slots: u32, least: u32, most: u32| match slots {
            0 => 0,
            slots => slots.clamp(least, most).next_power_of_two(),
        };
        match round_up(l1, MIN_L1_SLOTS, MAX_L1_SLOTS) {
            0 => Self::NONE,
            l1 => Self {
                l1,
                l2: round_up(l2, MIN_L2_SLOTS, MAX_L2_SLOTS),
            },
        }
    }

    /// The best levels for a number of slots: up to the most that L1 can have, there is no L2.
    pub fn from_slots(slots: u32) -> Self {
        if slots <= MAX_L1_SLOTS {
            Self::new(slots, 0)
        } else {
            Self::new(MAX_L1_SLOTS, slots)
        }
    }

    /// The default on this number of CPUs, over which flows are spread, too.
    pub fn affordable(cpus: u32) -> Self {
        let (least, most) = AFFORDABLE_SLOTS.into_inner();
        let mut slots = most;
        while slots > least && Self::from_slots(slots).bytes(cpus) > BUDGET_BYTES {
            slots /= 2;
        }
        Self::from_slots(slots)
    }

    /// Memory on this number of CPUs, in bytes: both banks and IP versions.
    fn bytes(self, cpus: u32) -> u64 {
        let area = self.area_bytes::<RecordV4>() + self.area_bytes::<RecordV6>();
        area * u64::from(BANKS) * u64::from(cpus)
    }

    /// Memory of an area in bytes, with the opening times of records and without the tags, which are few.
    fn area_bytes<R: Coalesce>(self) -> u64 {
        let with_opening_time = |bytes| (bytes + size_of::<u64>()) as u64;
        u64::from(self.l1()) * with_opening_time(size_of::<R::L1Slot>())
            + u64::from(self.l2::<R>()) * with_opening_time(size_of::<R>())
    }

    /// Slots of L1, a power of two, or 0 for no cache.
    pub(crate) const fn l1(self) -> u32 {
        self.l1
    }

    /// Slots of L2 for the records of an IP version, a power of two, or 0 for none.
    pub(crate) const fn l2<R: Coalesce>(self) -> u32 {
        self.l2 / R::L2_DIVISOR
    }
}

#[cfg(test)]
mod tests {
    use probe_common::record::{RecordV4, RecordV6};

    use super::{BUDGET_BYTES, CacheParts, MAX_L2_SLOTS};

    fn parts(slots: u32) -> [u32; 2] {
        let parts = CacheParts::from_slots(slots);
        [parts.l1(), parts.l2::<RecordV4>()]
    }

    #[test]
    fn few_slots_are_an_l1_and_many_have_an_l2_too() {
        assert_eq!(parts(0), [0, 0]);
        assert_eq!(parts(1), [64, 0], "CPUs share no cache line of tags");
        assert_eq!(parts(8192), [8192, 0]);
        assert_eq!(parts(16_384), [8192, 16_384]);
        assert_eq!(parts(u32::MAX), [8192, MAX_L2_SLOTS]);
    }

    #[test]
    fn ipv6_has_half_an_l2() {
        let parts = CacheParts::new(64, 1);
        assert_eq!(parts.l2::<RecordV4>(), 128);
        assert_eq!(
            parts.l2::<RecordV6>(),
            64,
            "a cache line of tags for each CPU"
        );
    }

    #[test]
    fn the_budget_is_enough_for_up_to_160_cpus() {
        for cpus in 1..=160 {
            let bytes = CacheParts::affordable(cpus).bytes(cpus);
            assert!(bytes <= BUDGET_BYTES, "{cpus}: {bytes}");
        }
        let affordable = |cpus| {
            let parts = CacheParts::affordable(cpus);
            [parts.l1(), parts.l2::<RecordV4>()]
        };
        assert_eq!(affordable(2), [8192, 131_072]);
        assert_eq!(affordable(8), [8192, 16_384]);
        assert_eq!(affordable(32), [4096, 0]);
        assert_eq!(affordable(512), [1024, 0]);
    }
}
