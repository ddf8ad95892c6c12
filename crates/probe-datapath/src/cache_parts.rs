//! How large the cache of open records is: see [`probe_common::coalesce`].

use std::ops::RangeInclusive;

use probe_common::{
    coalesce::{Coalesce, QUICK_BITS},
    control::BANKS,
    record::{RecordV4, RecordV6},
};

/// The least slots of a front: CPUs must not have a line of tags in common.
const MIN_FRONT_SLOTS: u32 = 64;

/// The least slots of a back, for the same reason: IPv6 has a part of them.
const MIN_BACK_SLOTS: u32 = MIN_FRONT_SLOTS * RecordV6::BACK_PART;

/// The most slots of an area of the cache.
const MAX_CACHE_SLOTS: u32 = 1 << 20;

/// The most slots of a front: 512 KiB, which a CPU has at hand. Were it larger, memory that is far away
/// would lie in the way of each packet; were it smaller, more flows would not lie at home.
const MAX_FRONT_SLOTS: u32 = 1 << QUICK_BITS;

/// Memory that is worth it, where there are not very many CPUs.
const BUDGET_BYTES: u64 = 50 << 20;

/// Slots per CPU that are worth having, and those after which more make little difference.
const AFFORDABLE_SLOTS: RangeInclusive<u32> = 1 << 10..=1 << 17;

/// Slots of the two parts of each area of the cache.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CacheParts {
    front: u32,
    back: u32,
}

impl CacheParts {
    /// No cache: each packet becomes a record.
    pub const NONE: Self = Self { front: 0, back: 0 };

    /// A front, where each packet is looked for, and a back for what the front has no place for, or
    /// none. Numbers that are not 0 are rounded up to a power of two, of at least 64 and 128.
    pub fn new(front: u32, back: u32) -> Self {
        let round_up = |slots: u32, least: u32, most: u32| match slots {
            0 => 0,
            slots => slots.clamp(least, most).next_power_of_two(),
        };
        match round_up(front, MIN_FRONT_SLOTS, MAX_FRONT_SLOTS) {
            0 => Self::NONE,
            front => Self {
                front,
                back: round_up(back, MIN_BACK_SLOTS, MAX_CACHE_SLOTS),
            },
        }
    }

    /// What is best with so many slots: few are only a front.
    pub fn of(slots: u32) -> Self {
        if slots <= MAX_FRONT_SLOTS {
            Self::new(slots, 0)
        } else {
            Self::new(MAX_FRONT_SLOTS, slots)
        }
    }

    /// As many as are affordable on so many CPUs, over which flows are spread, too.
    pub fn affordable(cpus: u32) -> Self {
        let (least, most) = AFFORDABLE_SLOTS.into_inner();
        let mut slots = most;
        while slots > least && Self::of(slots).bytes(cpus) > BUDGET_BYTES {
            slots /= 2;
        }
        Self::of(slots)
    }

    /// Memory on so many CPUs: both banks and IP versions.
    fn bytes(self, cpus: u32) -> u64 {
        let area = self.area_bytes::<RecordV4>() + self.area_bytes::<RecordV6>();
        area * u64::from(BANKS) * u64::from(cpus)
    }

    /// Memory of an area, with the moments that records were opened. (Tags are no matter.)
    fn area_bytes<R: Coalesce>(self) -> u64 {
        let with_moment = |bytes| (bytes + size_of::<u64>()) as u64;
        u64::from(self.front()) * with_moment(size_of::<R::Line>())
            + u64::from(self.back::<R>()) * with_moment(size_of::<R>())
    }

    /// Slots of the front, a power of two, or 0 for no cache.
    pub(crate) const fn front(self) -> u32 {
        self.front
    }

    /// Slots of the back for the records of an IP version, a power of two, or 0 for none.
    pub(crate) const fn back<R: Coalesce>(self) -> u32 {
        self.back / R::BACK_PART
    }
}

#[cfg(test)]
mod tests {
    use probe_common::record::{RecordV4, RecordV6};

    use super::{BUDGET_BYTES, CacheParts, MAX_CACHE_SLOTS};

    fn parts(slots: u32) -> [u32; 2] {
        let parts = CacheParts::of(slots);
        [parts.front(), parts.back::<RecordV4>()]
    }

    #[test]
    fn few_slots_are_a_front_and_many_have_one_besides() {
        assert_eq!(parts(0), [0, 0]);
        assert_eq!(parts(1), [64, 0], "CPUs have no line of tags in common");
        assert_eq!(parts(8192), [8192, 0]);
        assert_eq!(parts(16_384), [8192, 16_384]);
        assert_eq!(parts(u32::MAX), [8192, MAX_CACHE_SLOTS]);
    }

    #[test]
    fn ipv6_has_half_a_back() {
        let parts = CacheParts::new(64, 1);
        assert_eq!(parts.back::<RecordV4>(), 128);
        assert_eq!(parts.back::<RecordV6>(), 64, "a line of tags for each CPU");
    }

    #[test]
    fn the_budget_is_enough_for_up_to_160_cpus() {
        for cpus in 1..=160 {
            let bytes = CacheParts::affordable(cpus).bytes(cpus);
            assert!(bytes <= BUDGET_BYTES, "{cpus}: {bytes}");
        }
        let affordable = |cpus| {
            let parts = CacheParts::affordable(cpus);
            [parts.front(), parts.back::<RecordV4>()]
        };
        assert_eq!(affordable(2), [8192, 131_072]);
        assert_eq!(affordable(8), [8192, 16_384]);
        assert_eq!(affordable(32), [4096, 0]);
        assert_eq!(affordable(512), [1024, 0]);
    }
}
