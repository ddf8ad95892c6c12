//! The HTTP API: server, types and client. The endpoints are `/metrics`, `/healthz`, `/readyz` and `/api/v1`, over TCP and on a unix
//! socket.
//!
//! [`Api::bind`] does all that can fail; [`BoundApi::serve`] answers until its shutdown comes.
//! Capture has threads of its own, and whatever may wait for them is answered on threads apart from
//! the runtime, so that neither can starve the other.
//!
//! The crate never names the kernel's programs and never opens the files that flows are stored in.
//! It knows the manager of `probe-capture`; metrics, readiness and reloads come in as functions and
//! as the trait [`reload::Reload`]. The agent serves it, the command line uses its [`client`].

#![deny(unsafe_code)]
#![warn(missing_docs)]

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::{runtime, sync::watch, task::JoinSet, time::timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::{
    endpoint::Endpoint,
    options::ApiConfig,
    reload::Reload,
    v1::{
        flows::interval::UnwrittenInterval,
        rotation::DurationHistogram,
        status::{SinkStatus, StatusReport},
    },
};
use probe_capture::{manager::Manager, trouble::Trouble};

mod access;
pub mod client;
mod connection;
pub mod endpoint;
mod lane;
mod limits;
pub mod listener;
pub mod named_file;
mod occupancy;
pub mod openapi;
pub mod options;
mod places;
mod problem;
mod query;
pub mod reload;
mod routes;
mod secrets;
mod serve;
mod shares;
mod socket_file;
pub mod v1;

pub use problem::{ConfigProblem, Problem};

use access::Access;
use client::AgentAddr;
use limits::Server;
use occupancy::Occupancy;
pub use secrets::{
    SecretError, api_key_mistake, certificate_mistake, private_key_mistake, tls_mistake,
};
use socket_file::{SocketFile, SocketListener};

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
        /// Directory of the unix socket.
        directory: PathBuf,
        /// Cause, as the system tells it.
        source: io::Error,
    },
    /// Somebody else listens there.
    #[error("cannot listen on {endpoint}: {holder} already does; stop it, or change api.{key}")]
    InUse {
        /// Socket or address to listen on.
        endpoint: String,
        /// Key of the configuration.
        key: &'static str,
        /// The process that listens there.
        holder: String,
    },
    /// The kernel refused to listen there.
    #[error("cannot listen on {endpoint}: {source}; change api.{key}")]
    Listen {
        /// Socket or address to listen on.
        endpoint: String,
        /// Key of the configuration.
        key: &'static str,
        /// Cause, as the system tells it.
        source: io::Error,
    },
    /// A key or certificate cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The file in the place of the socket is something else.
    #[error(
        "cannot listen on unix:{path}: the file is no socket; remove it, or change api.addr",
        path = path.display()
    )]
    NotASocket {
        /// Path of the certificate or key.
        path: PathBuf,
    },
}

impl ApiError {
    fn listen(endpoint: String, key: &'static str, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::AddrInUse {
            let holder = "another process (`ss -lxtp` tells which)".to_owned();
            Self::InUse {
                endpoint,
                key,
                holder,
            }
        } else {
            Self::Listen {
                endpoint,
                key,
                source,
            }
        }
    }
}

/// The build that answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Build {
    /// Version of the agent.
    pub version: &'static str,
    /// Commit that it was built from, or `unknown`.
    pub commit: &'static str,
    /// SHA-256 of its eBPF object, in hexadecimal digits.
    pub object: &'static str,
}

/// A sink that stores in a directory.
#[derive(Clone, Debug)]
pub struct SinkStore {
    /// Name of the sink.
    pub sink: String,
    /// The directory below which it stores, as configured.
    pub root: PathBuf,
    /// Intervals that it was handed and has not stored yet, oldest first.
    pub unwritten: Vec<UnwrittenInterval>,
}

/// What the endpoints ask the agent for, besides its manager.
pub trait AgentView: Send + Sync {
    /// All metrics in Prometheus' text format, made anew at each call. May block.
    ///
    /// # Errors
    ///
    /// The text cannot be made: a sentence.
    fn metrics(&self) -> Result<String, String>;

    /// The tasks that the agent waits for, in the order in which they began; none if it is ready.
    fn waiting_for(&self) -> Vec<&'static str>;

    /// What each sink did and how it is, by name.
    fn sinks(&self) -> BTreeMap<String, SinkStatus>;

    /// What the states in a report say is wrong.
    fn troubles(&self, report: &StatusReport) -> Vec<Trouble>;

    /// The sinks that store in a directory, with what they have not stored yet.
    fn stores(&self) -> Vec<SinkStore>;

    /// Passes on to every sink that a person has confirmed the clock. Does not wait for them.
    fn confirm_clock(&self);

    /// How long rotations took since the agent started.
    fn rotation_durations(&self) -> DurationHistogram;

    /// The interval of rotations in force.
    fn rotation_interval(&self) -> Duration;
}

/// What the endpoints answer from.
#[derive(Clone)]
pub struct ApiState {
    /// The build of the agent.
    pub build: Build,
    /// Metrics, readiness and sinks.
    pub agent: Arc<dyn AgentView>,
    /// What everything else follows.
    pub manager: Arc<Manager>,
    /// What takes on another configuration.
    pub reloader: Arc<dyn Reload>,
    /// File of the configuration, if there is one.
    pub config_path: Option<PathBuf>,
    /// Kernel memory of all maps, if there are any.
    pub maps_bytes: Option<u64>,
}

