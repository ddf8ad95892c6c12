//! How many rings there are, and how large: one for each CPU, or for each group of CPUs.

/// The smallest ring: a page, on kernels with the largest pages. The maps' prototype in the object
/// is as large.
const LEAST_BYTES: u32 = 64 << 10;

/// The largest ring that is asked for.
const MOST_BYTES: u32 = 1 << 30;

/// The least that a ring of several holds: 87,000 IPv4 records, which a CPU that sees nothing but new
/// flows pushes in 60 ms. About as long no thread may read while a table of a million flows grows. CPUs
/// have one in common instead.
const LEAST_OF_SEVERAL: u32 = 4 << 20;

/// The most rings. To publish one costs a grace period of RCU at the start.
const MOST_RINGS: u32 = 32;

/// Rings between the programs and the agent, all of one size.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RingParts {
    number: u32,
    bytes: u32,
}

impl RingParts {
    /// So many rings of so many bytes each. Both are rounded up to powers of two, the bytes to at
    /// least 64 KiB.
    pub const fn new(number: u32, bytes: u32) -> Self {
        Self {
            number: clamp(number, 1, MOST_RINGS).next_power_of_two(),
            bytes: clamp(bytes, LEAST_BYTES, MOST_BYTES).next_power_of_two(),
        }
    }

    /// One ring for all CPUs.
    pub const fn one(bytes: u32) -> Self {
        Self::new(1, bytes)
    }

    /// So many bytes altogether, divided among so many CPUs as long as each part is worth it.
    pub fn from_size(bytes: u32, cpus: u32) -> Self {
        let all = Self::one(bytes).bytes;
        let affordable = (all / LEAST_OF_SEVERAL).max(1);
        let wanted = clamp(cpus, 1, MOST_RINGS).next_power_of_two();
        let number = wanted.min(affordable);
        Self::new(number, all / number)
    }

    /// The same memory as one ring.
    #[must_use]
    pub(crate) const fn joined(self) -> Self {
        Self::one(self.bytes.saturating_mul(self.number))
    }

    /// How many, a power of two.
    pub(crate) const fn number(self) -> u32 {
        self.number
    }

    /// Bytes of each, a power of two.
    pub(crate) const fn bytes(self) -> u32 {
        self.bytes
    }

    /// Bits of a CPU's number that say which ring it has.
    pub(crate) const fn mask(self) -> u32 {
        self.number - 1
    }
}

/// `Ord::clamp`, which is for the time after compilation only.
const fn clamp(value: u32, least: u32, most: u32) -> u32 {
    if value < least {
        least
    } else if value > most {
        most
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::RingParts;

    const MIB: u32 = 1 << 20;

    fn split(bytes: u32, cpus: u32) -> [u32; 2] {
        let parts = RingParts::from_size(bytes, cpus);
        [parts.number(), parts.bytes()]
    }

    #[test]
    fn each_cpu_has_one_as_long_as_it_is_worth_it() {
        assert_eq!(split(16 * MIB, 1), [1, 16 * MIB]);
        assert_eq!(split(16 * MIB, 2), [2, 8 * MIB]);
        assert_eq!(split(16 * MIB, 3), [4, 4 * MIB], "a power of two");
        assert_eq!(split(16 * MIB, 5), [4, 4 * MIB], "in groups");
        assert_eq!(split(16 * MIB, 512), [4, 4 * MIB]);
        assert_eq!(split(64 * MIB, 16), [16, 4 * MIB]);
        assert_eq!(split(1 << 30, 512), [32, 32 * MIB], "the most");
    }

    #[test]
    fn little_memory_is_one_ring() {
        assert_eq!(split(MIB, 64), [1, MIB]);
        assert_eq!(split(64 << 10, 2), [1, 64 << 10]);
        assert_eq!(split(1, 2), [1, 64 << 10], "at least a page of any kernel");
        assert_eq!(split(8 * MIB, 64), [2, 4 * MIB]);
    }

    #[test]
    fn what_is_asked_for_is_what_is_taken() {
        for exponent in 16..=30 {
            for cpus in 1..=600 {
                let parts = RingParts::from_size(1 << exponent, cpus);
                assert_eq!(parts.number() * parts.bytes(), 1 << exponent, "{parts:?}");
                assert!(parts.number().is_power_of_two() && parts.bytes().is_power_of_two());
                assert_eq!(parts.joined(), RingParts::one(1 << exponent));
            }
        }
        assert_eq!(
            RingParts::from_size(12 * MIB, 2),
            RingParts::new(2, 8 * MIB)
        );
    }

    #[test]
    fn the_mask_gives_every_cpu_one_of_them() {
        let parts = RingParts::from_size(64 * MIB, 64);
        for cpu in 0..64 {
            assert_eq!(cpu & parts.mask(), cpu % parts.number());
        }
        assert_eq!(RingParts::one(MIB).mask(), 0);
    }
}
