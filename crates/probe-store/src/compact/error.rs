//! Why days are left as they are.

use std::{io, path::PathBuf};

use ::parquet::errors::ParquetError;
use rustix::io::Errno;

use crate::{WriteoutError, partition::Directory};

/// Why a day was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// An operation on a file or directory failed.
    #[error(transparent)]
    Store(#[from] WriteoutError),
    /// A file of the day is damaged, or has what this version does not know.
    #[error(
        "cannot compact {path}: {file}: {source}; the day stays as it is. Move the file out of the \
         store if it cannot be read", path = path.display()
    )]
    Unreadable {
        /// Directory of the day.
        path: PathBuf,
        /// Name of the file, or what else could not be read.
        file: String,
        /// What the decoder said.
        source: ParquetError,
    },
    /// Something else than files of this sink is in the directory.
    #[error(
        "cannot compact {path}: {name} is none of this sink's files; give it another directory",
        path = path.display()
    )]
    Foreign {
        /// Directory of the day.
        path: PathBuf,
        /// Name of one such entry.
        name: String,
    },
    /// The new file does not hold what the old ones hold. It was deleted.
    #[error(
        "the compacted file of {path} differs from the files of the day, which stay; report it",
        path = path.display()
    )]
    Differs {
        /// Directory of the day.
        path: PathBuf,
    },
    /// A day had changed while another took its place, and could not be put back. Its files are kept.
    #[error(
        "files of a day are in {path}, since they could not be put back while others were written; move \
         those that the store lacks to their day, and delete the directory", path = path.display()
    )]
    Kept {
        /// Directory of these files, with the names of their interface and day.
        path: PathBuf,
    },
    /// The new file could not have the owner, the group and the rights of the old ones.
    #[error(
        "cannot compact {path}: the new file cannot have the owner, group and rights of the old ones: \
         {source}; give the day and its files to the agent's user, in a group of that user and without \
         the setgid bit", path = path.display()
    )]
    Rights {
        /// Directory of the day.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Compaction of the day panicked.
    #[error(
        "compaction of {path} panicked; report it, with the agent's log; the day stays as it is",
        path = path.display()
    )]
    Panic {
        /// Directory of the day.
        path: PathBuf,
    },
    /// There is no place beside the store for the file in the making.
    #[error(
        "cannot compact {path}: the directory above it is on another file system, or there is none; \
         set a `path` below the mount point", path = path.display()
    )]
    NoPlace {
        /// Root of the store.
        path: PathBuf,
    },
    /// The agent may not make a directory beside the store.
    #[error(
        "cannot compact {path}: {source}; the agent's user must be able to write in the directory \
         above it (`ReadWritePaths=`)", path = path.display()
    )]
    NoRights {
        /// Root of the store.
        path: PathBuf,
        /// The operation above the root that failed.
        source: WriteoutError,
    },
    /// The file system does not let two directories change places.
    #[error(
        "cannot compact {path}: its file system cannot exchange directories: {source}",
        path = path.display()
    )]
    NoExchange {
        /// Directory of the day.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file system has too little space left for both the old files and the new one.
    #[error(
        "cannot compact {path}: {needed} bytes would have to be free, with min_free, and fewer are; the day \
         stays as it is and takes about twice the space. Free space on its file system", path = path.display()
    )]
    NoRoom {
        /// Directory of the day.
        path: PathBuf,
        /// Space in bytes that has to be free.
        needed: u64,
    },
}

impl CompactError {
    /// Whether the disk or a directory is not well, so that other days would fare no better. Without a
    /// place for the files in the making, nothing is either.
    pub(crate) const fn is_of_disk(&self) -> bool {
        matches!(
            self,
            Self::Store(_) | Self::NoPlace { .. } | Self::NoRights { .. } | Self::NoExchange { .. }
        )
    }
}

/// Whether the new day cannot have the rights of the old one, or the disk is not well.
pub(super) fn rights_error(day: &Directory, errno: Errno) -> CompactError {
    match errno {
        Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::OPNOTSUPP => CompactError::Rights {
            path: day.path().to_owned(),
            source: errno.into(),
        },
        _ => WriteoutError::file("give the rights of", day.path(), errno.into()).into(),
    }
}

/// Whether the file system has no exchange, or only this one has failed.
pub(super) fn no_exchange(day: &Directory, errno: Errno) -> CompactError {
    match errno {
        Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::XDEV => CompactError::NoExchange {
            path: day.path().to_owned(),
            source: errno.into(),
        },
        _ => WriteoutError::file("exchange", day.path(), errno.into()).into(),
    }
}