/// The endpoints before they are bound.
pub struct Api;

/// The endpoints, bound: clients connect already, and wait until they are served.
#[derive(Default)]
pub struct BoundApi {
    metrics: Option<(TcpListener, SocketAddr)>,
    tcp: Option<Guarded>,
    unix: Option<(UnixListener, SocketFile)>,
}

/// A TCP address with those who may use it.
struct Guarded {
    listener: TcpListener,
    addr: SocketAddr,
    access: Access,
    tls: Option<TlsAcceptor>,
}

impl fmt::Debug for BoundApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = f.debug_struct("BoundApi");
        told.field("metrics_addr", &self.metrics_addr());
        told.field("addr", &self.addr()).finish()
    }
}

impl Api {
    /// Binds the addresses of the configuration. Needs no runtime.
    ///
    /// # Errors
    ///
    /// [`ApiError::Address`]: no address, or one that other hosts reach although there are no keys.
    /// [`ApiError::Secret`]: a key or certificate cannot be used. [`ApiError::InUse`] and
    /// [`ApiError::Listen`]: the kernel refuses the address. [`ApiError::Directory`] and
    /// [`ApiError::NotASocket`]: the unix socket cannot be made at its path.
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
            Some(Endpoint::Tcp(addr)) => bound.tcp = Some(guard(addr, config)?),
            Some(Endpoint::Unix(path)) => bound.unix = Some(SocketFile::bind(&path)?),
            None => {}
        }
        Ok(bound)
    }

    /// A runtime for [`BoundApi::serve`]: one thread, and a few for what blocks.
    ///
    /// # Errors
    ///
    /// The system starts no thread, or makes no event loop.
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

fn guard(addr: SocketAddr, config: &ApiConfig) -> Result<Guarded, ApiError> {
    let keys = secrets::keys(&config.keys)?;
    let access = if keys.is_empty() {
        if !addr.ip().is_loopback() {
            return Err(ApiError::Address {
                key: "addr",
                problem: "can be reached from outside, and there are no keys".to_owned(),
            });
        }
        Access::without_key(addr)
    } else {
        Access::Keys(keys.into())
    };
    let tls = config.tls.as_ref().map(secrets::acceptor).transpose()?;
    let (listener, addr) = bind_tcp(addr, "addr")?;
    Ok(Guarded {
        listener,
        addr,
        access,
        tls,
    })
}

impl BoundApi {
    /// Where `/metrics` is, with the real port if 0 was asked for.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|(_, addr)| *addr)
    }

    /// Where the API is, with the real port if 0 was asked for.
    pub fn addr(&self) -> Option<Endpoint> {
        let tcp = self.tcp.as_ref().map(|tcp| Endpoint::Tcp(tcp.addr));
        let unix = self.unix.as_ref();
        tcp.or_else(|| unix.map(|(_, file)| Endpoint::Unix(file.path().to_owned())))
    }

    /// Where the API is, as clients have it.
    fn told_addr(&self) -> Option<String> {
        let is_tls = self.tcp.as_ref().is_some_and(|tcp| tcp.tls.is_some());
        Some(AgentAddr::new(self.addr()?, is_tls).to_string())
    }

    /// Answers until `shutdown` comes, and then finishes the open requests, if they are quick.
    ///
    /// # Errors
    ///
    /// The runtime cannot take over a bound socket, or the system starts no thread. Nothing is served then.
    pub async fn serve(
        self,
        state: ApiState,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let (stop, stopped) = watch::channel(());
        let troubles = state.manager.troubles().clone();
        let occupancy = |number, addr: String| Occupancy::new(troubles.clone(), number, addr);
        let server = Server::new(state, self.told_addr(), stopped.clone())?;
        let mut servers = JoinSet::new();
        if let Some((listener, addr)) = self.metrics {
            let access = Access::without_key(addr);
            let listener = listening(listener)?;
            info!(%addr, "serving metrics");
            let router = routes::metrics_router(server.clone());
            let stopped = stopped.clone();
            let occupancy = occupancy(0, addr.to_string());
            servers.spawn(serve::serve(
                listener, None, access, router, occupancy, stopped,
            ));
        }
        if let Some(tcp) = self.tcp {
            let listener = listening(tcp.listener)?;
            info!(addr = %tcp.addr, tls = tcp.tls.is_some(), "serving the API");
            if tcp.tls.is_none() && !tcp.addr.ip().is_loopback() {
                warn!(addr = %tcp.addr, "keys are sent in the clear; set api.tls");
            }
            let router = routes::api_router(server.clone());
            let stopped = stopped.clone();
            let occupancy = occupancy(1, tcp.addr.to_string());
            let Guarded { tls, access, .. } = tcp;
            servers.spawn(serve::serve(
                listener, tls, access, router, occupancy, stopped,
            ));
        }
        if let Some((listener, file)) = self.unix {
            info!(path = %file.path().display(), "serving the API on a unix socket");
            let router = routes::api_router(server);
            let occupancy = occupancy(2, format!("unix:{}", file.path().display()));
            let listener = SocketListener::new(listener, file)?;
            let access = Access::Peer;
            servers.spawn(serve::serve(
                listener, None, access, router, occupancy, stopped,
            ));
        }
        shutdown.await;
        drop(stop);
        if timeout(DRAIN_TIMEOUT, servers.join_all()).await.is_err() {
            warn!("HTTP requests were still open at the end of the drain and were cut off");
        }
        Ok(())
    }
}

fn listening(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}
