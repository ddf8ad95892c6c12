//! Compaction: the files of a closed day become one, sorted so that readers skip most of it.
//!
//! The new file is written in a directory beside the store, where no reader of the store looks. It is
//! read back and compared, row by row. Then the day's directory and the new one change places at
//! once (`renameat2`, `RENAME_EXCHANGE`), and the old one is deleted. So who lists the day sees
//! the old files or the new one, never both and never none, and a process that is killed leaves
//! nothing but something to delete.
//!
//! Writers hold a shared lock on the directory of the day that they write to; the exchange takes an
//! exclusive one, or is put off.

pub(crate) mod background;
mod merge;
mod table;

use std::{ffi::OsString, fs::File, io, path::PathBuf};

use ::parquet::{
    errors::{ParquetError, Result as ParquetResult},
    file::reader::SerializedFileReader,
};
use jiff::civil::Date;
use rustix::io::Errno;
use tracing::warn;

use self::merge::{Sources, contents, merge};
use crate::{
    WriteoutError,
    file_sink::FileFormat,
    layout::{FileName, is_iface_dir, parse_date_dir},
    parquet::Parquet,
    partition::{Content, Directory, Entry},
};

/// Name of the new day in the directory beside the store; of the old one after the exchange.
const WORK: &str = "day";
/// Begin of the name of an old day that could not be put back.
const KEPT: &str = "kept-";

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
        "cannot compact {path}: {free} bytes are free, and {needed} would be needed",
        path = path.display()
    )]
    NoRoom {
        /// Directory of the day.
        path: PathBuf,
        /// Free space in bytes.
        free: u64,
        /// Space in bytes that has to be free.
        needed: u64,
    },
}

/// What became of a day.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// One file has taken the place of many.
    Compacted(Compacted),
    /// There are not two files.
    Nothing,
    /// Somebody writes to the day, has changed it meanwhile, or compacts the store. Try again later.
    Busy,
}

/// A day that was compacted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Compacted {
    /// Files before; there is one now.
    pub files: usize,
    /// Rows, which are the same as before.
    pub rows: u64,
    /// Intervals whose ledgers the file has.
    pub intervals: usize,
    /// Bytes of the files before.
    pub old_bytes: u64,
    /// Bytes of the file now.
    pub new_bytes: u64,
}

/// Compacts days of one Parquet store.
pub struct Compactor {
    root: PathBuf,
    keep_free_bytes: u64,
}

impl Compactor {
    /// For the store below `root`. No day is compacted that would leave less than so many bytes free
    /// on the way: compaction must not make retention delete anything.
    pub const fn new(root: PathBuf, keep_free_bytes: u64) -> Self {
        Self {
            root,
            keep_free_bytes,
        }
    }

    /// Days before this one, oldest first, each with the name of its interface's directory.
    ///
    /// # Errors
    ///
    /// [`CompactError::Store`]: a directory cannot be read.
    pub fn days_before(&self, day: Date) -> Result<Vec<(Date, String)>, CompactError> {
        let root = Directory::open_root(&self.root)?;
        let mut days = Vec::new();
        for iface in root.names(is_iface_dir)? {
            let Some(dir) = root.open_dir_if_there(&iface)? else {
                continue;
            };
            let dates = dir.names(|name| parse_date_dir(name).is_some())?;
            let dates = dates.iter().filter_map(|name| parse_date_dir(name));
            days.extend(dates.filter(|it| *it < day).map(|it| (it, iface.clone())));
        }
        days.sort_unstable();
        Ok(days)
    }

    /// Deletes what a killed agent left in the making. Called at the start; compaction does it as well.
    ///
    /// # Errors
    ///
    /// [`CompactError::Store`]: it cannot be deleted. [`CompactError::Foreign`]: something else is there.
    /// [`CompactError::Kept`]: files are there that must not be deleted.
    pub fn clean(&self) -> Result<(), CompactError> {
        let (parent, name) = self.place()?;
        let Some(stage) = parent.open_dir_if_there(&name)? else {
            return Ok(());
        };
        // Somebody compacts.
        if !stage.keep_writers_out()? {
            return Ok(());
        }
        clear(&stage, || stage.sync_disk())?;
        parent.remove_dir_if_empty(&name)?;
        // Of a day that could not be put back. A person has to look after it.
        match stage.names(|name| name.starts_with(KEPT))?.first() {
            None => Ok(()),
            Some(kept) => Err(CompactError::Kept {
                path: stage.path().join(kept),
            }),
        }
    }

