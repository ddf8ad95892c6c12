//! Where a store lies: the mount point of its file system, and whether files can be written there. If that is
//! unmounted, or another file system is mounted on a directory between it and the store, files go somewhere
//! else from then on, without any error. Nothing is written to find out, since that is asked every few seconds.
//! One that is mounted over the same mount point is not told apart: its device may be the old one that came
//! back under another number.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, AtFlags, CWD, access, accessat};

use crate::WriteoutError;

/// The place of a store at the start.
pub(crate) struct Place {
    root: PathBuf,
    mount_point: PathBuf,
}

impl Place {
    /// Of the directory `root`, which exists.
    pub(crate) fn of(root: &Path) -> io::Result<Self> {
        Ok(Self {
            root: root.to_owned(),
            mount_point: mount_point(root)?,
        })
    }

    /// How the store has come to lie elsewhere, or that its directory is gone, with the remedy; `None` if
    /// all is as it was.
    pub(crate) fn moved(&self) -> Option<String> {
        let [root, old] = [&self.root, &self.mount_point];
        let (directory, is_there) = nearest(root).ok()?;
        let new = mount_point(directory).ok()?;
        if new != *old {
            let [root, old, new] = [root, old, &new].map(|path| path.display());
            return Some(format!(
                "{root} was on the file system of {old} at the start and is on that of {new} now, where new \
                 files go. Remedy: mount it as it was, or restart the agent if this is meant"
            ));
        }
        (!is_there).then(|| {
            format!(
                "{root} is gone, with all that was stored; the next interval begins it anew. Remedy: move \
                 it back, if it was moved away",
                root = root.display()
            )
        })
    }
}

/// Why nothing can be stored in the directory `root` now, as far as one can tell without a write. Where it is
/// not there, the next write makes it.
///
/// # Errors
///
/// [`WriteoutError::Store`]: what a write would tell, as far as the rights and the mount go.
pub(crate) fn check_writable(root: &Path) -> Result<(), WriteoutError> {
    let (directory, _) = nearest(root)?;
    if !directory.is_dir() {
        let error = io::Error::from(io::ErrorKind::NotADirectory);
        return Err(WriteoutError::file("write to", directory, error));
    }
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    // By the capabilities as well, unless a filter of system calls knows only the older one.
    accessat(CWD, directory, wanted, AtFlags::EACCESS)
        .or_else(|_| access(directory, wanted))
        .map_err(|error| WriteoutError::file("write to", directory, error.into()))
}

/// The directory `root`, or if it is not there the nearest one above that is, and whether it is `root`.
fn nearest(root: &Path) -> Result<(&Path, bool), WriteoutError> {
    for (above, directory) in root.ancestors().enumerate() {
        match fs::metadata(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(WriteoutError::file("reach", directory, error)),
            Ok(_) => return Ok((directory, above == 0)),
        }
    }
    Ok((Path::new("."), false))
}

/// The highest directory above on the same device. A mount of the same device elsewhere is not told apart.
fn mount_point(directory: &Path) -> io::Result<PathBuf> {
    let mut highest = directory.canonicalize()?;
    let device = fs::metadata(&highest)?.dev();
    while let Some(above) = highest.parent() {
        if fs::metadata(above)?.dev() != device {
            break;
        }
        highest = above.to_owned();
    }
    Ok(highest)
}

#[cfg(test)]
mod tests {
    use std::{fs, io, path::Path};

    use super::{Place, check_writable, mount_point};

    #[test]
    fn the_mount_point_is_the_highest_directory_of_a_device() {
        assert_eq!(mount_point(Path::new("/")).unwrap(), Path::new("/"));
        let proc = mount_point(Path::new("/proc/self/fd")).unwrap();
        assert_eq!(proc, Path::new("/proc"));
        mount_point(Path::new("/proc/none")).unwrap_err();
    }

    #[test]
    fn a_store_that_lies_elsewhere_or_is_gone_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("flows");
        fs::create_dir(&root).unwrap();
        let mut place = Place::of(&root).unwrap();
        assert_eq!(place.moved(), None);
        fs::remove_dir(&root).unwrap();
        let told = place.moved().unwrap();
        assert!(
            told.contains("flows is gone, with all that was stored"),
            "{told}"
        );
        place.mount_point = "/srv/disk".into();
        // Its disk was unmounted, and what is below has no such directory.
        let told = place.moved().unwrap();
        assert!(
            told.contains("was on the file system of /srv/disk at the start"),
            "{told}"
        );
        fs::create_dir(&root).unwrap();
        assert_eq!(place.moved().unwrap(), told);
    }

    #[test]
    fn what_keeps_the_next_file_from_being_written_is_told_without_a_write() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        check_writable(&directory.path().join("not/made/yet")).unwrap();
        for (root, kind, part) in [
            (
                file.join("below"),
                io::ErrorKind::NotADirectory,
                "cannot reach",
            ),
            (
                "/proc/self/flows".into(),
                io::ErrorKind::PermissionDenied,
                "cannot write to /proc",
            ),
        ] {
            let error = check_writable(&root).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
            assert_eq!(error.io_kind(), Some(kind), "{error}");
        }
        let names = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(names, 1, "only the file of this test");
    }
}
