//! One request over the agent's unix socket.
//!
//! By hyper, which the agent answers with: it is small without what TLS, redirects and pools of connections
//! take, and reads an answer of known or unknown length as it comes.

use std::{io, path::Path};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{net::UnixStream, time::Instant};

use super::{State, in_time};

/// 100,000 flows are 40 MB.
const MOST_OCTETS: usize = 256 << 20;

/// Why an agent gives no running interval.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Nobody listens at the socket.
    NotRunning,
    /// It has none of the asked stores.
    OtherStore,
    /// A sentence with cause and remedy.
    Other(String),
}

impl Refusal {
    pub(super) fn into_state(self) -> State {
        match self {
            Self::NotRunning => State::NotRunning,
            Self::OtherStore => State::OfAnotherStore,
            Self::Other(why) => State::Refused { why },
        }
    }
}

/// What the agent says where it refuses (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// The body of the answer.
pub(super) async fn get(socket: &Path, target: &str, deadline: Instant) -> Result<Bytes, Refusal> {
    in_time(deadline, exchange(socket, target)).await
}

async fn exchange(socket: &Path, target: &str) -> Result<Bytes, Refusal> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| unreachable(socket, &error))?;
    let broken = |error: &dyn std::error::Error| {
        Refusal::Other(format!("the agent's answer broke off: {error}; ask again"))
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    // Ends with the sender.
    tokio::spawn(connection);
    let request = Request::get(target)
        .header(header::HOST, "probe")
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(&error))?;
    let response = sender.send_request(request).await;
    let response = response.map_err(|error| broken(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MOST_OCTETS).collect();
    let body = body.await.map_err(|error| broken(&*error))?.to_bytes();
    if status.is_success() {
        return Ok(body);
    }
    Err(refused(status, &body))
}

fn unreachable(socket: &Path, error: &io::Error) -> Refusal {
    match error.kind() {
        // No file, a file that an agent has left, or one that is no socket.
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Refusal::NotRunning,
        io::ErrorKind::PermissionDenied => Refusal::Other(format!(
            "permission denied at {}; become root, or a member of the socket's group",
            socket.display()
        )),
        _ => Refusal::Other(format!(
            "cannot connect to {}: {error}; give the agent's api.addr by --socket",
            socket.display()
        )),
    }
}

fn refused(status: StatusCode, body: &[u8]) -> Refusal {
    let problem = serde_json::from_slice::<Problem>(body);
    let detail = problem.map_or_else(|_| format!("status {status}"), |problem| problem.detail);
    Refusal::Other(if status == StatusCode::NOT_FOUND {
        format!(
            "the agent is of an older version, which does not give it ({detail}); update the agent"
        )
    } else {
        format!("the agent refuses: {detail}")
    })
}
