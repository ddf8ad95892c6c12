//! A watch on the configuration file.
//!
//! By a check once a second, not by inotify: it works the same for files that are replaced, for
//! links to folders that are swapped (as Kubernetes does with its config maps), and over NFS. Driven
//! by values; the caller checks the file.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::config::{Config, ConfigError};

/// A file that changes is left alone until it has been quiet for so long.
const QUIET: Duration = Duration::from_secs(2);

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Fingerprint {
    /// Of the file at this path, wherever links lead. `None` if there is none.
    pub fn from_path(path: &Path) -> Option<Self> {
        let metadata: Metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// A configuration file, and its state when it was read.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Path of the configuration file.
    pub path: PathBuf,
    /// Its state just before it was read: an edit from then on is a change.
    pub read: Option<Fingerprint>,
}

impl ConfigFile {
    /// Reads the configuration in it.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load(path: &Path) -> Result<(Self, Config), ConfigError> {
        let file = Self {
            path: path.to_owned(),
            read: Fingerprint::from_path(path),
        };
        let config = Config::load(path)?;
        Ok((file, config))
    }
}

/// Says when a file has changed and come to rest.
#[derive(Debug)]
pub struct FileWatch {
    /// As it was when it was last read.
    known: Option<Fingerprint>,
    /// As it was at the last check, and since when.
    seen: Option<(Option<Fingerprint>, Instant)>,
}

impl FileWatch {
    /// The file is in this state, which counts as read.
    pub const fn new(known: Option<Fingerprint>) -> Self {
        Self { known, seen: None }
    }

    /// Takes in a check. True once for every change, when the file has been the same for two seconds.
    /// One that is gone is not a change: somebody is about to put another in its place.
    pub fn on_check(&mut self, now_is: Option<Fingerprint>, now: Instant) -> bool {
        if now_is == self.known || now_is.is_none() {
            self.seen = None;
            return false;
        }
        match self.seen {
            Some((seen, since)) if seen == now_is => {
                if now.saturating_duration_since(since) < QUIET {
                    return false;
                }
                self.known = now_is;
                self.seen = None;
                true
            }
            _ => {
                self.seen = Some((now_is, now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{FileWatch, Fingerprint};

    #[test]
    fn a_change_is_told_once_and_when_it_is_over() {
        let state = |inode| {
            Some(Fingerprint {
                device: 1,
                inode,
                size: 10,
                changed: (0, 0),
            })
        };
        let start = Instant::now();
        let mut watch = FileWatch::new(state(1));
        let checks = [
            (0, state(1), false),
            // Written in pieces: every piece begins the wait anew.
            (1, state(2), false),
            (2, state(3), false),
            (3, None, false),
            (4, state(4), false),
            (5, state(4), false),
            (6, state(4), true),
            (7, state(4), false),
            // Gone and back is no change.
            (8, None, false),
            (20, state(4), false),
            // There and back again before anybody read it.
            (21, state(5), false),
            (22, state(4), false),
            (30, state(4), false),
        ];
        for (second, state, told) in checks {
            let now = start + Duration::from_secs(second);
            assert_eq!(watch.on_check(state, now), told, "second {second}");
        }
    }
}
