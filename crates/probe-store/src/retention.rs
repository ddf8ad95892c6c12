//! Deletes the oldest intervals of a tree, by age and by size.
//!
//! A tree may hold millions of files, so nothing here reads all of them but the count of the
//! size, at most once an hour: days are gone through oldest first, and only as far as needed.
//! Errors are logged and never fail a write.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use tracing::{info, warn};

use super::{
    WriteoutError,
    layout::{FileName, is_iface_dir, parse_date_dir},
    partition::Directory,
};
use crate::options::Retention;

/// Files are deleted at most this often.
const PRUNE_PAUSE: Duration = Duration::from_mins(1);
/// The size that is kept in mind is checked against the disk at most this often.
const COUNT_PAUSE: Duration = Duration::from_hours(1);

/// Keeps a tree inside its [`Retention`].
pub(super) struct Pruner {
    root: PathBuf,
    extension: &'static str,
    retention: Retention,
    pruned_at: Option<Instant>,
    stored: Option<StoredSize>,
}

#[derive(Clone, Copy)]
struct StoredSize {
    bytes: u64,
    counted_at: Instant,
}

/// What has been deleted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Pruned {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

impl Pruned {
    const fn on_deleted(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// A file of the tree, ordered by the end of its interval.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
struct StoredFile {
    end: Timestamp,
    iface: String,
    name: String,
    bytes: u64,
}

impl Pruner {
    pub(super) fn new(root: PathBuf, extension: &'static str, retention: Retention) -> Self {
        Self {
            root,
            extension,
            retention,
            pruned_at: None,
            stored: None,
        }
    }

    /// A file was added.
    pub(super) fn on_written(&mut self, bytes: u64) {
        if let Some(stored) = &mut self.stored {
            stored.bytes += bytes;
        }
    }

    /// Deletes what is too old at `now` or too much, at most once a minute.
    pub(super) fn prune_if_due(&mut self, now: Timestamp) {
        let is_unbounded = self.retention == Retention::default();
        let is_early = self
            .pruned_at
            .is_some_and(|pruned_at| pruned_at.elapsed() < PRUNE_PAUSE);
        if is_unbounded || is_early {
            return;
        }
        self.pruned_at = Some(Instant::now());
        let (Pruned { files, bytes }, result) = self.prune(now);
        if files > 0 {
            info!(root = %self.root.display(), files, bytes, "deleted the oldest intervals");
        }
        if let Err(error) = result {
            warn!(%error, "retention could not delete everything it should");
        }
    }

    /// Deletes what is too old at `now` or too much. Goes on after an error, so that one file that
    /// cannot be deleted does not keep all others, and returns the first.
    pub(super) fn prune(&mut self, now: Timestamp) -> (Pruned, Result<(), WriteoutError>) {
        let mut pruned = Pruned::default();
        let result = self.prune_days(now, &mut pruned);
        if let Some(stored) = &mut self.stored {
            stored.bytes = stored.bytes.saturating_sub(pruned.bytes);
        }
        (pruned, result)
    }

    fn prune_days(&mut self, now: Timestamp, pruned: &mut Pruned) -> Result<(), WriteoutError> {
        let root = Directory::open_root(&self.root)?;
        let oldest_kept = self
            .retention
            .max_age
            .map(|max_age| now.saturating_sub(max_age).unwrap_or(Timestamp::MIN));
        let excess = self.excess(&root)?;
        let mut result = Ok(());
        for (date, ifaces) in days(&root)? {
            let is_old_day =
                oldest_kept.is_some_and(|oldest| date <= oldest.to_zoned(TimeZone::UTC).date());
            if !is_old_day && pruned.bytes >= excess {
                break;
            }
            for file in files(&root, date, &ifaces, self.extension) {
                let is_old = oldest_kept.is_some_and(|oldest| file.end < oldest);
                if !is_old && pruned.bytes >= excess {
                    continue;
                }
                let deleted = day_dir(&root, &file.iface, date)
                    .and_then(|day| day.remove_file(&file.name))
                    .map(|()| pruned.on_deleted(file.bytes));
                result = result.and(deleted);
            }
            result = result.and(remove_empty(&root, date, &ifaces, self.extension));
        }
        result
    }

    /// Bytes above the limit. What is kept in mind errs when somebody else deletes files, so before
    /// anything is deleted the disk has its say.
    fn excess(&mut self, root: &Directory) -> Result<u64, WriteoutError> {
        let Some(max_size_bytes) = self.retention.max_size_bytes else {
            return Ok(0);
        };
        let stored = match self.stored {
            Some(stored)
                if stored.bytes <= max_size_bytes || stored.counted_at.elapsed() < COUNT_PAUSE =>
            {
                stored
            }
            _ => StoredSize {
                bytes: count_bytes(root, self.extension)?,
                counted_at: Instant::now(),
            },
        };
        self.stored = Some(stored);
        Ok(stored.bytes.saturating_sub(max_size_bytes))
    }
}

/// All days, oldest first, with the directories of the interfaces that have them.
fn days(root: &Directory) -> Result<BTreeMap<Date, Vec<String>>, WriteoutError> {
    let mut days = BTreeMap::<_, Vec<_>>::new();
    for iface in root.names(is_iface_dir)? {
        // Not a directory, or a link to one: not ours.
        let Ok(dir) = root.open_dir(&iface) else {
            continue;
        };
        for date in dir.names(|name| parse_date_dir(name).is_some())? {
            if let Some(date) = parse_date_dir(&date) {
                days.entry(date).or_default().push(iface.clone());
            }
        }
    }
    Ok(days)
}

/// All files of a day, by the end of their intervals. What cannot be listed is not ours to delete.
fn files(root: &Directory, date: Date, ifaces: &[String], extension: &str) -> Vec<StoredFile> {
    let mut files = Vec::new();
    for iface in ifaces {
        let Ok(dir) = day_dir(root, iface, date) else {
            continue;
        };
        for name in dir.names(|_| true).unwrap_or_default() {
            let Some(parsed) = FileName::parse(&name).filter(|name| name.extension == extension)
            else {
                continue;
            };
            if let Some(bytes) = dir.file_size(&name) {
                files.push(StoredFile {
                    end: parsed.end,
                    iface: iface.clone(),
                    name,
                    bytes,
                });
            }
        }
    }
    files.sort_unstable();
    files
}

fn count_bytes(root: &Directory, extension: &str) -> Result<u64, WriteoutError> {
    let mut bytes = 0;
    for (date, ifaces) in days(root)? {
        let files = files(root, date, &ifaces, extension);
        bytes += files.iter().map(|file| file.bytes).sum::<u64>();
    }
    Ok(bytes)
}

fn remove_empty(
    root: &Directory,
    date: Date,
    ifaces: &[String],
    extension: &str,
) -> Result<(), WriteoutError> {
    let mut result = Ok(());
    for iface in ifaces {
        let Ok(dir) = root.open_dir(iface) else {
            continue;
        };
        let date = format!("date={date}");
        if let Ok(day) = dir.open_dir(&date) {
            result = result.and(day.remove_abandoned_files(extension).map(drop));
        }
        let removed = dir
            .remove_dir_if_empty(&date)
            .and_then(|()| root.remove_dir_if_empty(iface));
        result = result.and(removed);
    }
    result
}

fn day_dir(root: &Directory, iface: &str, date: Date) -> Result<Directory, WriteoutError> {
    root.open_dir(iface)?.open_dir(&format!("date={date}"))
}

#[cfg(test)]
mod tests;
