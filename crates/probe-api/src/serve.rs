//! Serving one address: connections, their bounds, and their end.

use std::{convert::Infallible, io, os::fd::AsFd, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request, serve::Listener};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::{
    access::{Access, Client},
    connection::{Answer, Connection},
    places::{Class, Holder, PATIENCE, Places},
};

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
}

impl Peer for UnixStream {
    fn holder(&self) -> Holder {
        self.uid().map_or(Holder::UNKNOWN, Holder::User)
    }

    fn uid(&self) -> Option<u32> {
        self.peer_cred().ok().map(|peer| peer.uid())
    }
}

/// Answers until `stopped` comes, and then finishes what is open.
pub(super) async fn serve<L>(
    mut listener: L,
    tls: Option<TlsAcceptor>,
    access: Access,
    router: Router,
    mut stopped: watch::Receiver<()>,
) where
    L: Listener,
    L::Io: Peer,
{
    let places = Places::default();
    let mut connections = JoinSet::new();
    let mut newcomer = None;
    loop {
        let io = tokio::select! {
            (io, _) = listener.accept(), if newcomer.is_none() => io,
            // Time alone may make room, too.
            _ = timeout(PATIENCE, places.changed()), if newcomer.is_some() => match newcomer.take() {
                Some(io) => io,
                None => continue,
            },
            // Nothing is ever sent: an error says that the sender was dropped, which is the signal.
            _ = stopped.changed() => break,
            // Done ones are let go while others come.
            Some(_) = connections.join_next() => continue,
        };
        if let Err(error) = set_socket_send_buffer_size(&io, SEND_BUFFER_BYTES) {
            tracing::debug!(%error, "a connection keeps its send buffer");
        }
        let client = Client::new(access.clone(), io.uid());
        let class = if client.is_admin() {
            Class::Member
        } else {
            Class::Guest
        };
        let Some(place) = places.enter(io.holder(), class) else {
            if class == Class::Member {
                // Root alone is kept waiting, by nobody but root.
                newcomer = Some(io);
            } else {
                connections.spawn(refuse(io, tls.is_some()));
            }
            continue;
        };
        let place = Arc::new(place);
        let (client, io) = (client.at(&place), Connection::new(io).at(&place));
        let (router, tls, stopped) = (router.clone(), tls.clone(), stopped.clone());
        connections.spawn(async move {
            tokio::select! {
                () = converse(io, tls, client, router, stopped) => {}
                () = place.evicted() => tracing::debug!("a connection gave way to another"),
            }
        });
    }
    drop(listener);
    connections.join_all().await;
}

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
mod tests {
    use std::{convert::Infallible, time::Duration};

    use axum::{Router, body::Body, routing::get, serve::Listener};
    use bytes::Bytes;
    use futures_util::stream::{self, Stream, StreamExt};
    use tokio::{
        io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
        net::{TcpListener, TcpStream, UnixListener, UnixStream},
        sync::watch,
        task::yield_now,
        time::{Instant, interval, sleep, timeout_at},
    };

    use super::Peer;
    use crate::access::Access;

    /// Octets of a piece, as answers with many flows have them.
    const PIECE: usize = 32 << 10;

    /// Pieces of a large answer.
    const PIECES: usize = 1000;

    /// Octets that a reader gets who is not let to read on.
    const LITTLE: usize = PIECES * PIECE / 8;

    /// Many pieces, each after another turn of the runtime.
    fn pieces(count: usize) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::iter(0..count).then(|_| async {
            yield_now().await;
            Ok(Bytes::from(vec![0; PIECE]))
        })
    }

    /// Some pieces at once, and a minute later the next ones.
    fn events() -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        let ticks = stream::unfold(interval(Duration::from_mins(1)), |mut ticks| async {
            ticks.tick().await;
            Some(((), ticks))
        });
        ticks.flat_map(|()| Box::pin(pieces(10)))
    }

    /// Serves those answers until the sender is dropped.
    fn serve<L: Listener<Io: Peer, Addr: Send>>(listener: L) -> watch::Sender<()> {
        let router = Router::new()
            .route(
                "/large",
                get(|| async { Body::from_stream(pieces(PIECES)) }),
            )
            .route("/events", get(|| async { Body::from_stream(events()) }));
        let (stop, stopped) = watch::channel(());
        tokio::spawn(super::serve(listener, None, Access::Peer, router, stopped));
        stop
    }

    async fn serve_unix() -> (watch::Sender<()>, UnixStream) {
        let folder = tempfile::tempdir().expect("a directory");
        let socket = folder.path().join("socket");
        let stop = serve(UnixListener::bind(&socket).expect("bound"));
        let client = UnixStream::connect(&socket).await.expect("connected");
        (stop, client)
    }

    async fn serve_tcp() -> (watch::Sender<()>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let addr = listener.local_addr().expect("an address");
        let stop = serve(listener);
        (stop, TcpStream::connect(addr).await.expect("connected"))
    }

    /// Asks, and reads so many octets a second up to a time: how many it got, and whether the answer
    /// ended.
    async fn read<T: AsyncRead + AsyncWrite + Unpin>(
        (_stop, mut client): (watch::Sender<()>, T),
        path: &str,
        per_second: usize,
        time: Duration,
    ) -> (usize, bool) {
        let until = Instant::now() + time;
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.expect("sent");
        let mut octets = 0;
        while Instant::now() < until {
            let mut second = vec![0; per_second];
            let mut left = &mut second[..];
            while !left.is_empty() {
                match timeout_at(until, client.read(left)).await {
                    Err(_) => return (octets, false),
                    Ok(Ok(0) | Err(_)) => return (octets, true),
                    Ok(Ok(count)) => {
                        octets += count;
                        left = &mut left[count..];
                    }
                }
            }
            sleep(Duration::from_secs(1)).await;
        }
        (octets, false)
    }

    /// It empties again and again all that the agent holds, and would take many minutes.
    #[tokio::test(start_paused = true)]
    async fn a_reader_that_is_too_slow_is_disconnected() {
        // What the kernel has taken is sent all the same.
        let minutes = Duration::from_mins(10);
        for per_second in [8_000, 20_000, 30_000, 50_000] {
            let (octets, ended) = read(serve_unix().await, "/large", per_second, minutes).await;
            assert!(
                ended && octets < LITTLE,
                "unix: {octets} octets, {per_second} a second"
            );
            let (octets, ended) = read(serve_tcp().await, "/large", per_second, minutes).await;
            assert!(
                ended && octets < LITTLE,
                "TCP: {octets} octets, {per_second} a second"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_of_100_kb_a_second_gets_all_of_its_answer() {
        let minutes = Duration::from_mins(10);
        let (octets, _) = read(serve_unix().await, "/large", 100_000, minutes).await;
        assert!(octets > PIECES * PIECE, "unix: {octets}");
        let (octets, _) = read(serve_tcp().await, "/large", 100_000, minutes).await;
        assert!(octets > PIECES * PIECE, "TCP: {octets}");
    }

    /// The time between two events is not the client's.
    #[tokio::test(start_paused = true)]
    async fn a_reader_that_keeps_up_with_a_stream_stays() {
        let hour = Duration::from_hours(1);
        let (octets, ended) = read(serve_unix().await, "/events", 100_000, hour).await;
        assert!(!ended, "{octets} octets");
    }
}
