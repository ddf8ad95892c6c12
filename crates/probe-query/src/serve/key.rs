//! The key that clients send, read from a file that only its owner may know.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use subtle::ConstantTimeEq;

/// Rights that nobody but the owner may have to the file.
const OTHERS: u32 = 0o077;
/// Octets of a key, as the agent's API has them.
const LENGTHS: std::ops::RangeInclusive<usize> = 32..=256;

/// A key, which is never shown.
pub(super) struct Key(Vec<u8>);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    /// No such file, no permission …
    #[error("cannot read {path}: {source}; give a readable file", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    /// Somebody else can read or replace it.
    #[error(
        "{path} holds a secret and has owner {uid} and mode {mode:03o}; make it root's or your own, and \
         `chmod 600` it", path = path.display()
    )]
    Exposed { path: PathBuf, uid: u32, mode: u32 },
    /// What is in it is no key.
    #[error(
        "{path} holds no key: it must be 32 to 256 visible ASCII characters (`openssl rand -hex 32`)",
        path = path.display()
    )]
    NoKey { path: PathBuf },
}

/// Reads a key. Rights are those of the file that was opened.
pub(super) fn read(path: &Path) -> Result<Key, KeyError> {
    let failed = |source| KeyError::Read {
        path: path.to_owned(),
        source,
    };
    let file = open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let own = rustix::process::geteuid().as_raw();
    let is_owned = metadata.uid() == 0 || metadata.uid() == own;
    if !is_owned || metadata.mode() & OTHERS != 0 {
        return Err(KeyError::Exposed {
            path: path.to_owned(),
            uid: metadata.uid(),
            mode: metadata.mode() & 0o777,
        });
    }
    let mut octets = Vec::new();
    file.take(4096).read_to_end(&mut octets).map_err(failed)?;
    Key::new(octets.trim_ascii_end()).ok_or_else(|| KeyError::NoKey {
        path: path.to_owned(),
    })
}

/// Opens a file, and never waits for the other end of a pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

impl Key {
    pub(super) fn new(octets: &[u8]) -> Option<Self> {
        let is_key = LENGTHS.contains(&octets.len()) && octets.iter().all(u8::is_ascii_graphic);
        is_key.then(|| Self(octets.to_vec()))
    }

    /// Whether it is this one, in a time that does not tell how much of it was right.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        self.0.ct_eq(given).into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::read;

    #[test]
    fn only_files_of_the_owner_hold_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let told = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            read(&path).map_err(|error| error.to_string())
        };
        let key = "k".repeat(32);
        let read = told(&format!("{key}\n"), 0o600).unwrap();
        assert!(read.is(key.as_bytes()));
        assert!(!read.is(&key.as_bytes()[1..]));
        assert!(!read.is(b""));
        assert!(told(&key, 0o640).unwrap_err().contains("chmod 600"));
        assert!(told("short", 0o600).unwrap_err().contains("32 to 256"));
        let spaced = format!("{key} {key}");
        assert!(told(&spaced, 0o600).unwrap_err().contains("visible ASCII"));
    }
}
