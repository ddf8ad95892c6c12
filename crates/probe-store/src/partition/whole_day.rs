//! Directories as a whole: what is in them, who may change them, and the exchange of one for another.

use std::{ffi::CStr, fs::File, os::fd::AsFd, path::Path};

use rustix::{
    buffer::spare_capacity,
    fs::{
        AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, RenameFlags, Stat, Uid, XattrFlags,
    },
    io::Errno,
};

use super::{DIR_MODE, Directory, file_error};
use crate::{WriteoutError, layout::parse_temporary_name};

/// Access lists beside the mode (acl(5)); only directories have the second.
const ACCESS_LISTS: [&CStr; 2] = [c"system.posix_acl_access", c"system.posix_acl_default"];
/// The largest value of an attribute (`XATTR_SIZE_MAX`).
const MAX_ACCESS_LIST_BYTES: usize = 64 << 10;

/// An entry of a directory: the same means that nobody has changed it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Entry {
    /// Name of the entry in the directory.
    pub(crate) name: String,
    /// Length of its content in bytes (`st_size`), not the space that it takes.
    pub(crate) length: u64,
    inode: u64,
    modified: (i64, u64),
}

/// Space of a file system, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Space {
    /// Bytes that the agent may still use.
    pub(crate) free: u64,
    /// Size of the file system.
    pub(crate) total: u64,
}

/// What is in a directory.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// Regular files with names in UTF-8, sorted by name.
    pub(crate) files: Vec<Entry>,
    /// Anything else, by its name as far as it can be shown.
    pub(crate) foreign: Option<String>,
}

impl Content {
    /// Whether a file is in the making.
    pub(crate) fn has_unfinished(&self) -> bool {
        let mut files = self.files.iter();
        files.any(|file| parse_temporary_name(&file.name).is_some())
    }
}

