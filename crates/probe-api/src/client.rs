//! A client of the API of a running agent, for the command line: blocking, over the unix socket or
//! TCP, with errors that say what to do.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    runtime, time,
};

use crate::{
    Problem,
    reload::ReloadReport,
    v1::{
        flows::{
            self, Flows, FlowsQuery,
            groups::{self, FlowGroups, GroupsQuery},
            interval::{self, RunningInterval},
        },
        info::{self, Info},
        interfaces::{self, Interfaces},
        ledger::{self, LedgerReport},
        reload,
        retention::{self, Confirmed},
        rotation::{self, Rotated, RotationReport},
        status::{self, StatusReport},
    },
};

mod address;
mod silence;
mod tls;

use self::tls::Tls;
pub use self::{address::AgentAddr, tls::Trust};

/// Environment variable with the key, if no file is given.
pub const KEY_VARIABLE: &str = "PROBE_API_KEY";

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a reload may take: hundreds of interfaces take seconds.
const RELOAD_TIMEOUT: Duration = Duration::from_mins(5);

/// Why an agent did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No agent listens on the socket or address.
    #[error(
        "no agent answers on {endpoint}: {reason}; is it running (`systemctl status probe-agent`), \
         and is this its api.addr?"
    )]
    NotRunning {
        /// Path or address at which the agent was expected.
        endpoint: String,
        /// What the system said.
        reason: String,
    },
    /// The socket is somebody else's.
    #[error(
        "cannot open the socket {path}: permission denied; it belongs to user {uid} and group \
         {gid}: become root, or a member of that group", path = path.display()
    )]
    Permission {
        /// Path of the agent's unix socket.
        path: PathBuf,
        /// User id of the socket's owner.
        uid: u32,
        /// Group id of the socket's group.
        gid: u32,
    },
    /// The key is missing, wrong, or does not allow this.
    #[error("the agent refused: {detail}; give a key of it by --key-file FILE or {KEY_VARIABLE}")]
    Refused {
        /// Detail of the agent's answer, a sentence.
        detail: String,
    },
    /// The key cannot be read.
    #[error("cannot read the key from {path}: {source}", path = path.display())]
    KeyFile {
        /// Path of the key's file.
        path: PathBuf,
        /// Cause, as the system tells it.
        source: io::Error,
    },
    /// The agent answered with an error.
    #[error("{}", .0.detail)]
    Problem(Problem),
    /// The certificates to trust cannot be used.
    #[error("cannot use the certificates of {path}: {reason}; give a PEM file by --ca-file", path = path.display())]
    CaFile {
        /// Path of the file with certificates.
        path: PathBuf,
        /// Why they cannot be used, a sentence.
        reason: String,
    },
    /// Neither a name of DNS nor an IP address.
    #[error("`{}` is no name that a certificate can be for; give a DNS name or an IP address by --server-name", .0.escape_debug())]
    ServerName(String),
    /// TLS itself cannot be used.
    #[error("cannot use TLS: {0}")]
    Unusable(String),
    /// The agent cannot prove who it is, or speaks no TLS.
    #[error("no TLS connection to {endpoint}: {reason}; {remedy}")]
    Tls {
        /// Address of the agent.
        endpoint: String,
        /// Cause, as the TLS library tells it.
        reason: String,
        /// What to try, as an imperative.
        remedy: &'static str,
    },
    /// Connection or answer broke.
    #[error("cannot talk to the agent on {endpoint}: {reason}")]
    Broken {
        /// Socket or address of the agent.
        endpoint: String,
        /// Cause of the failure, a sentence.
        reason: String,
    },
}

/// Talks to one agent. A connection for each request.
pub struct Client {
    endpoint: AgentAddr,
    tls: Option<Tls>,
    key: Option<String>,
    runtime: runtime::Runtime,
    /// The agent's process, once a unix socket has told it.
    process: OnceLock<i32>,
}

impl Client {
    /// A client of the agent at this address. `key` is sent with every request. An agent with TLS
    /// is trusted if the system trusts its certificate.
    ///
    /// # Errors
    ///
    /// As [`Self::with_trust`].
    pub fn new(endpoint: impl Into<AgentAddr>, key: Option<String>) -> Result<Self, ClientError> {
        Self::with_trust(endpoint, key, &Trust::default())
    }

