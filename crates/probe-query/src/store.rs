//! Which files of a store a question is about, told by their paths alone: nothing is opened.
//!
//! docs/STORAGE.md has the layout: `iface=<name>/date=<day>/<start>-<end>.parquet`, all in UTC, the
//! name of an interface percent-encoded.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};

use crate::{error::QueryError, time::Range};

/// Octets of a time in a file name: `20260301T000000.000Z`.
const TIME_LEN: usize = 20;
/// No interval is that long. A file lies in the day in which its first interval starts.
pub(crate) const LONGEST_DAYS: i64 = 2;

/// A file of a store, with what its path says.
#[derive(Clone, Debug)]
pub struct StoredFile {
    /// Number of the store, in the order in which they were given.
    pub store: usize,
    /// Name of the interface, decoded.
    pub iface: Arc<str>,
    /// Where the file is.
    pub path: PathBuf,
    /// Day of its directory.
    pub date: Date,
    /// Start of its first interval, to the millisecond.
    pub start: Timestamp,
    /// End of its last interval, to the millisecond.
    pub end: Timestamp,
}

/// What is found in one store.
#[derive(Debug, Default)]
pub struct Found {
    /// Files that may hold what is asked, by interface and time.
    pub files: Vec<StoredFile>,
    /// Names of all interfaces of the store, in order.
    pub ifaces: Vec<Arc<str>>,
    /// Start of the first interval and end of the last that the store has, of any interface asked for.
    pub extent: Option<Range>,
    /// Entries with the extension of the store whose names it would not have given.
    pub foreign: Vec<PathBuf>,
}

/// Lists a store: the files of the interfaces that are wanted whose intervals may lie in `range`.
///
/// # Errors
///
/// The directory is no store, or something in it cannot be read.
pub fn discover(
    number: usize,
    root: &Path,
    range: Option<Range>,
    is_wanted: &dyn Fn(&str) -> bool,
) -> Result<Found, QueryError> {
    let mut found = Found::default();
    let mut is_store = false;
    for (dir, name) in subdirectories(root)? {
        let Some(iface) = name.strip_prefix("iface=").and_then(decoded) else {
            continue;
        };
        is_store = true;
        let iface: Arc<str> = iface.into();
        found.ifaces.push(Arc::clone(&iface));
        if is_wanted(&iface) {
            of_iface(&mut found, number, &dir, &iface, range)?;
        }
    }
    if !is_store {
        return Err(no_store(root));
    }
    found.ifaces.sort_unstable();
    found
        .files
        .sort_by(|a, b| (&a.iface, a.start, &a.path).cmp(&(&b.iface, b.start, &b.path)));
    Ok(found)
}

fn of_iface(
    found: &mut Found,
    store: usize,
    dir: &Path,
    iface: &Arc<str>,
    range: Option<Range>,
) -> Result<(), QueryError> {
    let mut days: Vec<_> = subdirectories(dir)?
        .into_iter()
        .filter_map(|(path, name)| Some((name.strip_prefix("date=")?.parse::<Date>().ok()?, path)))
        .collect();
    days.sort_unstable();
    let last = days.len().saturating_sub(1);
    for (place, (date, path)) in days.into_iter().enumerate() {
        let is_asked = range.is_none_or(|range| may_hold(date, range));
        // The first and the last day tell since when and until when there is anything.
        if !is_asked && place != 0 && place != last {
            continue;
        }
        for entry in as_of_one_moment(|| identity(&path), || entries(&path))? {
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                continue;
            };
            if name.starts_with('.') || !name.ends_with(".parquet") {
                continue;
            }
            let Some((start, end)) = bounds(&name) else {
                found.foreign.push(entry.path());
                continue;
            };
            let extent = found.extent.get_or_insert(Range {
                since: start,
                until: end,
            });
            extent.since = extent.since.min(start);
            extent.until = extent.until.max(end);
            if is_asked && range.is_none_or(|range| touches(start, end, range)) {
                found.files.push(StoredFile {
                    store,
                    iface: Arc::clone(iface),
                    path: entry.path(),
                    date,
                    start,
                    end,
                });
            }
        }
    }
    Ok(())
}

