//! The address that is listened on, and the connections that come there.

use std::{
    fmt, fs,
    io::{self, ErrorKind},
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

/// Connections at a time; others wait.
const MOST_CONNECTIONS: usize = 256;
/// Time for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Octets of the head of a request.
const MOST_HEAD: usize = 64 << 10;
/// A connection takes no further request after that: browsers open another one.
const LIFETIME: Duration = Duration::from_mins(2);
/// What is under way then has so long: who does not take an answer does not keep its place.
const GRACE: Duration = Duration::from_mins(2);
/// Owner and group may connect (connecting needs the right to write, unix(7)).
const MODE: u32 = 0o660;

/// Where to listen: an address of TCP or a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Address {
    Tcp(SocketAddr),
    Socket(PathBuf),
}

impl Address {
    /// Reads an address with its port, or a path.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if let Ok(addr) = text.parse() {
            return Ok(Self::Tcp(addr));
        }
        let path = text.strip_prefix("unix:").unwrap_or(text);
        if path.contains('/') {
            return Ok(Self::Socket(path.into()));
        }
        let found = probe_flow::text::quoted(text);
        Err(format!(
            "--listen: expected an address with its port, such as 127.0.0.1:9480 or [::1]:9480, or the path of \
             a unix socket, found {found}"
        ))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => write!(f, "{addr}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

/// An address that is listened on.
pub(super) enum Bound {
    Tcp(TcpListener, SocketAddr),
    Socket(UnixListener, SocketFile),
}

/// The file of a unix socket, removed at last.
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // One that stays is found stale at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

impl Bound {
    /// Listens, from within a runtime.
    pub(super) fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(addr) => {
                let listener = std::net::TcpListener::bind(addr)?;
                listener.set_nonblocking(true)?;
                let addr = listener.local_addr()?;
                Ok(Self::Tcp(TcpListener::from_std(listener)?, addr))
            }
            Address::Socket(path) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path)?;
                let file = SocketFile(path.clone());
                fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
                Ok(Self::Socket(listener, file))
            }
        }
    }

    pub(super) const fn is_beyond_this_host(&self) -> bool {
        matches!(self, Self::Tcp(_, addr) if !addr.ip().is_loopback())
    }

    /// Answers all clients that connect, for ever.
    pub(super) async fn serve(self, router: Router) {
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let accepted = match &self {
                Self::Tcp(listener, _) => listener.accept().await.map(|(stream, _)| {
                    tokio::spawn(connection(stream, router.clone(), place));
                }),
                Self::Socket(listener, _) => listener.accept().await.map(|(stream, _)| {
                    tokio::spawn(connection(stream, router.clone(), place));
                }),
            };
            // No descriptors are left, most likely: some will be.
            if accepted.is_err() {
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(_, addr) => write!(f, "http://{addr}/"),
            Self::Socket(_, file) => write!(f, "on the unix socket {}", file.0.display()),
        }
    }
}

/// Removes a socket that nobody listens on, and nothing else.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(
            ErrorKind::AlreadyExists,
            "the file exists and is no socket",
        ));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(
            ErrorKind::AddrInUse,
            "another process listens there",
        )),
    }
}

async fn connection<T>(stream: T, router: Router, place: OwnedSemaphorePermit)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let _place = place;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MOST_HEAD);
    // With the connection the answer is dropped, and its question ends.
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = std::pin::pin!(served);
    // Errors are the client's: it has gone, or does not speak HTTP.
    tokio::select! {
        _ = served.as_mut() => {}
        () = sleep(LIFETIME) => {
            served.as_mut().graceful_shutdown();
            let _ = timeout(GRACE, served).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, Bound};

    #[test]
    fn addresses_are_of_hosts_or_of_files() {
        assert!(matches!(
            Address::read("[::1]:9480"),
            Ok(Address::Tcp(addr)) if addr.is_ipv6()
        ));
        for path in ["/run/x.sock", "unix:/run/x.sock", "./x"] {
            assert!(matches!(Address::read(path), Ok(Address::Socket(_))));
        }
        for wrong in ["", "9480", "localhost", "localhost:9480", "127.0.0.1"] {
            let error = Address::read(wrong).unwrap_err();
            assert!(
                error.contains("expected an address with its port"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn a_socket_is_taken_over_only_where_nobody_listens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let address = Address::Socket(path.clone());
        // As a process leaves it that was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let bound = Bound::bind(&address).unwrap();
        let error = Bound::bind(&address).err().unwrap();
        assert!(
            error.to_string().contains("another process listens"),
            "{error}"
        );
        drop(bound);
        assert!(!path.exists());
        std::fs::write(&path, "text").unwrap();
        let error = Bound::bind(&address).err().unwrap();
        assert!(error.to_string().contains("is no socket"), "{error}");
        assert!(path.exists());
    }
}
