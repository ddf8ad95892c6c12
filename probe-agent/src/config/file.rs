//! Reading a configuration file, within bounds.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use probe_api::named_file::{open_at_once, open_to_read};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{Config, ConfigError, Reading, tree};

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = tree::MAX_OCTETS as u64;

/// How long a pipe may be silent.
const PATIENCE: Duration = Duration::from_secs(10);

/// The text of a configuration file.
#[derive(Clone, Debug)]
pub struct ConfigText {
    path: PathBuf,
    text: String,
}

impl ConfigText {
    /// Reads a file that is read again at each reload: no pipe.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Read`]: the file cannot be read. [`ConfigError::TooLarge`],
    /// [`ConfigError::NotUtf8`]: it is too large, or no text.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::read_from(path, open_to_read(path))
    }

    /// Reads a file for a command that reads it once: a pipe will do, as of `-c <(…)`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Read`]: the file cannot be read, or nothing comes out of the pipe for ten seconds.
    /// [`ConfigError::TooLarge`], [`ConfigError::NotUtf8`]: it is too large, or no text.
    pub fn read_once(path: &Path) -> Result<Self, ConfigError> {
        Self::read_within(PATIENCE, path)
    }

    fn read_within(patience: Duration, path: &Path) -> Result<Self, ConfigError> {
        let file = open_at_once(path).map(|file| Patient { file, patience });
        Self::read_from(path, file)
    }

    fn read_from(path: &Path, opened: io::Result<impl Read>) -> Result<Self, ConfigError> {
        let read = |source: io::Error| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        let mut bytes = Vec::new();
        opened
            .map_err(read)?
            .take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(read)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(ConfigError::TooLarge {
                path: path.to_owned(),
                limit: MAX_FILE_BYTES,
            });
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            ConfigError::NotUtf8 {
                path: path.to_owned(),
                line: valid.split(|byte| *byte == b'\n').count(),
            }
        })?;
        let path = path.to_owned();
        Ok(Self { path, text })
    }

    /// The configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: everything that is wrong with it.
    pub fn config(&self) -> Result<Config, ConfigError> {
        Config::parse(&self.text).map_err(|problems| ConfigError::Invalid {
            path: self.path.clone(),
            problems,
        })
    }

    /// The file, read as far as it can be.
    pub fn reading(&self) -> Reading<'_> {
        Reading::of(&self.text)
    }
}

/// A file that does not block, read as far as something comes out of it in time.
struct Patient {
    file: File,
    patience: Duration,
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let patience = Timespec::try_from(self.patience).map_err(|_| Errno::INVAL)?;
        let mut awaited = [PollFd::new(&self.file, PollFlags::IN)];
        if poll(&mut awaited, Some(&patience))? == 0 {
            let silent = format!("nothing came out of it for {:?}", self.patience);
            return Err(io::Error::new(io::ErrorKind::TimedOut, silent));
        }
        self.file.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, thread, time::Duration};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::ConfigText;

    const SHORT: Duration = Duration::from_millis(100);

    #[test]
    fn a_pipe_is_read_once_and_a_silent_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let told = ConfigText::read(&pipe).unwrap_err().to_string();
        assert!(told.contains("it is a pipe"), "{told}");
        let told = ConfigText::read_within(SHORT, &pipe).unwrap_err();
        assert!(told.to_string().contains("for 100ms"), "{told}");
        thread::scope(|scope| {
            scope.spawn(|| {
                // Longer than a pipe is, so that it comes in parts.
                let text = format!("# {}\ninterfaces: {{ eth0: {{}} }}\n", "x".repeat(200_000));
                fs::write(&pipe, text)
            });
            let config = ConfigText::read_once(&pipe).unwrap().config().unwrap();
            assert!(config.interfaces.contains_key("eth0"));
        });
    }

    #[test]
    fn no_more_is_read_than_a_configuration_may_have() {
        let endless = ConfigText::read_once("/dev/zero".as_ref()).unwrap_err();
        assert!(endless.to_string().contains("is larger than"), "{endless}");
    }
}
