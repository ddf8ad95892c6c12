//! Directories of the tree, and files that become visible only when they are whole.
//!
//! Below the root everything goes through directory descriptors and without following links, so
//! that nothing outside the root is written or deleted, whatever somebody puts into the tree.

mod whole_day;

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use rustix::{
    fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{
    Interval, WriteoutError,
    layout::{FileName, date_dir, iface_dir, parse_temporary_name, temporary_name},
};

pub(crate) use self::whole_day::{Content, Entry, Space};

const DIR_FLAGS: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
/// Who talked to whom is nobody else's business: owner and group only.
const DIR_MODE: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP);
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP);

/// Times of directories are as fine as the kernel's ticks at worst; far more is on the safe side.
const RACY_SECONDS: i64 = 2;

/// How often a day is opened that is exchanged meanwhile. A file system whose directories never are the
/// same again has no exchange.
const MAX_OPENS: u32 = 16;

/// Far more than any note has.
const MAX_NOTE_BYTES: u64 = 64 << 10;

/// State of a directory: the same means that no entry has come or gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stamp {
    inode: u64,
    modified: (i64, u64),
    changed: (i64, u64),
}

/// Size of a file, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct FileSize {
    /// Length of what is in it.
    pub(super) length: u64,
    /// What it takes on disk, whole blocks.
    pub(super) allocated: u64,
}

/// The kernel counts blocks of 512 bytes, whatever the file system has (stat(2)).
const fn allocated(blocks: u64) -> u64 {
    blocks * 512
}

/// An open directory of the tree, with its path for messages.
pub(super) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

impl Directory {
    /// Opens the root, which may itself be a link, and creates it where it is missing.
    pub(super) fn create_root(root: &Path) -> Result<Self, WriteoutError> {
        std::fs::create_dir_all(root)
            .map_err(|source| WriteoutError::file("create the directory", root, source))?;
        Self::open_root(root)
    }

    /// Opens the root directory of a store, or another one whose path may lead over links.
    pub(super) fn open_root(root: &Path) -> Result<Self, WriteoutError> {
        let fd = rustix::fs::open(root, DIR_FLAGS, Mode::empty())
            .map_err(|errno| file_error("open the directory", root, errno))?;
        Ok(Self {
            fd,
            path: root.to_owned(),
        })
    }

    /// Opens the directory that an interval's file belongs into, and creates it where missing.
    ///
    /// As long as the directory is open it stays in its place: compaction exchanges no day that is
    /// written to.
    pub(super) fn create_partition(&self, interval: &Interval) -> Result<Self, WriteoutError> {
        let date = date_dir(interval.start);
        let mut attempts = 0;
        loop {
            let iface = self.create_dir(&iface_dir(&interval.iface))?;
            let day = iface.create_dir(&date)?;
            day.keep_in_place();
            attempts += 1;
            if day.is_still(&iface, &date) || attempts == MAX_OPENS {
                return Ok(day);
            }
        }
    }

    fn create_dir(&self, name: &str) -> Result<Self, WriteoutError> {
        match rustix::fs::mkdirat(&self.fd, name, DIR_MODE) {
            // A file is only as durable as the entries of the directories above it.
            Ok(()) => self.sync()?,
            Err(Errno::EXIST) => {}
            Err(errno) => {
                let path = self.path.join(name);
                return Err(file_error("create the directory", &path, errno));
            }
        }
        self.open_dir(name)
    }

    /// Opens a directory inside this one, but no link to one.
    pub(super) fn open_dir(&self, name: &str) -> Result<Self, WriteoutError> {
        let opened = self.open_entry(name);
        opened.map_err(|errno| file_error("open the directory", &self.path.join(name), errno))
    }

    /// The same; `None` if nothing has that name, or something else than a directory.
    pub(super) fn open_dir_if_there(&self, name: &str) -> Result<Option<Self>, WriteoutError> {
        match self.open_entry(name) {
            Ok(dir) => Ok(Some(dir)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(file_error(
                "open the directory",
                &self.path.join(name),
                errno,
            )),
        }
    }

    fn open_entry(&self, name: &str) -> Result<Self, Errno> {
        let flags = DIR_FLAGS | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty())?;
        Ok(Self {
            fd,
            path: self.path.join(name),
        })
    }

