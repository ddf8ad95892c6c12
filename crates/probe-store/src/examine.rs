//! Whether a sink could store files, found out without touching anything.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::WriteoutError;

/// Looks at the directory of a sink, or where it is missing at the nearest one above it. For this
/// user: another one may have other rights. Only an attempt, as [`crate::open_sinks`] makes it,
/// tells for sure.
///
/// # Errors
///
/// [`WriteoutError::NotWritable`]: the sink could not be opened now.
pub fn examine_directory(sink: &'static str, path: &Path) -> Result<(), WriteoutError> {
    let Some((operation, at, source)) = obstacle(path) else {
        return Ok(());
    };
    Err(WriteoutError::NotWritable {
        sink,
        path: path.to_owned(),
        source: Box::new(WriteoutError::file(operation, at, source)),
    })
}

/// Size in bytes of the file system that a directory is on, or would be. None where it does not say one.
pub fn file_system_size(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|above| above.exists())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    let bytes = stat.f_blocks.checked_mul(stat.f_frsize)?;
    (bytes > 0).then_some(bytes)
}

fn obstacle(path: &Path) -> Option<(&'static str, &Path, io::Error)> {
    for above in path.ancestors() {
        match fs::metadata(above) {
            Ok(metadata) if !metadata.is_dir() => {
                let source = io::Error::from(ErrorKind::NotADirectory);
                return Some(("open the directory", above, source));
            }
            Ok(_) => {
                let access = Access::WRITE_OK | Access::EXEC_OK;
                let denied = accessat(CWD, above, access, AtFlags::EACCESS).err()?;
                return Some(("write in", above, denied.into()));
            }
            // Nothing of this name, or a link that leads to nothing, which no directory replaces.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if fs::symlink_metadata(above).is_ok() {
                    return Some(("follow the link", above, error));
                }
            }
            // A file is in the place of a directory further up.
            Err(error) if error.kind() == ErrorKind::NotADirectory => {}
            Err(error) => return Some(("look at", above, error)),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        path::{Path, PathBuf},
    };

    use super::examine_directory;

    fn message(path: &Path) -> Option<String> {
        let examined = examine_directory("json", path);
        examined.err().map(|error| error.to_string())
    }

    #[test]
    fn what_is_no_directory_is_found_and_nothing_is_made() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        symlink("/nonexistent", root.path().join("link")).unwrap();
        for (path, part) in [
            (
                PathBuf::from("/dev/null"),
                "cannot open the directory /dev/null",
            ),
            (
                PathBuf::from("/dev/null/flows"),
                "cannot open the directory /dev/null",
            ),
            (root.path().join("file/a/b"), "cannot open the directory"),
            (root.path().join("link/a"), "cannot follow the link"),
        ] {
            let message = message(&path);
            let message = message.unwrap_or_else(|| panic!("{} is fine", path.display()));
            assert!(message.contains(part), "{message}");
        }
        for fine in ["", "a", "a/b/c"] {
            assert_eq!(message(&root.path().join(fine)), None);
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    }
}
