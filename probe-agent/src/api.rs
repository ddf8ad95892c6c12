//! The HTTP endpoints: `/metrics`, `/healthz` and `/readyz`, over TCP and on a unix socket.
//!
//! [`Api::bind`] does all that can fail; [`BoundApi::serve`] answers until its shutdown comes.
//! Capture has threads of its own, and whatever may wait for them is answered from blocking
//! threads, so that neither can starve the other.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::{runtime, sync::watch, task::JoinSet, time::timeout};
use tracing::{info, warn};

use crate::{
    config::{ApiConfig, Endpoint},
    metrics::{Metrics, SinkReaders},
    readiness::Readiness,
    status::StatusReader,
};

mod connection;
mod routes;
mod socket_file;

use connection::Bounded;
use socket_file::SocketFile;

/// How long open requests may take after the shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Scrapes at a time; more wait.
const MAX_BLOCKING_THREADS: usize = 4;

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Not an address. A checked configuration has none such.
    #[error("api.{key} {problem}")]
    Address {
        /// Key of the configuration.
        key: &'static str,
        /// End of the sentence.
        problem: String,
    },
    /// The directory of the socket cannot be made.
    #[error(
        "cannot create the directory {directory} for the socket: {source}; \
         create it, or change api.addr",
        directory = directory.display()
    )]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else listens there.
    #[error(
        "cannot listen on {endpoint}: another process already does (`ss -lxtp` tells which); \
         stop it, or change api.{key}"
    )]
    InUse {
        /// The address.
        endpoint: String,
        /// Key of the configuration.
        key: &'static str,
    },
    /// The kernel refused.
    #[error("cannot listen on {endpoint}: {source}; change api.{key}")]
    Listen {
        /// The address.
        endpoint: String,
        /// Key of the configuration.
        key: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The file in the place of the socket is something else.
    #[error(
        "cannot listen on unix:{path}: the file is no socket; remove it, or change api.addr",
        path = path.display()
    )]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
}

impl ApiError {
    fn listen(endpoint: String, key: &'static str, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::AddrInUse {
            Self::InUse { endpoint, key }
        } else {
            Self::Listen {
                endpoint,
                key,
                source,
            }
        }
    }
}

/// What the endpoints answer from.
#[derive(Clone)]
pub struct ApiState {
    /// What `/metrics` gives.
    pub metrics: Arc<Metrics>,
    /// What the metrics follow.
    pub status: Arc<dyn StatusReader>,
    /// What the metrics of the sinks follow.
    pub sinks: SinkReaders,
    /// What `/readyz` tells.
    pub readiness: Readiness,
}

/// The endpoints before they are bound.
pub struct Api;

/// The endpoints, bound: clients connect already, and wait until they are served.
#[derive(Debug, Default)]
pub struct BoundApi {
    metrics: Option<(TcpListener, SocketAddr)>,
    tcp: Option<(TcpListener, SocketAddr)>,
    unix: Option<(UnixListener, SocketFile)>,
}

impl Api {
    /// Binds the addresses of the configuration. Needs no runtime.
    pub fn bind(config: &ApiConfig) -> Result<BoundApi, ApiError> {
        let mut bound = BoundApi::default();
        match parse(config.metrics_addr.as_deref(), "metrics_addr")? {
            Some(Endpoint::Tcp(addr)) => bound.metrics = Some(bind_tcp(addr, "metrics_addr")?),
            Some(Endpoint::Unix(_)) => {
                return Err(ApiError::Address {
                    key: "metrics_addr",
                    problem: "must be IP:port".to_owned(),
                });
            }
            None => {}
        }
        match parse(config.addr.as_deref(), "addr")? {
            Some(Endpoint::Tcp(addr)) => bound.tcp = Some(bind_tcp(addr, "addr")?),
            Some(Endpoint::Unix(path)) => bound.unix = Some(SocketFile::bind(&path)?),
            None => {}
        }
        Ok(bound)
    }

    /// A runtime for [`BoundApi::serve`]: one thread, and a few for what blocks.
    pub fn runtime() -> io::Result<runtime::Runtime> {
        runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(MAX_BLOCKING_THREADS)
            .thread_name("probe-api")
            .enable_all()
            .build()
    }
}

fn parse(addr: Option<&str>, key: &'static str) -> Result<Option<Endpoint>, ApiError> {
    let endpoint = addr.map(Endpoint::parse).transpose();
    endpoint.map_err(|problem| ApiError::Address { key, problem })
}

fn bind_tcp(addr: SocketAddr, key: &'static str) -> Result<(TcpListener, SocketAddr), ApiError> {
    let failed = |source| ApiError::listen(addr.to_string(), key, source);
    let listener = TcpListener::bind(addr).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

impl BoundApi {
    /// Where `/metrics` is, with the real port if 0 was asked for.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|(_, addr)| *addr)
    }

    /// Where the API is, with the real port if 0 was asked for.
    pub fn addr(&self) -> Option<Endpoint> {
        let tcp = self.tcp.as_ref().map(|(_, addr)| Endpoint::Tcp(*addr));
        let unix = self.unix.as_ref();
        tcp.or_else(|| unix.map(|(_, file)| Endpoint::Unix(file.path().to_owned())))
    }

    /// Answers until `shutdown` comes, and then finishes the open requests, if they are quick.
    pub async fn serve(
        self,
        state: ApiState,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let (stop, stopped) = watch::channel(());
        let mut servers = JoinSet::new();
        for (listener, addr) in [self.metrics, self.tcp].into_iter().flatten() {
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            info!(%addr, "serving HTTP");
            serve_on(&mut servers, listener, &state, &stopped);
        }
        let socket_file = match self.unix {
            Some((listener, file)) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::UnixListener::from_std(listener)?;
                info!(path = %file.path().display(), "serving HTTP on a unix socket");
                serve_on(&mut servers, listener, &state, &stopped);
                Some(file)
            }
            None => None,
        };
        shutdown.await;
        drop(socket_file);
        drop(stop);
        if timeout(DRAIN_TIMEOUT, servers.join_all()).await.is_err() {
            warn!("HTTP requests were still open at the end of the drain and were cut off");
        }
        Ok(())
    }
}

fn serve_on<L>(
    servers: &mut JoinSet<io::Result<()>>,
    listener: L,
    state: &ApiState,
    stopped: &watch::Receiver<()>,
) where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
{
    let mut stopped = stopped.clone();
    let stop = async move {
        // Nothing is ever sent: an error says that the sender was dropped, which is the signal.
        let _ = stopped.changed().await;
    };
    let router = routes::router(state.clone());
    let server = axum::serve(Bounded::new(listener), router).with_graceful_shutdown(stop);
    servers.spawn(server.into_future());
}