    /// Names of the entries that `is_wanted`, sorted. Only names in UTF-8, which all of ours are.
    pub(super) fn names(
        &self,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, WriteoutError> {
        let mut names = Vec::new();
        self.visit(|name, _| {
            if is_wanted(name) {
                names.push(name.to_owned());
            }
            Ok(())
        })?;
        names.sort_unstable();
        Ok(names)
    }

    /// The same of regular files, in any order.
    pub(super) fn file_names(
        &self,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, WriteoutError> {
        let mut names = Vec::new();
        self.visit(|name, kind| {
            let is_file = match kind {
                FileType::RegularFile => is_wanted(name),
                // Not every file system tells it here.
                FileType::Unknown => is_wanted(name) && self.allocated_bytes(name)?.is_some(),
                _ => false,
            };
            if is_file {
                names.push(name.to_owned());
            }
            Ok(())
        })?;
        Ok(names)
    }

    fn visit(
        &self,
        mut take: impl FnMut(&str, FileType) -> Result<(), WriteoutError>,
    ) -> Result<(), WriteoutError> {
        let error = |errno| file_error("list the directory", &self.path, errno);
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(error)? {
            let entry = entry.map_err(error)?;
            if let Ok(name) = entry.file_name().to_str() {
                take(name, entry.file_type())?;
            }
        }
        Ok(())
    }

    /// Bytes that a regular file takes on disk, whole blocks; `None` if it is none, or gone.
    pub(super) fn allocated_bytes(&self, name: &str) -> Result<Option<u64>, WriteoutError> {
        let stat = match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(file_error("look at", &self.path.join(name), errno)),
        };
        let is_file = FileType::from_raw_mode(stat.st_mode).is_file();
        Ok(is_file.then(|| allocated(u64::try_from(stat.st_blocks).unwrap_or(0))))
    }

    /// What changes whenever an entry comes or goes; `None` if it changed just now, so that another
    /// change might leave it as it is.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let stat = rustix::fs::fstat(&self.fd).ok()?;
        let age = jiff::Timestamp::now().as_second() - stat.st_ctime;
        (age.abs() > RACY_SECONDS).then_some(Stamp {
            inode: stat.st_ino,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        })
    }