    /// Makes one file of the day's files.
    ///
    /// # Errors
    ///
    /// Any [`CompactError`]; the day is as it was then, or compacted already.
    pub fn compact(&self, iface: &str, date: Date) -> Result<Outcome, CompactError> {
        let root = Directory::open_root(&self.root)?;
        let date = format!("date={date}");
        let Some(iface) = root.open_dir_if_there(iface)? else {
            return Ok(Outcome::Nothing);
        };
        let Some(day) = iface.open_dir_if_there(&date)? else {
            return Ok(Outcome::Nothing);
        };
        // The start of an agent cleans the newest days only.
        day.remove_abandoned_files(Parquet::EXTENSION)?;
        let Some(old) = Old::find(&day)? else {
            return Ok(Outcome::Busy);
        };
        if old.files.len() < 2 {
            return Ok(Outcome::Nothing);
        }
        let needed = self.keep_free_bytes.saturating_add(old.bytes());
        let free = day.free_bytes()?;
        if free < needed {
            let path = day.path().to_owned();
            return Err(CompactError::NoRoom { path, free, needed });
        }
        let (parent, stage_name) = self.place()?;
        let stage = parent.make_dir(&stage_name);
        let stage = stage.map_err(|source| self.no_rights(source))?;
        if !stage.keep_writers_out()? || !stage.is_still(&parent, &stage_name) {
            return Ok(Outcome::Busy);
        }
        clear(&stage, || stage.sync_disk())?;
        let result = compact_in(&stage, &iface, &date, &old);
        if matches!(result, Err(CompactError::Kept { .. })) {
            return result;
        }
        // Nothing of the old day goes before it is sure that the new one stays.
        let cleared = clear(&stage, || {
            iface.sync()?;
            stage.sync()
        });
        let removed = parent.remove_dir_if_empty(&stage_name);
        let outcome = result?;
        cleared?;
        removed?;
        Ok(outcome)
    }

    /// Directory beside the store in which a day is made. Not below the root: `**` matches hidden
    /// directories as well.
    fn place(&self) -> Result<(Directory, String), CompactError> {
        let no_place = || CompactError::NoPlace {
            path: self.root.clone(),
        };
        let root = self
            .root
            .canonicalize()
            .map_err(|source| WriteoutError::file("find the directory of", &self.root, source))?;
        let parent = root.parent().ok_or_else(no_place)?;
        let name = root.file_name().ok_or_else(no_place)?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(".compacting");
        let hidden = hidden.into_string().map_err(|_| no_place())?;
        let parent = Directory::open_root(parent).map_err(|source| self.no_rights(source))?;
        if !parent.is_on_disk_of(&Directory::open_root(&root)?) {
            return Err(no_place());
        }
        Ok((parent, hidden))
    }

    /// An operation above the root has failed.
    fn no_rights(&self, source: WriteoutError) -> CompactError {
        let path = self.root.clone();
        if source.is_permission_denied() || source.is_read_only() {
            CompactError::NoRights { path, source }
        } else {
            source.into()
        }
    }
}

/// The files of a day as they were found.
struct Old<'a> {
    day: &'a Directory,
    files: Vec<Entry>,
}

impl CompactError {
    /// Whether no day of the store can be compacted, until a person changes where it lies.
    const fn is_of_store(&self) -> bool {
        matches!(
            self,
            Self::NoPlace { .. } | Self::NoRights { .. } | Self::NoExchange { .. }
        )
    }
}

