//! Opening files that a person names: the configuration, keys, certificates.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

use rustix::fs::OFlags;

/// Opens a file that the agent reads again at each reload: a pipe that nobody writes to would keep it
/// for ever.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`]: it is a pipe. Else those of [`File::open`].
pub fn open_to_read(path: &Path) -> io::Result<File> {
    let file = open_at_once(path)?;
    if file.metadata()?.file_type().is_fifo() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is a pipe, which cannot be read again at a reload",
        ));
    }
    Ok(file)
}

/// Opens a file to read it, and never waits for the other end of a pipe. Reading does not wait either: where
/// nothing is there yet it fails.
///
/// # Errors
///
/// Those of [`File::open`].
pub fn open_at_once(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::open_to_read;

    #[test]
    fn a_pipe_without_writer_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let error = open_to_read(&pipe).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("pipe"), "{error}");
    }

    #[test]
    fn a_file_is_read_as_ever() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "text").unwrap();
        let mut text = String::new();
        open_to_read(&file)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "text");
    }
}
