//! Array maps that the kernel and the agent have in common (`BPF_F_MMAPABLE`, since 5.5): the agent
//! reads and clears entries without a system call.

use std::{
    io,
    marker::PhantomData,
    ops::Range,
    os::fd::{AsFd as _, OwnedFd},
    sync::atomic::{AtomicU64, Ordering},
};

use aya::maps::{Map, MapError};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{
    DatapathError,
    load::Object,
    mapping::{Access, Mapping, WORD_BYTES},
};

/// An array map whose entries can be mapped into the agent's memory.
///
/// What is mapped counts as memory of the process, all of it at once, so large arrays are mapped
/// piece by piece.
#[derive(Debug)]
pub struct SharedArray<T> {
    name: &'static str,
    fd: OwnedFd,
    entries: usize,
    entry: PhantomData<T>,
}

impl<T> SharedArray<T> {
    /// Opens a map of the object. Its values must be `T`s.
    ///
    /// # Errors
    ///
    /// [`DatapathError::NoMap`]: the object has no array of this name whose entries have the size
    /// of `T`. [`DatapathError::Map`]: the kernel does not describe the map, or too many files are
    /// open.
    pub fn new(object: &Object, name: &'static str) -> Result<Self, DatapathError> {
        // The kernel keeps the entries at this distance: 8 bytes or a multiple.
        const { assert!(size_of::<T>().is_multiple_of(WORD_BYTES)) };
        let Map::Array(map) = object.map(name)? else {
            return Err(DatapathError::NoMap { map: name });
        };
        let info = map.info().map_err(DatapathError::read(name))?;
        if info.value_size() as usize != size_of::<T>() {
            return Err(DatapathError::NoMap { map: name });
        }
        Ok(Self {
            name,
            entries: info.max_entries() as usize,
            fd: map
                .fd()
                .as_fd()
                .try_clone_to_owned()
                .map_err(|error| DatapathError::read(name)(MapError::IoError(error)))?,
            entry: PhantomData,
        })
    }

    /// Number of entries in the array.
    pub const fn len(&self) -> usize {
        self.entries
    }

    /// Whether there are no entries; the kernel makes no such arrays.
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Maps some of the entries.
    ///
    /// # Errors
    ///
    /// [`DatapathError::Map`]: the range is empty or reaches behind the last entry, or the kernel
    /// does not map it into memory.
    pub fn map(&self, entries: Range<usize>) -> Result<Entries<T>, DatapathError> {
        let bytes = entries.start * size_of::<T>()..entries.end * size_of::<T>();
        let is_inside = entries.start < entries.end && entries.end <= self.entries;
        let mapped = if is_inside {
            Mapping::new(self.fd.as_fd(), bytes, Access::Write)
        } else {
            Err(io::ErrorKind::InvalidInput.into())
        };
        let mapping = mapped.map_err(|error| {
            let source = MapError::IoError(error);
            DatapathError::map_memory(self.name)(source)
        })?;
        Ok(Entries {
            mapping,
            entry: PhantomData,
        })
    }
}

/// Mapped entries of a [`SharedArray`].
#[derive(Debug)]
pub struct Entries<T> {
    mapping: Mapping,
    entry: PhantomData<T>,
}

impl<T: FromBytes + IntoBytes + Immutable> Entries<T> {
    /// The words of an entry. The programs may write them at any time.
    #[inline]
    pub fn words(&self, index: usize) -> Option<&[AtomicU64]> {
        let words = size_of::<T>() / WORD_BYTES;
        self.mapping.words().get(index * words..(index + 1) * words)
    }

    /// Copies an entry word by word: each is whole, but together they may be of different moments
    /// unless no program uses the entry. `None` behind the last one.
    #[inline]
    pub fn load(&self, index: usize) -> Option<T> {
        let mut value = T::new_zeroed();
        let bytes = value.as_mut_bytes().chunks_exact_mut(WORD_BYTES);
        for (bytes, word) in bytes.zip(self.words(index)?) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        Some(value)
    }

    /// Writes an entry word by word.
    pub fn store(&self, index: usize, value: &T) {
        let bytes = value.as_bytes().as_chunks().0;
        for (word, bytes) in self.words(index).unwrap_or_default().iter().zip(bytes) {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
    }

    /// Sets all words of an entry to 0.
    #[inline]
    pub fn clear(&self, index: usize) {
        for word in self.words(index).unwrap_or_default() {
            word.store(0, Ordering::Relaxed);
        }
    }
}