    /// Opens a file to read it. A pipe of that name does not make us wait.
    pub(super) fn open_file(&self, name: &str) -> Result<File, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map(File::from)
    }

    /// Makes a file of that name, which must be new.
    fn create(&self, name: &str, access: OFlags) -> Result<File, WriteoutError> {
        let flags = access | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(&self.fd, name, flags, FILE_MODE)
            .map(File::from)
            .map_err(|errno| file_error("create", &self.path.join(name), errno))
    }

    /// Reads a small file of the agent's own; `None` if there is none.
    pub(super) fn read_note(&self, name: &str) -> Result<Option<Vec<u8>>, WriteoutError> {
        let path = self.path.join(name);
        let file = match self.open_file(name) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(file_error("open", &path, errno)),
        };
        let mut bytes = Vec::new();
        // Whatever bears the name: a large file must not fill memory.
        let read = file.take(MAX_NOTE_BYTES).read_to_end(&mut bytes);
        read.map_err(|source| WriteoutError::file("read", &path, source))?;
        Ok(Some(bytes))
    }

    /// Writes such a file, whole or not at all. The directory is not synced: after a power cut the
    /// older one may be there, but none that is empty.
    pub(super) fn replace_note(&self, name: &str, bytes: &[u8]) -> Result<(), WriteoutError> {
        let temporary = format!("{name}.tmp");
        let path = self.path.join(&temporary);
        self.remove_file(&temporary)?;
        let mut file = self.create(&temporary, OFlags::WRONLY)?;
        file.write_all(bytes)
            .map_err(|source| WriteoutError::file("write", &path, source))?;
        file.sync_data()
            .map_err(|source| WriteoutError::file("sync", &path, source))?;
        rustix::fs::renameat(&self.fd, &temporary, &self.fd, name)
            .map_err(|errno| file_error("publish", &path, errno))
    }

    /// Deletes a file; that it is gone already is fine.
    pub(super) fn remove_file(&self, name: &str) -> Result<(), WriteoutError> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(file_error("delete", &self.path.join(name), errno)),
        }
    }

    /// Deletes a directory if it is empty.
    pub(super) fn remove_dir_if_empty(&self, name: &str) -> Result<(), WriteoutError> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            // `NOTDIR`: a link that bears the name of a day.
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(()),
            Err(errno) => Err(file_error("delete", &self.path.join(name), errno)),
        }
    }

    /// Deletes the files in the making whose writer is dead, and returns how many.
    pub(super) fn remove_abandoned_files(&self, extension: &str) -> Result<usize, WriteoutError> {
        let names = self.names(|name| {
            parse_temporary_name(name).is_some_and(|name| name.extension == extension)
        })?;
        for name in &names {
            self.remove_abandoned(name)?;
        }
        Ok(names.len())
    }

    /// A living writer holds a lock on its file.
    fn remove_abandoned(&self, name: &str) -> Result<(), WriteoutError> {
        let Ok(file) = self.open_file(name) else {
            return Ok(());
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Ok(()),
            Ok(()) | Err(_) => self.remove_file(name),
        }
    }

    /// Begins a file that no reader sees before [`PendingFile::publish`].
    pub(super) fn create_file(
        &self,
        name: &FileName<'_>,
    ) -> Result<PendingFile<'_>, WriteoutError> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let unique = u64::from(std::process::id()) << 32 | SERIAL.fetch_add(1, Relaxed);
        let temporary = temporary_name(name, unique);
        let file = self.create(&temporary, OFlags::WRONLY)?;
        // Tells `remove_abandoned` of other processes that the writer lives. Where the file system
        // has no locks they cannot tell, and a write that races with another agent's start fails
        // and is tried again.
        let _no_locks_here = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        Ok(PendingFile {
            directory: self,
            file,
            temporary: Some(temporary),
        })
    }

    /// Makes what has come and gone durable.
    pub(super) fn sync(&self) -> Result<(), WriteoutError> {
        rustix::fs::fsync(&self.fd)
            .map_err(|errno| file_error("sync the directory", &self.path, errno))
    }

    /// Renames without replacing anything.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        match rustix::fs::renameat_with(&self.fd, from, &self.fd, to, RenameFlags::NOREPLACE) {
            // File systems without this flag, such as NFS, have hard links.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::linkat(&self.fd, from, &self.fd, to, AtFlags::empty())?;
                rustix::fs::unlinkat(&self.fd, from, AtFlags::empty())
            }
            result => result,
        }
    }
}

/// A file in the making. Dropping it before it is published deletes it.
pub(super) struct PendingFile<'a> {
    directory: &'a Directory,
    file: File,
    temporary: Option<String>,
}

impl PendingFile<'_> {
    /// The file, to write to.
    pub(super) const fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Path of the file while it is in the making, for messages.
    pub(super) fn path(&self) -> PathBuf {
        self.directory
            .path
            .join(self.temporary.as_deref().unwrap_or_default())
    }

    /// Makes the file durable, and visible under `name` or, where a file of that name exists (the
    /// clock was set back), under the next free serial. Returns its size.
    pub(super) fn publish(mut self, name: &FileName<'_>) -> Result<FileSize, WriteoutError> {
        let sync_error = |source| WriteoutError::file("sync", &self.path(), source);
        self.file.sync_all().map_err(sync_error)?;
        let metadata = self.file.metadata().map_err(sync_error)?;
        let size = FileSize {
            length: metadata.len(),
            allocated: allocated(metadata.blocks()),
        };
        let mut name = name.clone();
        while let Some(temporary) = &self.temporary {
            let published = name.to_string();
            match self.directory.rename(temporary, &published) {
                Ok(()) => {
                    self.temporary = None;
                    // Stored is what survives a power cut. If that cannot be had, take the file
                    // back: the interval will be written again.
                    self.directory.sync().inspect_err(|_| {
                        let _sync_error_counts_more = self.directory.remove_file(&published);
                    })?;
                }
                Err(Errno::EXIST) => name.serial += 1,
                Err(errno) => {
                    let path = self.directory.path.join(published);
                    return Err(file_error("publish", &path, errno));
                }
            }
        }
        Ok(size)
    }
}

impl Drop for PendingFile<'_> {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // What cannot be deleted now is deleted at the next start.
            let _deleted_later = self.directory.remove_file(temporary);
        }
    }
}

fn file_error(operation: &'static str, path: &Path, errno: Errno) -> WriteoutError {
    WriteoutError::file(operation, path, io::Error::from(errno))
}
