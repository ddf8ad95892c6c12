//! Where an answer goes: standard output, or a file that is there only when it is whole.

use std::{
    fs::{File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::error::QueryError;

/// The place of one answer.
#[derive(Debug)]
pub enum Place {
    /// To standard output, as it comes.
    Stdout,
    /// A pipe, a device: what is there is written to.
    Open(File),
    /// A file, under another name until [`Place::keep`].
    File {
        /// What is written, under a temporary name until it is whole.
        pending: NamedTempFile,
        /// Its name when it is whole.
        path: PathBuf,
    },
}

impl Place {
    /// The place that `--output` names.
    ///
    /// # Errors
    ///
    /// Nothing can be written there.
    pub fn of(path: Option<&Path>) -> Result<Self, QueryError> {
        let Some(path) = path else {
            return Ok(Self::Stdout);
        };
        // What a link leads to is replaced, not the link.
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let place = if target.metadata().is_ok_and(|it| !it.is_file()) {
            File::options().write(true).open(&target).map(Self::Open)
        } else {
            pending(&target).map(|pending| Self::File {
                pending,
                path: target,
            })
        };
        place.map_err(|error| QueryError::output(path, error))
    }

    /// Takes the text or file.
    ///
    /// # Errors
    ///
    /// The system has no more handles.
    pub fn writer(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match self {
            Self::Stdout => Box::new(io::BufWriter::new(io::stdout())),
            Self::Open(file) => Box::new(io::BufWriter::new(file.try_clone()?)),
            Self::File { pending, .. } => {
                Box::new(io::BufWriter::new(pending.as_file().try_clone()?))
            }
        })
    }

    /// Gives a whole file its name. One that had it goes.
    ///
    /// # Errors
    ///
    /// The directory cannot be written.
    pub fn keep(self) -> Result<(), QueryError> {
        if let Self::File { pending, path } = self {
            let kept = pending.persist(&path);
            kept.map_err(|error| QueryError::output(&path, error.error))?;
        }
        Ok(())
    }
}

fn pending(target: &Path) -> io::Result<NamedTempFile> {
    let directory = target.parent().filter(|it| !it.as_os_str().is_empty());
    tempfile::Builder::new()
        .prefix(".probe-query-")
        // As for any new file, the umask decides.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory.unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, path::Path};

    use super::Place;

    #[test]
    fn a_file_is_there_when_it_is_whole_and_replaces_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("answer");
        let link = dir.path().join("link");
        fs::write(&path, "before").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let place = Place::of(Some(&link)).unwrap();
        place.writer().unwrap().write_all(b"after").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        place.keep().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "after");
        assert!(link.is_symlink());
        drop(Place::of(Some(&path)).unwrap());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "nothing is left");
    }

    #[test]
    fn a_device_stays_what_it_is() {
        let place = Place::of(Some(Path::new("/dev/null"))).unwrap();
        assert!(matches!(place, Place::Open(_)));
        place.writer().unwrap().write_all(b"any").unwrap();
        place.keep().unwrap();
        let error = Place::of(Some(Path::new("/nowhere/answer"))).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("/nowhere/answer") && error.contains("--output"),
            "{error}"
        );
    }
}
