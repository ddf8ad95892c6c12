//! Wire types: the plain-data structs that cross the kernel boundary.
//!
//! A wire type is `repr(C)`, has no padding, no `bool`, no enum and no `usize`, and keeps addresses
//! and ports as network-order byte arrays. [`wire_type!`](crate::wire_type) proves it at compile
//! time; a padding byte or a changed size breaks the build of both sides.

/// Proves that a struct is a wire type of the stated size, and with feature `user` makes it usable
/// as an `aya` map value.
#[macro_export]
macro_rules! wire_type {
    ($name:ty, size = $size:expr) => {
        const _: () = {
            const fn is_wire_type<T>()
            where
                T: Copy
                    + zerocopy::FromBytes
                    + zerocopy::IntoBytes
                    + zerocopy::Immutable
                    + zerocopy::KnownLayout,
            {
            }
            is_wire_type::<$name>();
            assert!(
                size_of::<$name>() == $size,
                "the size of a wire type changed: both sides must be rebuilt"
            );
        };

        #[cfg(feature = "user")]
        #[expect(
            unsafe_code,
            reason = "aya::Pod is an unsafe trait; the proof is right above"
        )]
        // SAFETY: `Pod` asks for a type that can be copied from and to bytes. `IntoBytes` (checked
        // above) proves that it has no padding, `FromBytes` that every bit pattern is a valid
        // value, and `Copy` that no ownership is duplicated.
        unsafe impl aya::Pod for $name {}
    };
}
