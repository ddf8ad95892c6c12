//! What retention asks of the disk, and the tree of files that answers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
};

use jiff::{Timestamp, civil::Date};
use tracing::warn;

use super::trust::Trust;
use crate::{
    WriteoutError,
    layout::{FileName, is_iface_dir, parse_date_dir},
    partition::{Directory, Space, Stamp},
};

/// The interfaces that have a directory of a day.
pub(crate) type Days = BTreeMap<Date, Vec<String>>;

/// What could be read, and the first error on the way.
pub(crate) type Partial<T> = (T, Result<(), WriteoutError>);

/// A file of the tree, ordered by the end of its interval.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct StoredFile {
    /// End of the interval, by the name.
    pub(super) end: Timestamp,
    /// Start of the interval, by the name.
    pub(super) start: Timestamp,
    /// Name of the interface's directory.
    pub(super) iface: String,
    /// Name of the file.
    pub(super) name: String,
}

/// Where intervals are kept: the tree, or a model of it.
pub(crate) trait Disk {
    /// All days, with the directories of the interfaces that have them.
    fn days(&mut self) -> Partial<Days>;

    /// Bytes on disk of each of these days, counted now.
    fn sizes(&mut self, days: &Days) -> Partial<BTreeMap<Date, u64>>;

    /// Files of a day, by the end of their intervals.
    fn files(&self, date: Date, ifaces: &[String]) -> Partial<Vec<StoredFile>>;

    /// Deletes a file and returns the bytes that it took; `None` if it is gone already.
    fn remove(&mut self, date: Date, file: &StoredFile) -> Result<Option<u64>, WriteoutError>;

    /// Deletes the directories of a day that are empty.
    fn remove_empty(&mut self, date: Date, ifaces: &BTreeSet<String>) -> Result<(), WriteoutError>;

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

    /// Directory of a day of an interface; `None` if it is gone, or no directory of ours.
    fn day(root: &Directory, iface: &str, date: Date) -> Result<Option<Directory>, WriteoutError> {
        match root.open_dir_if_there(iface)? {
            Some(iface) => iface.open_dir_if_there(&format!("date={date}")),
            None => Ok(None),
        }
    }

    /// Days of an interface.
    fn dates(root: &Directory, iface: &str) -> Result<Vec<Date>, WriteoutError> {
        let Some(dir) = root.open_dir_if_there(iface)? else {
            return Ok(Vec::new());
        };
        let names = dir.names(|name| parse_date_dir(name).is_some())?;
        Ok(names
            .iter()
            .filter_map(|name| parse_date_dir(name))
            .collect())
    }

    /// Start and end of what is in a file of that name; `None` if it is not ours.
    fn bounds(&self, name: &str) -> Option<[Timestamp; 2]> {
        let parsed = FileName::parse(name)?;
        (parsed.extension == self.extension).then_some([parsed.start, parsed.end])
    }

    /// Bytes of a day of one interface. The directory is listed only if it has changed: published
    /// files do not grow, and every other change of a day changes its directory.
    fn count(
        &self,
        root: &Directory,
        date: Date,
        iface: &str,
    ) -> Result<(Option<Stamp>, u64), WriteoutError> {
        let Some(day) = Self::day(root, iface, date)? else {
            return Ok((None, 0));
        };
        let stamp = day.stamp();
        let known = self.counted.get(&(date, iface.to_owned()));
        if let (Some(stamp), Some((counted, bytes))) = (stamp, known)
            && *counted == stamp
        {
            return Ok((Some(stamp), *bytes));
        }
        let mut sum = 0;
        for name in day.names(|name| self.bounds(name).is_some())? {
            sum += day.allocated_bytes(&name)?.unwrap_or(0);
        }
        Ok((stamp, sum))
    }

