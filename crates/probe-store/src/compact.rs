//! Compaction: the files of a closed day become one, sorted so that readers skip most of it.
//!
//! The new file is written in a directory beside the store, where no reader of the store looks. It is
//! read back and compared: the ledgers, and a checksum over all rows in whatever order. Then the day's directory and the new one change places at
//! once (`renameat2`, `RENAME_EXCHANGE`), and the old one is deleted. So who lists the day sees
//! the old files or the new one, never both and never none, and a process that is killed leaves
//! nothing but something to delete.
//!
//! Writers hold a shared lock on the directory of the day that they write to; the exchange takes an
//! exclusive one, or is put off.

pub(crate) mod background;
mod error;
mod merge;
mod old;
mod plan;
mod stage;
mod summary;
mod table;
mod texts;
mod worker;
mod write;

use std::{ffi::OsString, path::PathBuf};

use jiff::civil::Date;

pub use self::error::CompactError;
use self::{
    old::Old,
    stage::{KEPT, clear, compact_in},
};
use crate::{
    WriteoutError,
    file_sink::FileFormat,
    layout::{is_iface_dir, parse_date_dir},
    parquet::Parquet,
    partition::Directory,
};

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
        if day.space()?.free < needed {
            let path = day.path().to_owned();
            return Err(CompactError::NoRoom { path, needed });
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

/// Tests kill the process here, or change the store.
#[cfg(not(test))]
const fn reach(_step: &str) {}

#[cfg(test)]
fn reach(step: &str) {
    tests::at(step);
}

#[cfg(test)]
mod tests;