impl<'a> Old<'a> {
    /// `None` if a file is in the making.
    fn find(day: &'a Directory) -> Result<Option<Self>, CompactError> {
        let content = day.content()?;
        if content.has_unfinished() {
            return Ok(None);
        }
        let Content { files, foreign } = content;
        let odd = files.iter().find(|file| !is_ours(&file.name));
        let odd = foreign.or_else(|| odd.map(|file| file.name.clone()));
        match odd {
            None => Ok(Some(Self { day, files })),
            Some(name) => Err(CompactError::Foreign {
                path: day.path().to_owned(),
                name,
            }),
        }
    }

    fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }

    /// Whether the day has these files and no others.
    fn is_unchanged(&self) -> Result<bool, WriteoutError> {
        let content = self.day.content()?;
        Ok(content.foreign.is_none() && content.files == self.files)
    }

    /// Name of the file that holds them all. It is none of theirs: who has listed the old files must not
    /// take the new one for one of them.
    fn name(&self) -> Option<String> {
        let names = self.files.iter();
        let names: Vec<_> = names.filter_map(|it| FileName::parse(&it.name)).collect();
        let mut name = FileName {
            end: names.iter().map(|name| name.end).max()?,
            start: names.iter().map(|name| name.start).min()?,
            serial: 0,
            extension: Parquet::EXTENSION,
        };
        while names.contains(&name) {
            name.serial += 1;
        }
        Some(name.to_string())
    }

    fn unreadable(&self, file: String, source: ParquetError) -> CompactError {
        match source {
            ParquetError::External(source) => match source.downcast::<io::Error>() {
                Ok(source) => {
                    let path = self.day.path().join(file);
                    WriteoutError::file("compact", &path, *source).into()
                }
                Err(source) => self.unreadable_for(file, ParquetError::External(source)),
            },
            source => self.unreadable_for(file, source),
        }
    }

    fn unreadable_for(&self, file: String, source: ParquetError) -> CompactError {
        CompactError::Unreadable {
            path: self.day.path().to_owned(),
            file,
            source,
        }
    }
}

/// The old files, and which of them was opened last: the one that an error is about.
struct Opened<'a> {
    old: &'a Old<'a>,
    last: std::cell::Cell<usize>,
}

impl Sources for Opened<'_> {
    fn number(&self) -> usize {
        self.old.files.len()
    }

    fn open(&self, index: usize) -> ParquetResult<SerializedFileReader<File>> {
        self.last.set(index);
        let file = self.old.day.open_file(&self.old.files[index].name);
        SerializedFileReader::new(file.map_err(io::Error::from)?)
    }
}

fn is_ours(name: &str) -> bool {
    FileName::parse(name).is_some_and(|name| name.extension == Parquet::EXTENSION)
}

/// Makes the new day in `stage`, and lets it take the place of the old one.
fn compact_in(
    stage: &Directory,
    iface: &Directory,
    date: &str,
    old: &Old<'_>,
) -> Result<Outcome, CompactError> {
    let Some(name) = old.name() else {
        return Ok(Outcome::Nothing);
    };
    let work = stage.make_dir(WORK)?;
    let mut file = work.make_file(&name)?;
    let rights = work.take_rights_of(old.day, &file, &old.files[0].name);
    rights.map_err(|errno| rights_error(old.day, errno))?;
    reach("begun");
    let sources = Opened {
        old,
        last: std::cell::Cell::new(0),
    };
    let merged = merge(&sources, &mut file).map_err(|source| {
        let last = &old.files[sources.last.get()];
        old.unreadable(last.name.clone(), source)
    })?;
    reach("written");
    let new_file = |source| WriteoutError::file("sync", &work.path().join(&name), source);
    file.sync_all().map_err(new_file)?;
    let new_bytes = file.metadata().map_err(new_file)?.len();
    let read_back = work.open_file(&name).map_err(io::Error::from);
    let read_back = contents(read_back.map_err(new_file)?);
    if !read_back.is_ok_and(|it| it == merged) {
        let path = old.day.path().to_owned();
        return Err(CompactError::Differs { path });
    }
    work.sync()?;
    stage.sync()?;
    reach("durable");
    if !exchange(stage, iface, date, old)? {
        return Ok(Outcome::Busy);
    }
    Ok(Outcome::Compacted(Compacted {
        files: old.files.len(),
        rows: merged.digest.rows,
        intervals: merged.ledgers.len(),
        old_bytes: old.bytes(),
        new_bytes,
    }))
}

