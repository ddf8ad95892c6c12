//! What retention asks of the disk, and the tree of files that answers.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use jiff::{Timestamp, civil::Date};
use tracing::warn;

use super::trust::Trust;
use crate::{
    WriteoutError,
    layout::{FileName, is_iface_dir, parse_date_dir},
    partition::{Directory, Stamp},
};

/// The interfaces that have a directory of a day.
pub(crate) type Days = BTreeMap<Date, Vec<String>>;

/// Space of a file system, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Space {
    /// Bytes that the agent may still use.
    pub(super) free: u64,
    /// Size of the file system.
    pub(super) total: u64,
}

/// A file of the tree, ordered by the end of its interval.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct StoredFile {
    /// End of the interval, by the name.
    pub(super) end: Timestamp,
    /// Name of the interface's directory.
    pub(super) iface: String,
    /// Name of the file.
    pub(super) name: String,
    /// Bytes that it takes on disk.
    pub(super) bytes: u64,
}

/// Where intervals are kept: the tree, or a model of it.
pub(crate) trait Disk {
    /// All days, with the directories of the interfaces that have them.
    fn days(&mut self) -> Result<Days, WriteoutError>;

    /// Bytes on disk of each of these days, counted now.
    fn sizes(&mut self, days: &Days) -> BTreeMap<Date, u64>;

    /// Files of a day, by the end of their intervals. What cannot be listed is not ours to delete.
    fn files(&self, date: Date, ifaces: &[String]) -> Vec<StoredFile>;

    /// Deletes a file; that it is gone already is fine.
    fn remove(&mut self, date: Date, file: &StoredFile) -> Result<(), WriteoutError>;

    /// Deletes the directories of a day that are empty.
    fn remove_empty(&mut self, date: Date, ifaces: &[String]) -> Result<(), WriteoutError>;

    /// Space of the file system; `None` if it does not tell.
    fn space(&self) -> Option<Space>;

    /// The trusted time as it was saved.
    fn load_trust(&self) -> Option<Trust>;

    /// Saves the trusted time.
    fn save_trust(&mut self, trust: &Trust) -> Result<(), WriteoutError>;
}

/// Files of one format below a root directory.
pub(crate) struct Tree {
    root: PathBuf,
    extension: &'static str,
    /// Name of the file in the root with the [trusted time](Trust). Hidden from readers of flows.
    trust_file: String,
    /// Sizes of days that have not changed since they were counted.
    counted: HashMap<(Date, String), (Stamp, u64)>,
}

impl Tree {
    pub(crate) fn new(root: PathBuf, extension: &'static str) -> Self {
        Self {
            root,
            extension,
            trust_file: format!(".retention-{extension}.json"),
            counted: HashMap::new(),
        }
    }

    fn day(&self, iface: &str, date: Date) -> Result<Directory, WriteoutError> {
        let root = Directory::open_root(&self.root)?;
        root.open_dir(iface)?.open_dir(&format!("date={date}"))
    }

    fn list(&self, day: &Directory, iface: &str) -> Vec<StoredFile> {
        let names = day.names(|_| true).unwrap_or_default().into_iter();
        names
            .filter_map(|name| {
                let parsed = FileName::parse(&name)?;
                let end = (parsed.extension == self.extension).then_some(parsed.end)?;
                let bytes = day.allocated_bytes(&name)?;
                Some(StoredFile {
                    end,
                    iface: iface.to_owned(),
                    name,
                    bytes,
                })
            })
            .collect()
    }

    /// Bytes of a day of one interface. The directory is listed only if it has changed: published
    /// files do not grow, and every other change of a day changes its directory.
    fn count(&self, date: Date, iface: &str) -> Option<(Option<Stamp>, u64)> {
        let day = self.day(iface, date).ok()?;
        let stamp = day.stamp();
        let known = self.counted.get(&(date, iface.to_owned()));
        if let (Some(stamp), Some((counted, bytes))) = (stamp, known)
            && *counted == stamp
        {
            return Some((Some(stamp), *bytes));
        }
        let bytes = self.list(&day, iface).iter().map(|file| file.bytes).sum();
        Some((stamp, bytes))
    }
}

impl Disk for Tree {
    fn days(&mut self) -> Result<Days, WriteoutError> {
        let root = Directory::open_root(&self.root)?;
        let mut days = Days::new();
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

    fn sizes(&mut self, days: &Days) -> BTreeMap<Date, u64> {
        let mut counted = HashMap::new();
        let mut sizes = BTreeMap::new();
        for (date, ifaces) in days {
            for iface in ifaces {
                let Some((stamp, bytes)) = self.count(*date, iface) else {
                    continue;
                };
                *sizes.entry(*date).or_default() += bytes;
                if let Some(stamp) = stamp {
                    counted.insert((*date, iface.clone()), (stamp, bytes));
                }
            }
        }
        self.counted = counted;
        sizes
    }

    fn files(&self, date: Date, ifaces: &[String]) -> Vec<StoredFile> {
        let mut files = Vec::new();
        for iface in ifaces {
            if let Ok(day) = self.day(iface, date) {
                files.extend(self.list(&day, iface));
            }
        }
        files.sort_unstable();
        files
    }

    fn remove(&mut self, date: Date, file: &StoredFile) -> Result<(), WriteoutError> {
        self.day(&file.iface, date)?.remove_file(&file.name)
    }

    fn remove_empty(&mut self, date: Date, ifaces: &[String]) -> Result<(), WriteoutError> {
        let root = Directory::open_root(&self.root)?;
        let mut result = Ok(());
        for iface in ifaces {
            let Ok(dir) = root.open_dir(iface) else {
                continue;
            };
            let date = format!("date={date}");
            if let Ok(day) = dir.open_dir(&date) {
                result = result.and(day.remove_abandoned_files(self.extension).map(drop));
            }
            let removed = dir
                .remove_dir_if_empty(&date)
                .and_then(|()| root.remove_dir_if_empty(iface));
            result = result.and(removed);
        }
        result
    }

    fn space(&self) -> Option<Space> {
        let stat = rustix::fs::statvfs(&self.root).ok()?;
        Some(Space {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }

    fn load_trust(&self) -> Option<Trust> {
        let root = Directory::open_root(&self.root).ok()?;
        let path = self.root.join(&self.trust_file);
        let text = root.read_note(&self.trust_file).inspect_err(|error| {
            warn!(%error, "cannot read the time that retention trusts");
        });
        let trust = serde_json::from_slice(&text.ok()??);
        trust
            .inspect_err(|error| {
                warn!(path = %path.display(), %error, "not the time that retention trusts");
            })
            .ok()
    }

    fn save_trust(&mut self, trust: &Trust) -> Result<(), WriteoutError> {
        let text = serde_json::to_vec(trust).map_err(|source| {
            WriteoutError::file("write", &self.root.join(&self.trust_file), source.into())
        })?;
        Directory::open_root(&self.root)?.replace_note(&self.trust_file, &text)
    }
}
