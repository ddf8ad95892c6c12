//! Telling the processor which memory is needed soon.

/// Begins to fetch the first line of a value. Changes nothing but how long a later access takes.
#[inline]
#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "an instruction that the standard library has as unsafe only"
)]
pub(super) fn prefetch<T>(value: &T) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a hint, valid for any address; it neither faults nor changes memory.
    unsafe { _mm_prefetch::<_MM_HINT_T0>((&raw const *value).cast()) };
}

/// Where stable Rust has no such instruction, nothing.
#[inline]
#[cfg(not(target_arch = "x86_64"))]
pub(super) const fn prefetch<T>(_value: &T) {}
