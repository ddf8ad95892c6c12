//! The unix socket of the API as a file: who may use it, and what becomes of an old one.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use axum::serve::Listener;
use rustix::{io::Errno, net::SocketAddrUnix};

use tokio::{
    net::UnixStream,
    time::{Interval, MissedTickBehavior, interval},
};

use super::{ApiError, listener::listener_of};

/// Owner and group may connect (connecting needs the right to write, unix(7)).
const MODE: u32 = 0o660;

/// Whether the file is there is checked this often.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// A bound socket file, removed on drop unless another process has put its own in its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// Binds the path, over a file that a killed agent has left behind.
    pub(super) fn bind(path: &Path) -> Result<(UnixListener, Self), ApiError> {
        let failed = |source| ApiError::listen(format!("unix:{}", path.display()), "addr", source);
        make_directory(path)?;
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        // Until here the umask has kept others out: without the right to write none can connect.
        fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(failed)?;
        let metadata = fs::symlink_metadata(path).map_err(failed)?;
        let file = Self {
            path: path.to_owned(),
            identity: identity(&metadata),
        };
        Ok((listener, file))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Accepts on a socket file, and makes it anew where somebody has removed it (`rm -r /run/probe`, a cleaner of
/// temporary files): nobody could ask the agent any more, not even to end it.
pub(super) struct SocketListener {
    listener: tokio::net::UnixListener,
    file: SocketFile,
    checks: Interval,
}

impl SocketListener {
    /// Needs a tokio runtime.
    pub(super) fn new(listener: UnixListener, file: SocketFile) -> io::Result<Self> {
        let mut checks = interval(CHECK_EVERY);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            listener: accepting(listener)?,
            file,
            checks,
        })
    }

    /// What another has put into the place is his.
    fn check(&mut self) {
        let path = self.file.path.clone();
        let found = fs::symlink_metadata(&path);
        if !found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return;
        }
        let bound = SocketFile::bind(&path).map_err(io::Error::other);
        match bound.and_then(|(listener, file)| Ok((accepting(listener)?, file))) {
            Ok((listener, file)) => {
                (self.listener, self.file) = (listener, file);
                tracing::warn!(path = %path.display(), "the socket of the API was removed, and is there again");
            }
            Err(error) => tracing::error!(
                path = %path.display(),
                %error,
                "the socket of the API was removed and cannot be made again; restart the agent"
            ),
        }
    }
}

impl Listener for SocketListener {
    type Io = UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                accepted = Listener::accept(&mut self.listener) => return accepted,
                _ = self.checks.tick() => self.check(),
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

fn accepting(listener: UnixListener) -> io::Result<tokio::net::UnixListener> {
    listener.set_nonblocking(true)?;
    tokio::net::UnixListener::from_std(listener)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|it| identity(&it) == self.identity);
        if ours {
            // One that stays is found stale at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn make_directory(path: &Path) -> Result<(), ApiError> {
    let Some(directory) = path.parent() else {
        return Ok(());
    };
    fs::create_dir_all(directory).map_err(|source| ApiError::Directory {
        directory: directory.to_owned(),
        source,
    })
}

/// Removes the socket only if nobody listens on it, and nothing that is no socket.
fn remove_stale(path: &Path) -> Result<(), ApiError> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(ApiError::NotASocket {
            path: path.to_owned(),
        });
    }
    let endpoint = || format!("unix:{}", path.display());
    match SocketAddrUnix::new(path).and_then(|addr| listener_of(&addr)) {
        Ok(None) => {
            fs::remove_file(path).map_err(|source| ApiError::listen(endpoint(), "addr", source))
        }
        Ok(Some(holder)) => Err(ApiError::InUse {
            endpoint: endpoint(),
            key: "addr",
            holder,
        }),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(ApiError::listen(endpoint(), "addr", error.into())),
    }
}