    /// As [`Self::new`], and an agent with TLS is trusted by these certificates. They are of no
    /// account without TLS.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unusable`]: the system makes no event loop, for example because too many files
    /// are open. [`ClientError::CaFile`]: the certificates cannot be read.
    /// [`ClientError::ServerName`]: no certificate can be for such a name.
    pub fn with_trust(
        endpoint: impl Into<AgentAddr>,
        key: Option<String>,
        trust: &Trust,
    ) -> Result<Self, ClientError> {
        let endpoint = endpoint.into();
        let tls = match &endpoint {
            AgentAddr::Tcp {
                host, is_tls: true, ..
            } => Some(trust.connector(host)?),
            _ => None,
        };
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| ClientError::Unusable(error.to_string()))?;
        Ok(Self {
            endpoint,
            tls,
            key,
            runtime,
            process: OnceLock::new(),
        })
    }

    /// Reads the key from a file, or from [`KEY_VARIABLE`] if there is none.
    ///
    /// # Errors
    ///
    /// [`ClientError::KeyFile`]: the file cannot be read, or is not UTF-8.
    pub fn find_key(file: Option<&Path>) -> Result<Option<String>, ClientError> {
        let Some(path) = file else {
            return Ok(std::env::var(KEY_VARIABLE).ok());
        };
        let text = fs::read_to_string(path).map_err(|source| ClientError::KeyFile {
            path: path.to_owned(),
            source,
        })?;
        Ok(Some(text.trim().to_owned()))
    }

    /// Which agent it is.
    ///
    /// # Errors
    ///
    /// As [`Self::request`].
    pub fn info(&self) -> Result<Info, ClientError> {
        self.get(info::PATH, "")
    }

    /// State of the agent and of all interfaces, or of those named.
    ///
    /// # Errors
    ///
    /// As [`Self::request`]; [`ClientError::Problem`] with status 404 where a named interface is
    /// not captured.
    pub fn status(&self, ifaces: &[String]) -> Result<StatusReport, ClientError> {
        self.get(status::PATH, &named(ifaces))
    }

    /// The captured interfaces, all or those named.
    ///
    /// # Errors
    ///
    /// As [`Self::request`]; [`ClientError::Problem`] with status 404 where a named interface is
    /// not captured.
    pub fn interfaces(&self, ifaces: &[String]) -> Result<Interfaces, ClientError> {
        self.get(interfaces::PATH, &named(ifaces))
    }

    /// The ledgers of all interfaces, or of those named.
    ///
    /// # Errors
    ///
    /// As [`Self::request`]; [`ClientError::Problem`] with status 404 where a named interface is
    /// not captured.
    pub fn ledger(&self, ifaces: &[String]) -> Result<LedgerReport, ClientError> {
        self.get(ledger::PATH, &named(ifaces))
    }

    /// When flows are written.
    ///
    /// # Errors
    ///
    /// As [`Self::request`].
    pub fn rotation(&self) -> Result<RotationReport, ClientError> {
        self.get(rotation::PATH, "")
    }

    /// Ends the running interval now.
    ///
    /// # Errors
    ///
    /// As [`Self::request`]; [`ClientError::Refused`] where the key may only read,
    /// [`ClientError::Problem`] where the source cannot switch banks.
    pub fn rotate(&self) -> Result<Rotated, ClientError> {
        self.request(Method::POST, rotation::PATH, "", None)
    }

    /// Confirms the clock, where retention does not believe it.
    ///
    /// # Errors
    ///
    /// As for [`Self::request`]; [`ClientError::Refused`] also if the key may only read.
    pub fn confirm_clock(&self) -> Result<Confirmed, ClientError> {
        self.request(Method::POST, retention::PATH, "", None)
    }

    /// Lets the agent read its configuration file again, or only tell what that would change.
    ///
    /// # Errors
    ///
    /// As [`Self::request`], after 5 minutes instead of 30 s. [`ClientError::Refused`]: the key may
    /// only read. [`ClientError::Problem`]: the configuration cannot be read or taken over.
    pub fn reload(&self, dry_run: bool) -> Result<ReloadReport, ClientError> {
        let query = if dry_run { "dry_run=true" } else { "" };
        self.request_within(RELOAD_TIMEOUT, Method::POST, reload::PATH, query, None)
    }

    /// Flows of the running interval.
    ///
    /// # Errors
    ///
    /// As [`Self::request`]; [`ClientError::Problem`] where a parameter of the query is wrong, or a
    /// named interface is not captured.
    pub fn flows(&self, query: &FlowsQuery) -> Result<Flows, ClientError> {
        self.get(flows::PATH, &query.encode())
    }

    /// Sums of the flows of the running interval.
    ///
    /// # Errors
    ///
    /// As [`Self::flows`]; [`ClientError::Problem`] also where there are more groups than an answer may
    /// have.
    pub fn flow_groups(&self, query: &GroupsQuery) -> Result<FlowGroups, ClientError> {
        self.get(groups::PATH, &query.encode())
    }

    /// The running interval as it would be stored now, and what is not stored yet. Of the query, `sort` and
    /// `order` have to be `None`.
    ///
    /// # Errors
    ///
    /// As [`Self::flows`].
    pub fn running_interval(&self, query: &FlowsQuery) -> Result<RunningInterval, ClientError> {
        self.get(interval::PATH, &query.encode())
    }

    /// Asks for one resource.
    ///
    /// # Errors
    ///
    /// As [`Self::request`].
    pub fn get<T: DeserializeOwned>(&self, path: &str, query: &str) -> Result<T, ClientError> {
        self.request(Method::GET, path, query, None)
    }

    /// Sends a request, with a JSON document if there is one, and reads the answer.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotRunning`], [`ClientError::Permission`] and [`ClientError::Tls`]: there is no
    /// connection. [`ClientError::Refused`]: status 401 or 403. [`ClientError::Problem`]: another status of
    /// failure, with its document. [`ClientError::Broken`]: the connection broke, the agent has given no sign
    /// of life for 8 s, 30 s are over, or the answer is not understood.
    pub fn request<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &str,
        body: Option<Vec<u8>>,
    ) -> Result<T, ClientError> {
        self.request_within(TIMEOUT, method, path, query, body)
    }

    fn request_within<T: DeserializeOwned>(
        &self,
        timeout: Duration,
        method: Method,
        path: &str,
        query: &str,
        body: Option<Vec<u8>>,
    ) -> Result<T, ClientError> {
        let answer = self.runtime.block_on(async {
            let answer = self.exchange(method, path, query, body);
            tokio::select! {
                answer = time::timeout(timeout, answer) => {
                    answer.map_err(|_| self.late(timeout))?
                }
                silent = self.silence() => Err(silent),
            }
        })?;
        serde_json::from_slice(&answer).map_err(|error| {
            self.broken(format!(
                "its answer is not understood ({error}); are agent and command of one version?"
            ))
        })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        query: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Bytes, ClientError> {
        match &self.endpoint {
            AgentAddr::Unix(socket) => {
                let stream = UnixStream::connect(socket).await;
                let stream = stream.map_err(|error| self.unreachable(&error))?;
                self.learn_process(&stream);
                self.exchange_over(stream, method, path, query, body).await
            }
            AgentAddr::Tcp { host, port, .. } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                let stream = stream.map_err(|error| self.unreachable(&error))?;
                match &self.tls {
                    None => self.exchange_over(stream, method, path, query, body).await,
                    Some(Tls { connector, name }) => {
                        let stream = connector.connect(name.clone(), stream).await;
                        let stream = stream.map_err(|error| self.untrusted(&error))?;
                        self.exchange_over(stream, method, path, query, body).await
                    }
                }
            }
        }
    }

    async fn exchange_over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        method: Method,
        path: &str,
        query: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Bytes, ClientError> {
        let broken = |error: &dyn std::error::Error| self.broken(error.to_string());
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| broken(&error))?;
        let connection = tokio::spawn(connection);
        let request = self.build(method, path, query, body);
        let response = sender.send_request(request.map_err(|error| broken(&error))?);
        let response = response.await.map_err(|error| self.no_answer(&error))?;
        let status = response.status();
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| broken(&error))?.to_bytes();
        connection.abort();
        if status.is_success() {
            return Ok(body);
        }
        Err(self.refusal(status, &body))
    }

    fn build(
        &self,
        method: Method,
        path: &str,
        query: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Request<BoxBody<Bytes, std::convert::Infallible>>, hyper::http::Error> {
        let target = if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{query}")
        };
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, self.endpoint.authority())
            .header(header::ACCEPT, "application/json");
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        match body {
            Some(body) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(Full::from(body).boxed()),
            None => request.body(Empty::new().boxed()),
        }
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> ClientError {
        let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
            return self.broken(format!("it answered with {status}"));
        };
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return ClientError::Refused {
                detail: problem.detail,
            };
        }
        ClientError::Problem(problem)
    }

    fn broken(&self, reason: String) -> ClientError {
        ClientError::Broken {
            endpoint: self.endpoint.to_string(),
            reason,
        }
    }

    /// The connection ended before an answer came.
    fn no_answer(&self, error: &hyper::Error) -> ClientError {
        let hint = match &self.endpoint {
            AgentAddr::Tcp { is_tls: false, .. } => {
                "; if the agent has api.tls, write https:// before the address"
            }
            _ => "",
        };
        self.broken(format!("{error}{hint}"))
    }

    fn untrusted(&self, error: &io::Error) -> ClientError {
        ClientError::Tls {
            endpoint: self.endpoint.to_string(),
            reason: error.to_string(),
            remedy: tls::remedy(error),
        }
    }

    fn unreachable(&self, error: &io::Error) -> ClientError {
        let metadata = match &self.endpoint {
            AgentAddr::Unix(path) => fs::symlink_metadata(path).ok().map(|it| (path, it)),
            AgentAddr::Tcp { .. } => None,
        };
        match (error.kind(), metadata) {
            (io::ErrorKind::PermissionDenied, Some((path, metadata))) => ClientError::Permission {
                path: path.clone(),
                uid: metadata.uid(),
                gid: metadata.gid(),
            },
            // Of a unix socket: connections wait, and no more may.
            (io::ErrorKind::WouldBlock, Some(_)) => self.broken(format!(
                "it takes no connection, and as many as may wait do; {}",
                self.condition()
            )),
            _ => ClientError::NotRunning {
                endpoint: self.endpoint.to_string(),
                reason: error.to_string(),
            },
        }
    }
}

fn named(ifaces: &[String]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(ifaces.iter().map(|iface| ("iface", iface)));
    query.finish()
}