/// Whether a file of the day may have an interval in the range.
fn may_hold(date: Date, range: Range) -> bool {
    let Ok(midnight) = date.to_zoned(TimeZone::UTC) else {
        return false;
    };
    let start = midnight.timestamp();
    let end = start.saturating_add(SignedDuration::from_hours(24 * LONGEST_DAYS));
    start < range.until && end.is_ok_and(|end| end >= range.since)
}

/// The names tell times to the millisecond, rounded down.
fn touches(start: Timestamp, end: Timestamp, range: Range) -> bool {
    let end = end.saturating_add(SignedDuration::from_millis(1));
    start <= range.until && end.is_ok_and(|end| end >= range.since)
}

/// Start and end of a file by its name: `<start>-<end>.parquet`, or `<start>-<end>-<n>.parquet`.
fn bounds(name: &str) -> Option<(Timestamp, Timestamp)> {
    let (start, rest) = name.split_at_checked(TIME_LEN)?;
    let (end, rest) = rest.strip_prefix('-')?.split_at_checked(TIME_LEN)?;
    let serial = rest.strip_suffix(".parquet")?;
    let is_ours = serial.is_empty()
        || serial
            .strip_prefix('-')
            .is_some_and(|serial| serial.parse::<u32>().is_ok());
    is_ours.then_some(())?;
    let (start, end) = (time(start)?, time(end)?);
    (start <= end).then_some((start, end))
}

fn time(text: &str) -> Option<Timestamp> {
    let time = DateTime::strptime("%Y%m%dT%H%M%S.%fZ", text).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// A name of an interface as it was before it was percent-encoded.
fn decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            octets.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            octets.push(*first);
        }
    }
    let name = String::from_utf8(octets).ok()?;
    (!name.is_empty()).then_some(name)
}

fn subdirectories(dir: &Path) -> Result<Vec<(PathBuf, String)>, QueryError> {
    let all = entries(dir)?.into_iter();
    Ok(all
        .filter_map(|entry| {
            let name = entry.file_name().to_str()?.to_owned();
            // Not through links: what they lead to is another store.
            entry
                .file_type()
                .ok()?
                .is_dir()
                .then(|| (entry.path(), name))
        })
        .collect())
}

/// A directory that went away while it was listed has nothing: retention deletes empty ones.
fn entries(dir: &Path) -> Result<Vec<fs::DirEntry>, QueryError> {
    let failed = |source| QueryError::reading(dir.to_owned(), source);
    match fs::read_dir(dir) {
        Ok(entries) => entries.collect::<io::Result<_>>().map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_below_store(dir) => {
            Ok(Vec::new())
        }
        Err(error) => Err(failed(error)),
    }
}

/// A list of a directory that stays the same one while it is listed. Compaction puts another in its place and
/// then deletes the files of the old one: what a list of that had by then would be a part of the day, and
/// could be read to the end before the rest is deleted.
fn as_of_one_moment<I: PartialEq, T>(
    identity: impl Fn() -> I,
    mut list: impl FnMut() -> Result<T, QueryError>,
) -> Result<T, QueryError> {
    let mut before = identity();
    loop {
        let listed = list()?;
        let after = identity();
        if after == before {
            return Ok(listed);
        }
        before = after;
    }
}

/// Device and inode of a directory, or `None` where there is none.
fn identity(dir: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(dir).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn is_below_store(dir: &Path) -> bool {
    let name = dir.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("iface=") || name.starts_with("date="))
}

