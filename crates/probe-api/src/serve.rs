//! Serving one address: connections, their bounds, and their end.

use std::{io, time::Duration};

use axum::{Router, body::Body, extract::Request, serve::Listener};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::{
    access::{Access, Client},
    connection::Bounded,
};

/// How long a client may take for the head of a request, and to be silent between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest head of a request, in octets: also a filter that is too long is told so.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Most header lines of a request.
const MAX_HEADERS: usize = 64;

/// A stream that may know who is at its other end.
pub(super) trait Peer {
    /// The user, if the kernel tells.
    fn uid(&self) -> Option<u32> {
        None
    }
}

impl Peer for TcpStream {}

impl Peer for UnixStream {
    fn uid(&self) -> Option<u32> {
        self.peer_cred().ok().map(|peer| peer.uid())
    }
}

/// Answers until `stopped` comes, and then finishes what is open.
pub(super) async fn serve<L>(
    listener: L,
    tls: Option<TlsAcceptor>,
    access: Access,
    router: Router,
    mut stopped: watch::Receiver<()>,
) where
    L: Listener,
    L::Io: Peer,
{
    let mut listener = Bounded::new(listener);
    let mut connections = JoinSet::new();
    loop {
        let io = tokio::select! {
            (io, _) = listener.accept() => io,
            // Nothing is ever sent: an error says that the sender was dropped, which is the signal.
            _ = stopped.changed() => break,
            // Done ones are let go while others come.
            Some(_) = connections.join_next() => continue,
        };
        let client = Client {
            access: access.clone(),
            uid: io.get_ref().uid(),
        };
        let (router, stopped) = (router.clone(), stopped.clone());
        match tls.clone() {
            None => {
                connections.spawn(answer(io, client, router, stopped));
            }
            Some(tls) => {
                connections.spawn(async move {
                    let shaken = timeout(HANDSHAKE_TIMEOUT, tls.accept(io)).await;
                    match shaken.map_err(io::Error::from).flatten() {
                        Ok(io) => answer(io, client, router, stopped).await,
                        Err(error) => tracing::debug!(%error, "no TLS connection"),
                    }
                });
            }
        }
    }
    drop(listener);
    connections.join_all().await;
}

/// Answers the requests of one connection.
async fn answer(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    client: Client,
    router: Router,
    mut stopped: watch::Receiver<()>,
) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(client.clone());
        let request: Request = request.map(Body::new);
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        // Whatever a client does wrong is its own business, and must not fill the log.
        tracing::debug!(%error, "a connection ended early");
    }
}
