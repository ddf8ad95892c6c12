//! Serving one address: connections, their bounds, and their end.

use std::{
    convert::Infallible,
    io,
    os::fd::AsFd,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, serve::Listener};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::{RecvFlags, recv, sockopt::set_socket_send_buffer_size};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest},
    net::{TcpStream, UnixStream},
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::{
    access::{Access, Client},
    connection::{Answer, Connection},
    occupancy::{Occupancy, PERIOD},
    places::{Class, Holder, PATIENCE, Places},
};

mod waiting;

use self::waiting::Waiting;

/// How long a client may take for the head of a request, and to be silent between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest head of a request, in octets: also a filter that is too long is told so.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Most header lines of a request.
const MAX_HEADERS: usize = 64;

/// What a newcomer is told where all others are at work.
const NO_PLACE: &str = "HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/problem+json\r\nretry-after: 5\r\nconnection: close\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\
    \"detail\":\"all places for connections are taken; ask again later\"}";

/// Octets that the kernel keeps of an answer; it doubles them for its own. By default that is
/// megabytes. A slow client then takes nothing for a while, and afterwards all at once, so that its
/// speed shows over minutes only.
const SEND_BUFFER_BYTES: usize = 128 << 10;

/// How long a newcomer without a place may take to hear of it.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// A stream that may know who is at its other end.
pub(super) trait Peer: AsFd {
    /// Whose share it counts for.
    fn holder(&self) -> Holder;

    /// Whether a request came from it, or its end. Who asks is woken when that changes.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()>;

    /// The user, if the kernel tells.
    fn uid(&self) -> Option<u32> {
        None
    }
}

impl Peer for TcpStream {
    fn holder(&self) -> Holder {
        // One that is gone already has no address any more.
        let addr = self.peer_addr().map(|addr| addr.ip());
        Holder::of_address(addr.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into()))
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        let has_come = || self.try_io(Interest::READABLE, || peek(self));
        poll_peeked(context, |context| self.poll_read_ready(context), has_come)
    }
}

impl Peer for UnixStream {
    fn holder(&self) -> Holder {
        self.uid().map_or(Holder::UNKNOWN, Holder::User)
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        let has_come = || self.try_io(Interest::READABLE, || peek(self));
        poll_peeked(context, |context| self.poll_read_ready(context), has_come)
    }

    fn uid(&self) -> Option<u32> {
        self.peer_cred().ok().map(|peer| peer.uid())
    }
}

/// Whether it has really come: a stream counts as ready until somebody has tried to read.
fn poll_peeked(
    context: &mut Context<'_>,
    poll_ready: impl Fn(&mut Context<'_>) -> Poll<io::Result<()>>,
    has_come: impl Fn() -> io::Result<()>,
) -> Poll<()> {
    loop {
        if ready!(poll_ready(context)).is_err() {
            return Poll::Ready(());
        }
        match has_come() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => return Poll::Ready(()),
        }
    }
}

/// Looks, without taking it, whether the head of a request is there, or much of one, or the end.
fn peek(io: impl AsFd) -> io::Result<()> {
    let mut head = [0; 4096];
    let (octets, _) = recv(io, &mut head, RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
    let is_whole = octets == 0 || octets == head.len();
    let is_end = |octets: &[u8]| octets == b"\r\n\r\n";
    if is_whole || head[..octets].windows(4).any(is_end) {
        return Ok(());
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// What each connection of an address needs, and those that there are.
struct Door {
    tls: Option<TlsAcceptor>,
    access: Access,
    router: Router,
    stopped: watch::Receiver<()>,
    places: Places,
    connections: JoinSet<()>,
}

impl Door {
    fn class(&self, io: &impl Peer) -> Class {
        if self.access.is_admin(io.uid()) {
            Class::Member
        } else {
            Class::Guest
        }
    }

    /// Lets one in, or gives it back where there is no place.
    fn admit<T>(&mut self, io: T) -> Option<T>
    where
        T: Peer + AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Some(place) = self.places.enter(io.holder(), self.class(&io)) else {
            return Some(io);
        };
        let place = Arc::new(place);
        let client = Client::new(self.access.clone(), io.uid()).at(&place);
        let io = Connection::new(io).at(&place);
        let (tls, router, stopped) = (self.tls.clone(), self.router.clone(), self.stopped.clone());
        self.connections.spawn(async move {
            tokio::select! {
                () = converse(io, tls, client, router, stopped) => {}
                () = place.evicted() => tracing::debug!("a connection gave way to another"),
            }
        });
        None
    }
}

/// Answers until `stopped` comes, and then finishes what is open.
pub(super) async fn serve<L>(
    mut listener: L,
    tls: Option<TlsAcceptor>,
    access: Access,
    router: Router,
    mut occupancy: Occupancy,
    mut stopped: watch::Receiver<()>,
) where
    L: Listener,
    L::Io: Peer,
{
    let mut door = Door {
        tls,
        access,
        router,
        stopped: stopped.clone(),
        places: Places::default(),
        connections: JoinSet::new(),
    };
    // Root alone is kept waiting, by nobody but root, and nobody waits behind it.
    let mut waiting = Waiting::new();
    let mut looks = interval(PERIOD);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            (io, _) = listener.accept(), if !waiting.is_full() => {
                if let Err(error) = set_socket_send_buffer_size(&io, SEND_BUFFER_BYTES) {
                    tracing::debug!(%error, "a connection keeps its send buffer");
                }
                if door.class(&io) == Class::Member {
                    waiting.push(io);
                } else if let Some(io) = door.admit(io) {
                    let is_tls = door.tls.is_some();
                    door.connections.spawn(refuse(io, is_tls));
                }
            }
            () = waiting.asked(), if !waiting.is_empty() => {}
            // Time alone may make room, too.
            _ = timeout(PATIENCE, door.places.changed()), if !waiting.is_empty() => {}
            _ = looks.tick() => occupancy.look(&door.places),
            // Nothing is ever sent: an error says that the sender was dropped, which is the signal.
            _ = stopped.changed() => break,
            // Done ones are let go while others come.
            Some(_) = door.connections.join_next() => {}
        }
        waiting.admit(&mut door, Door::admit, |door| {
            !door.places.is_full(Class::Member)
        });
    }
    drop(listener);
    door.connections.join_all().await;
}

/// A handshake costs too much for those who are sent away: over TLS they are not told.
async fn refuse(mut io: impl AsyncWrite + Unpin, is_tls: bool) {
    if !is_tls {
        // Who does not listen is not told.
        let _ = timeout(REFUSAL_TIMEOUT, io.write_all(NO_PLACE.as_bytes())).await;
    }
}

async fn converse(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    tls: Option<TlsAcceptor>,
    client: Client,
    router: Router,
    stopped: watch::Receiver<()>,
) {
    let Some(tls) = tls else {
        return answer(io, client, router, stopped).await;
    };
    let shaken = timeout(HANDSHAKE_TIMEOUT, tls.accept(io)).await;
    match shaken.map_err(io::Error::from).flatten() {
        Ok(io) => answer(io, client, router, stopped).await,
        Err(error) => tracing::debug!(%error, "no TLS connection"),
    }
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
        let answering = client.answering();
        let answered = router.clone().oneshot(request);
        async move {
            let response = answered.await?;
            Ok::<_, Infallible>(response.map(|body| Body::new(Answer::new(body, answering))))
        }
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

#[cfg(test)]
mod tests;