fn no_store(root: &Path) -> QueryError {
    let children = subdirectories(root).unwrap_or_default();
    let stores = children.iter().filter(|(path, _)| {
        let below = subdirectories(path).unwrap_or_default();
        below.iter().any(|(_, name)| name.starts_with("iface="))
    });
    let stores: Vec<_> = stores
        .map(|(path, _)| path.display().to_string())
        .take(3)
        .collect();
    let why = if stores.is_empty() {
        "it has no directory `iface=…`; name the `path` of a Parquet sink (`writeout` in the agent's \
         configuration)"
            .to_owned()
    } else {
        format!(
            "it has no directory `iface=…`; did you mean --store {}?",
            stores.join(" --store ")
        )
    };
    QueryError::NoStore {
        path: root.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{as_of_one_moment, bounds, decoded, discover, entries, identity};
    use crate::time::Range;

    fn touch(root: &Path, path: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    #[test]
    fn names_are_those_of_the_layout() {
        assert!(bounds("20260301T000000.250Z-20260301T000500.000Z.parquet").is_some());
        assert!(bounds("20260301T000000.250Z-20260301T000500.000Z-12.parquet").is_some());
        assert!(bounds("20260301T000000.250Z-20260301T000500.000Z copy.parquet").is_none());
        assert!(bounds("20260302T000000.250Z-20260301T000500.000Z.parquet").is_none());
        assert_eq!(decoded("a%2Fb%3D%25%C3%A9").as_deref(), Some("a/b=%é"));
        assert_eq!(decoded("a%2").as_deref(), None);
    }

    #[test]
    fn only_what_may_be_asked_for_is_listed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for iface in ["eth0", "eth1"] {
            for day in ["01", "02", "03", "04", "05"] {
                let name = format!("202603{day}T000000.000Z-202603{day}T235959.000Z.parquet");
                touch(root, &format!("iface={iface}/date=2026-03-{day}/{name}"));
            }
        }
        touch(root, "iface=eth0/date=2026-03-03/strange.parquet");
        touch(root, "iface=eth0/date=2026-03-03/.hidden.parquet.1.tmp");
        let range = Range {
            since: "2026-03-03T05:00:00Z".parse().unwrap(),
            until: "2026-03-04T00:00:00Z".parse().unwrap(),
        };
        let found = discover(0, root, Some(range), &|iface| iface == "eth0").unwrap();
        let days: Vec<_> = found
            .files
            .iter()
            .map(|file| file.date.to_string())
            .collect();
        assert_eq!(days, ["2026-03-03"]);
        assert_eq!(found.ifaces.len(), 2);
        assert_eq!(found.foreign.len(), 1);
        let extent = found.extent.unwrap();
        assert_eq!(extent.since.to_string(), "2026-03-01T00:00:00Z");
        assert_eq!(extent.until.to_string(), "2026-03-05T23:59:59Z");
    }

    #[test]
    fn a_day_that_is_exchanged_while_it_is_listed_is_listed_anew() {
        let dir = tempfile::tempdir().unwrap();
        let [old, new, day] = ["old", "new", "date=2026-03-01"].map(|name| dir.path().join(name));
        fs::create_dir(&new).unwrap();
        fs::write(new.join("whole"), "").unwrap();
        for part in ["first", "second"] {
            touch(&day, part);
        }
        let mut has_exchanged = false;
        let listed = as_of_one_moment(
            || identity(&day),
            || {
                if !has_exchanged {
                    // The list of the old day has what was there when it came to it.
                    fs::remove_file(day.join("first")).unwrap();
                    let listed = entries(&day);
                    fs::rename(&day, &old).unwrap();
                    fs::rename(&new, &day).unwrap();
                    has_exchanged = true;
                    return listed;
                }
                entries(&day)
            },
        );
        let names: Vec<_> = listed
            .unwrap()
            .iter()
            .map(fs::DirEntry::file_name)
            .collect();
        assert_eq!(names, ["whole"]);
    }

    #[test]
    fn what_is_no_store_is_told_with_the_next_best() {
        let dir = tempfile::tempdir().unwrap();
        let none = discover(0, dir.path(), None, &|_| true)
            .unwrap_err()
            .to_string();
        assert!(
            none.contains("is no store of flows") && none.contains("writeout"),
            "{none}"
        );
        touch(dir.path(), "flows/iface=eth0/date=2026-03-01/x");
        let near = discover(0, dir.path(), None, &|_| true)
            .unwrap_err()
            .to_string();
        assert!(
            near.contains("did you mean --store") && near.contains("flows?"),
            "{near}"
        );
        let gone = discover(0, &dir.path().join("none"), None, &|_| true).unwrap_err();
        assert!(
            gone.to_string().contains("name an existing directory"),
            "{gone}"
        );
    }
}
