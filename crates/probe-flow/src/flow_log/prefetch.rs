//! Telling the processor which memory is needed soon.

/// A line of the caches.
#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;

/// Begins to fetch a value of one or two lines, if there is one. Changes nothing but how long a later access
/// takes.
#[inline]
#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "an instruction that the standard library has as unsafe only"
)]
pub(super) fn prefetch<T>(value: *const T) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    let first = value.cast::<i8>();
    // SAFETY: a hint, valid for any address; it neither faults nor changes memory.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(first) };
    if size_of::<T>() > LINE_BYTES {
        let last = first.wrapping_add(size_of::<T>() - 1);
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(last) };
    }
}

/// Where stable Rust has no such instruction, nothing.
#[inline]
#[cfg(not(target_arch = "x86_64"))]
pub(super) const fn prefetch<T>(_value: *const T) {}
