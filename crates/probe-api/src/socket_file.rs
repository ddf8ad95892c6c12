//! The unix socket of the API as a file: who may use it, and what becomes of an old one.

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use rustix::{io::Errno, net::SocketAddrUnix};

use super::{ApiError, listener::listener_of};

/// Owner and group may connect (connecting needs the right to write, unix(7)).
const MODE: u32 = 0o660;

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
