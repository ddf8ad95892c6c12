//! The same random numbers in every run.

/// Pseudo-random numbers by xorshift64*, the same on each run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// Other numbers for each seed.
    pub(crate) const fn from(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// The next 32 random bits.
    pub(crate) const fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    /// A number below this one.
    pub(crate) const fn below(&mut self, limit: u32) -> u32 {
        ((self.bits() * limit as u64) >> 32) as u32
    }

    /// Few numbers often, many seldom: each half of the bits is as likely as the next.
    pub(crate) fn skewed(&mut self, limit: u32) -> u32 {
        let width = self.below(limit.ilog2() + 1) + 1;
        self.below(1 << width) % limit
    }
}
