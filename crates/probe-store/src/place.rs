//! Where a store lies: the mount point of its file system. If that is unmounted, or another file system is
//! mounted on a directory between it and the store, files go somewhere else from then on, without any error.
//! One that is mounted over the same mount point is not told apart: its device may be the old one that came
//! back under another number.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

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

    /// How the store has come to lie elsewhere, with the remedy; `None` if it has not. Where nothing is, writes
    /// fail and are told.
    pub(crate) fn moved(&self) -> Option<String> {
        let [root, old] = [&self.root, &self.mount_point];
        let new = mount_point(root).ok()?;
        if new == *old {
            return None;
        }
        let [root, old, new] = [root, old, &new].map(|path| path.display());
        Some(format!(
            "{root} was on the file system of {old} at the start and is on that of {new} now, where new \
             files go. Remedy: mount it as it was, or restart the agent if this is meant"
        ))
    }
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
    use std::path::Path;

    use super::{Place, mount_point};

    #[test]
    fn the_mount_point_is_the_highest_directory_of_a_device() {
        assert_eq!(mount_point(Path::new("/")).unwrap(), Path::new("/"));
        let proc = mount_point(Path::new("/proc/self/fd")).unwrap();
        assert_eq!(proc, Path::new("/proc"));
        mount_point(Path::new("/proc/none")).unwrap_err();
    }

    #[test]
    fn a_store_that_lies_elsewhere_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let mut place = Place::of(directory.path()).unwrap();
        assert_eq!(place.moved(), None);
        place.mount_point = "/srv/disk".into();
        let told = place.moved().unwrap();
        assert!(told.contains("was on the file system of /srv/disk at the start"));
        directory.close().unwrap();
        assert_eq!(place.moved(), None);
    }
}
