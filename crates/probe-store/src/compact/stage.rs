//! The directory beside the store: the new day is made there, and the old one is deleted.

use std::{cell::Cell, io};

use rustix::io::Errno;
use tracing::warn;

use super::{
    CompactError, Compacted, Outcome,
    error::{no_exchange, rights_error},
    merge::{MergeError, contents, merge},
    old::{Old, Opened, is_ours, system_error},
    reach,
};
use crate::{WriteoutError, partition::Directory};

/// Name of the new day in the directory beside the store; of the old one after the exchange.
const WORK: &str = "day";
/// Begin of the name of an old day that could not be put back.
pub(super) const KEPT: &str = "kept-";

/// Makes the new day in `stage`, and lets it take the place of the old one.
pub(super) fn compact_in(
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
    let newest = old.files.last().map_or("", |file| &*file.name);
    let rights = work.take_rights_of(old.day, &file, newest);
    rights.map_err(|errno| rights_error(old.day, errno))?;
    reach("begun");
    let sources = Opened {
        old,
        last: Cell::new(0),
    };
    let new_file = |source| WriteoutError::file("write", &work.path().join(&name), source);
    let merged = match merge(&sources, &mut file) {
        Ok(merged) => merged,
        Err(MergeError::Source(source)) => {
            let file = &old.files[sources.last.get()].name;
            // Retention has deleted it.
            if !old.is_unchanged()? {
                return Ok(Outcome::Busy);
            }
            return Err(old.unreadable(file, source));
        }
        Err(MergeError::New(source)) => {
            return Err(match system_error(source) {
                Ok(source) => new_file(source).into(),
                Err(source) => old.unreadable(&name, source),
            });
        }
    };
    reach("written");
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
pub(super) fn clear(
    stage: &Directory,
    make_sure: impl FnOnce() -> Result<(), WriteoutError>,
) -> Result<(), CompactError> {
    let Some(work) = stage.open_dir_if_there(WORK)? else {
        return Ok(());
    };
    #[cfg(test)]
    super::tests::fail_at("syncing")?;
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