    fn list(
        &self,
        root: &Directory,
        date: Date,
        iface: &str,
    ) -> Result<Vec<StoredFile>, WriteoutError> {
        let Some(day) = Self::day(root, iface, date)? else {
            return Ok(Vec::new());
        };
        let names = day.file_names(|name| self.bounds(name).is_some())?;
        let files = names.into_iter().filter_map(|name| {
            let [start, end] = self.bounds(&name)?;
            Some(StoredFile {
                end,
                start,
                iface: iface.to_owned(),
                name,
            })
        });
        Ok(files.collect())
    }
}

/// Does something for each, and keeps the first error without ending for it.
fn for_each<'a, T>(
    ifaces: impl IntoIterator<Item = &'a String>,
    mut read: impl FnMut(&'a str) -> Result<T, WriteoutError>,
    mut take: impl FnMut(&'a str, T),
) -> Result<(), WriteoutError> {
    let mut result = Ok(());
    for iface in ifaces {
        match read(iface) {
            Ok(found) => take(iface, found),
            Err(error) => result = result.and(Err(error)),
        }
    }
    result
}

impl Disk for Tree {
    fn days(&mut self) -> Partial<Days> {
        let mut days = Days::new();
        let root = Directory::open_root(&self.root);
        let listed = root.and_then(|root| Ok((root.names(is_iface_dir)?, root)));
        let result = listed.and_then(|(ifaces, root)| {
            for_each(
                &ifaces,
                |iface| Self::dates(&root, iface),
                |iface, dates| {
                    for date in dates {
                        days.entry(date).or_default().push(iface.to_owned());
                    }
                },
            )
        });
        (days, result)
    }

    fn sizes(&mut self, days: &Days) -> Partial<BTreeMap<Date, u64>> {
        let mut counted = HashMap::new();
        let mut sizes = BTreeMap::new();
        let result = Directory::open_root(&self.root).and_then(|root| {
            let mut result = Ok(());
            for (date, ifaces) in days {
                let day = for_each(
                    ifaces,
                    |iface| self.count(&root, *date, iface),
                    |iface, (stamp, bytes)| {
                        *sizes.entry(*date).or_default() += bytes;
                        if let Some(stamp) = stamp {
                            counted.insert((*date, iface.to_owned()), (stamp, bytes));
                        }
                    },
                );
                result = result.and(day);
            }
            result
        });
        self.counted = counted;
        (sizes, result)
    }

    fn files(&self, date: Date, ifaces: &[String]) -> Partial<Vec<StoredFile>> {
        let mut files = Vec::new();
        let result = Directory::open_root(&self.root).and_then(|root| {
            for_each(
                ifaces,
                |iface| self.list(&root, date, iface),
                |_, found| files.extend(found),
            )
        });
        files.sort_unstable();
        (files, result)
    }

    fn remove(&mut self, date: Date, file: &StoredFile) -> Result<Option<u64>, WriteoutError> {
        let root = Directory::open_root(&self.root)?;
        let Some(day) = Self::day(&root, &file.iface, date)? else {
            return Ok(None);
        };
        let bytes = day.allocated_bytes(&file.name)?;
        if bytes.is_some() {
            day.remove_file(&file.name)?;
        }
        Ok(bytes)
    }

    fn remove_empty(&mut self, date: Date, ifaces: &BTreeSet<String>) -> Result<(), WriteoutError> {
        let root = Directory::open_root(&self.root)?;
        let date = format!("date={date}");
        for_each(
            ifaces,
            |iface| {
                let Some(dir) = root.open_dir_if_there(iface)? else {
                    return Ok(());
                };
                let cleaned = match dir.open_dir_if_there(&date)? {
                    Some(day) => day.remove_abandoned_files(self.extension).map(drop),
                    None => Ok(()),
                };
                let removed = dir
                    .remove_dir_if_empty(&date)
                    .and_then(|()| root.remove_dir_if_empty(iface));
                cleaned.and(removed)
            },
            |_, ()| {},
        )
    }

    fn space(&self) -> Option<Space> {
        Directory::open_root(&self.root).ok()?.space().ok()
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