/// Whether the new day cannot have the rights of the old one, or the disk is not well.
fn rights_error(day: &Directory, errno: Errno) -> CompactError {
    match errno {
        Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::OPNOTSUPP => CompactError::Rights {
            path: day.path().to_owned(),
            source: errno.into(),
        },
        _ => WriteoutError::file("give the rights of", day.path(), errno.into()).into(),
    }
}

/// False if the old day is not what was merged: then it stays.
fn exchange(
    stage: &Directory,
    iface: &Directory,
    date: &str,
    old: &Old<'_>,
) -> Result<bool, CompactError> {
    if !old.day.keep_writers_out()? || !old.day.is_still(iface, date) || !old.is_unchanged()? {
        return Ok(false);
    }
    let exchanged = stage.exchange(WORK, iface, date);
    exchanged.map_err(|errno| no_exchange(old.day, errno))?;
    reach("exchanged");
    // A writer that knows no locks, such as an agent of an older version.
    let is_unchanged = old.is_unchanged();
    if !matches!(is_unchanged, Ok(true)) {
        put_back(stage, iface, date)?;
    }
    Ok(is_unchanged?)
}

/// Whether the file system has no exchange, or only this one has failed.
fn no_exchange(day: &Directory, errno: Errno) -> CompactError {
    match errno {
        Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::XDEV => CompactError::NoExchange {
            path: day.path().to_owned(),
            source: errno.into(),
        },
        _ => WriteoutError::file("exchange", day.path(), errno.into()).into(),
    }
}

/// Exchanges once more. Where that fails, the old day gets a name under which nobody deletes it.
fn put_back(stage: &Directory, iface: &Directory, date: &str) -> Result<(), CompactError> {
    let Err(errno) = stage.exchange(WORK, iface, date) else {
        return Ok(());
    };
    let iface_name = iface.path().file_name().unwrap_or_default();
    let iface_name = iface_name.to_string_lossy();
    let mut serial = 1;
    let name = loop {
        let name = format!("{KEPT}{iface_name}-{date}-{serial}");
        match stage.rename(WORK, &name) {
            Ok(()) => break name,
            Err(Errno::EXIST | Errno::NOTEMPTY) => serial += 1,
            Err(_) => break WORK.to_owned(),
        }
    };
    let path = stage.path().join(name);
    let day = iface.path().join(date);
    warn!(day = %day.display(), kept = %path.display(), error = %errno, "cannot put a day back");
    Err(CompactError::Kept { path })
}

/// Deletes the day that was in the making, or the one whose place was taken, once `make_sure` has
/// made the exchange durable.
fn clear(
    stage: &Directory,
    make_sure: impl FnOnce() -> Result<(), WriteoutError>,
) -> Result<(), CompactError> {
    let Some(work) = stage.open_dir_if_there(WORK)? else {
        return Ok(());
    };
    #[cfg(test)]
    tests::fail_at("syncing")?;
    make_sure()?;
    reach("sure");
    let content = work.content()?;
    let odd = content.files.iter().find(|file| !is_ours(&file.name));
    let odd = odd.map(|file| file.name.clone());
    if let Some(name) = content.foreign.or(odd) {
        let path = work.path().to_owned();
        return Err(CompactError::Foreign { path, name });
    }
    for file in content.files {
        work.remove_file(&file.name)?;
        reach("deleting");
    }
    reach("deleted");
    Ok(stage.remove_dir_if_empty(WORK)?)
}

/// Tests kill the process here, or change the store.
#[cfg(not(test))]
const fn reach(_step: &str) {}

#[cfg(test)]
fn reach(step: &str) {
    tests::at(step);
}

#[cfg(test)]
mod measure;
#[cfg(test)]
mod tests;