impl Directory {
    /// Its path, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Everything that is in it.
    pub(crate) fn content(&self) -> Result<Content, WriteoutError> {
        let error = |errno| file_error("list the directory", &self.path, errno);
        let mut content = Content::default();
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(error)? {
            let entry = entry.map_err(error)?;
            let name = entry.file_name();
            if [c".", c".."].contains(&name) {
                continue;
            }
            let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW);
            let stat = match stat {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(error(errno)),
            };
            match name.to_str() {
                Ok(name) if FileType::from_raw_mode(stat.st_mode).is_file() => {
                    content.files.push(Entry {
                        name: name.to_owned(),
                        length: u64::try_from(stat.st_size).unwrap_or(0),
                        inode: stat.st_ino,
                        modified: (stat.st_mtime, stat.st_mtime_nsec),
                    });
                }
                _ => content.foreign = Some(name.to_string_lossy().into_owned()),
            }
        }
        content.files.sort_unstable();
        Ok(content)
    }

    /// Waits until nobody exchanges the directory, and keeps it from being exchanged as long as this
    /// value lives. File systems without locks have no exchange either.
    pub(crate) fn keep_in_place(&self) {
        let _no_locks_here = rustix::fs::flock(&self.fd, FlockOperation::LockShared);
    }

    /// Keeps writers out as long as this value lives; false if there is one.
    pub(crate) fn keep_writers_out(&self) -> Result<bool, WriteoutError> {
        match rustix::fs::flock(&self.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(file_error("lock the directory", &self.path, errno)),
        }
    }

    /// Whether this is the directory that now has the name.
    pub(crate) fn is_still(&self, parent: &Self, name: &str) -> bool {
        let identity = |stat: Stat| (stat.st_dev, stat.st_ino);
        let here = rustix::fs::fstat(&self.fd).map(identity);
        let there = rustix::fs::statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW).map(identity);
        matches!((here, there), (Ok(here), Ok(there)) if here == there)
    }

    /// Makes a directory that only the agent's user can read, or opens the one there is.
    pub(crate) fn make_dir(&self, name: &str) -> Result<Self, WriteoutError> {
        match rustix::fs::mkdirat(&self.fd, name, DIR_MODE) {
            Ok(()) | Err(Errno::EXIST) => self.open_dir(name),
            Err(errno) => {
                let path = self.path.join(name);
                Err(file_error("create the directory", &path, errno))
            }
        }
    }

    /// Makes a file of that name, which must be new.
    pub(crate) fn make_file(&self, name: &str) -> Result<File, WriteoutError> {
        self.create(name, OFlags::RDWR)
    }

    /// Gives a directory and a file in it the owner, group, mode and access lists of another directory
    /// and of a file in that. Without, readers might see nothing, or others see flows.
    ///
    /// # Errors
    ///
    /// It takes a privilege that the agent lacks: another try ends the same.
    pub(crate) fn take_rights_of(
        &self,
        other: &Self,
        file: &File,
        other_file: &str,
    ) -> Result<(), Errno> {
        take_rights(&self.fd, &other.fd)?;
        take_rights(file, other.open_file(other_file)?)
    }

    /// Space of the file system that it is on.
    pub(crate) fn space(&self) -> Result<Space, WriteoutError> {
        let stat = rustix::fs::fstatvfs(&self.fd)
            .map_err(|errno| file_error("look at the space of", &self.path, errno))?;
        Ok(Space {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }

    /// Each of two entries takes the other's place, at once: nobody sees one of them twice, or none.
    pub(crate) fn exchange(&self, name: &str, other: &Self, other_name: &str) -> Result<(), Errno> {
        rustix::fs::renameat_with(&self.fd, name, &other.fd, other_name, RenameFlags::EXCHANGE)
    }

    /// Whether both are of one file system.
    pub(crate) fn is_on_disk_of(&self, other: &Self) -> bool {
        let disk = |directory: &Self| rustix::fs::fstat(&directory.fd).map(|stat| stat.st_dev);
        matches!((disk(self), disk(other)), (Ok(here), Ok(there)) if here == there)
    }

    /// Makes everything durable that was done on its file system.
    pub(crate) fn sync_disk(&self) -> Result<(), WriteoutError> {
        rustix::fs::syncfs(&self.fd)
            .map_err(|errno| file_error("sync the file system of", &self.path, errno))
    }
}

fn take_rights(file: impl AsFd, from: impl AsFd) -> Result<(), Errno> {
    let [stat, wanted] = [rustix::fs::fstat(&file)?, rustix::fs::fstat(&from)?];
    // The group alone takes no privilege where the agent's user is in it.
    if stat.st_gid != wanted.st_gid {
        rustix::fs::fchown(&file, None, Some(Gid::from_raw(wanted.st_gid)))?;
    }
    if stat.st_uid != wanted.st_uid {
        rustix::fs::fchown(&file, Some(Uid::from_raw(wanted.st_uid)), None)?;
    }
    for name in ACCESS_LISTS {
        let list = access_list(&from, name)?;
        if access_list(&file, name)? == list {
            continue;
        }
        match list {
            Some(list) => rustix::fs::fsetxattr(&file, name, &list, XattrFlags::empty())?,
            None => rustix::fs::fremovexattr(&file, name)?,
        }
    }
    let mode = || rustix::fs::fstat(&file).map(|stat| stat.st_mode);
    if mode()? != wanted.st_mode {
        rustix::fs::fchmod(&file, Mode::from_raw_mode(wanted.st_mode))?;
    }
    // The kernel drops the bit of a group that the agent's user is not in (chmod(2)), and says nothing.
    if mode()? == wanted.st_mode {
        Ok(())
    } else {
        Err(Errno::PERM)
    }
}

/// An access list of a file or directory, as the kernel keeps it; `None` if it has none.
fn access_list(file: impl AsFd, name: &CStr) -> Result<Option<Vec<u8>>, Errno> {
    let mut list = Vec::with_capacity(MAX_ACCESS_LIST_BYTES);
    match rustix::fs::fgetxattr(file, name, spare_capacity(&mut list)) {
        Ok(_) => Ok(Some(list)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}
