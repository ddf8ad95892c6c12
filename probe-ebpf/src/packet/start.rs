//! The start of a frame: one check of its length, and reads of whole words.
//!
//! The compiler splits reads at unaligned addresses into bytes, and putting those together again
//! takes longer than all the rest. The processors that matter read words at any address, and so do
//! the verifier and its compiler on them; where they do not (the verifier refuses such reads where
//! `CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS` is not set), bytes are read. LLVM's feature
//! `allows-misaligned-mem-access` would do the same for the whole program, and then also on the
//! stack, where the verifier never allows it.

use probe_common::parse::Start;

/// Packet pointer to the first byte.
pub(super) struct LinearStart(usize);

impl LinearStart {
    /// If so many bytes lie between two packet pointers.
    #[inline(always)]
    pub(super) fn new(data: usize, data_end: usize, len: usize) -> Option<Self> {
        (data + len <= data_end).then_some(Self(data))
    }
}

/// Reads a word at a constant offset from a packet pointer.
#[cfg(target_arch = "bpf")]
macro_rules! read {
    ($word:literal as $type:ty, $pointer:expr, $offset:expr) => {{
        let value: u64;
        // SAFETY: `LinearStart::new` has checked that the frame is long enough for what its caller
        // reads, and the kernel keeps it readable while the program runs. The instruction reads and
        // does nothing else. The verifier proves the same on every load of the program.
        unsafe {
            core::arch::asm!(
                concat!("{value} = *(", $word, " *)({pointer} + {offset})"),
                value = lateout(reg) value,
                pointer = in(reg) $pointer,
                offset = const $offset,
                options(pure, readonly, nostack, preserves_flags),
            );
            // SAFETY: a read of less than 64 bits leaves the others 0. (Without this knowledge the
            // compiler clears them again.)
            core::hint::assert_unchecked(value <= <$type>::MAX as u64);
        }
        value as $type
    }};
}

/// The same for builds that check this code on another target.
#[cfg(not(target_arch = "bpf"))]
macro_rules! read {
    ($word:literal as $type:ty, $pointer:expr, $offset:expr) => {{
        let _ = ($word, $pointer, $offset);
        0 as $type
    }};
}

impl Start for LinearStart {
    #[inline(always)]
    fn byte<const OFFSET: usize>(&self) -> u8 {
        read!("u8" as u8, self.0, OFFSET)
    }

    #[inline(always)]
    fn bytes_2<const OFFSET: usize>(&self) -> [u8; 2] {
        read!("u16" as u16, self.0, OFFSET).to_ne_bytes()
    }

    /// In a register of 64 bits, whose upper ones the compiler would clear once more.
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn number_16<const OFFSET: usize>(&self) -> usize {
        let mut value = u64::from(read!("u16" as u16, self.0, OFFSET));
        // SAFETY: the instruction swaps the lower octets and clears the others.
        unsafe {
            core::arch::asm!(
                "{value} = be16 {value}",
                value = inout(reg) value,
                options(pure, nomem, nostack, preserves_flags),
            );
            core::hint::assert_unchecked(value <= u64::from(u16::MAX));
        }
        value as usize
    }

    #[inline(always)]
    fn bytes_4<const OFFSET: usize>(&self) -> [u8; 4] {
        read!("u32" as u32, self.0, OFFSET).to_ne_bytes()
    }

    #[inline(always)]
    fn bytes_16<const OFFSET: usize>(&self) -> [u8; 16] {
        let first = u128::from(read!("u64" as u64, self.0, OFFSET));
        let second = u128::from(read!("u64" as u64, self.0, OFFSET + 8));
        // As they lie in memory: the target is little-endian.
        (first | second << 64).to_le_bytes()
    }
}
