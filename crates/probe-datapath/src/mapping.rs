//! Memory that the kernel and the agent have in common.

#![expect(unsafe_code, reason = "memory that is shared with the kernel")]

use std::{
    io,
    ops::Range,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr::NonNull,
    slice,
    sync::atomic::AtomicU64,
};

pub(super) const WORD_BYTES: usize = size_of::<u64>();

/// What the agent may do with mapped memory.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access {
    Read,
    Write,
}

/// Mapped memory of a map, from the page that it begins on.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<libc::c_void>,
    len: usize,
    /// Bytes in front of the first that was asked for.
    skip: usize,
}

// SAFETY: the memory is reached as atomic words, from whatever thread, or as bytes of which the
// caller knows that nobody writes them.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(super) fn new(
        map: BorrowedFd<'_>,
        bytes: Range<usize>,
        access: Access,
    ) -> io::Result<Self> {
        let skip = bytes.start % rustix::param::page_size();
        let first = bytes.start - skip;
        let offset = libc::off_t::try_from(first).map_err(io::Error::other)?;
        let len = bytes.end - first;
        let protection = match access {
            Access::Read => libc::PROT_READ,
            Access::Write => libc::PROT_READ | libc::PROT_WRITE,
        };
        // SAFETY: the kernel chooses where the new mapping goes, so nothing else is there.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len, skip })
    }

    /// All of it, in words. Only those of a mapping for writing may be written.
    pub(super) fn words(&self) -> &[AtomicU64] {
        let words = (self.len - self.skip) / WORD_BYTES;
        // SAFETY: the memory is mapped from `start` for `len` bytes until `self` is dropped, and
        // is readable. A page begins aligned, and the entries in front of the first one have whole
        // words. The kernel writes it too, which is what atomic words are for.
        unsafe { slice::from_raw_parts(self.start.as_ptr().byte_add(self.skip).cast(), words) }
    }

    /// Some of it, as bytes. `None` if it is not inside.
    ///
    /// # Safety
    ///
    /// Nobody writes these bytes while they are borrowed.
    pub(super) unsafe fn bytes(&self, range: Range<usize>) -> Option<&[u8]> {
        if range.start > range.end || range.end > self.len - self.skip {
            return None;
        }
        // SAFETY: inside of the mapping, which is readable until `self` is dropped, and by the
        // caller's promise nobody writes it.
        let bytes = unsafe {
            let first = self.start.as_ptr().byte_add(self.skip + range.start);
            slice::from_raw_parts(first.cast(), range.end - range.start)
        };
        Some(bytes)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: these are address and length of a mapping of ours, to which no reference is
        // left. The answer is an error only if they were not.
        unsafe { libc::munmap(self.start.as_ptr(), self.len) };
    }
}
