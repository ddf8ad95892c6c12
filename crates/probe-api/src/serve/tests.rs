use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    io,
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, routing::get, serve::Listener};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{mpsc, watch},
    task::yield_now,
    time::{Instant, interval, sleep, timeout, timeout_at},
};

use probe_capture::trouble::Troubles;

use super::Peer;
use crate::{
    access::Access,
    occupancy::Occupancy,
    places::{Holder, MAX_PLACES},
};

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
    let occupancy = Occupancy::new(Arc::new(Troubles::default()), 0, String::new());
    tokio::spawn(super::serve(
        listener,
        None,
        Access::Peer,
        router,
        occupancy,
        stopped,
    ));
    stop
}

/// A connection of a user that the test chooses.
struct Of(u32, UnixStream);

impl AsFd for Of {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.1.as_fd()
    }
}

impl Peer for Of {
    fn holder(&self) -> Holder {
        Holder::User(self.0)
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.1.poll_readable(context)
    }

    fn uid(&self) -> Option<u32> {
        Some(self.0)
    }
}

impl AsyncRead for Of {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.1).poll_read(context, buffer)
    }
}

impl AsyncWrite for Of {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.1).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.1).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.1).poll_shutdown(context)
    }
}

/// Takes the connections that the test makes.
struct Queue(mpsc::UnboundedReceiver<Of>);

impl Listener for Queue {
    type Io = Of;
    type Addr = ();

    async fn accept(&mut self) -> (Of, ()) {
        match self.0.recv().await {
            Some(io) => (io, ()),
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
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

#[tokio::test(start_paused = true)]
async fn nobody_waits_behind_a_connection_of_root() {
    let (connect, queue) = mpsc::unbounded_channel();
    let _stop = serve(Queue(queue));
    let ask = async |uid| {
        let (io, mut client) = UnixStream::pair().expect("a pair");
        connect.send(Of(uid, io)).map_err(drop).expect("it serves");
        let request = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
        client.write_all(request).await.expect("sent");
        client
    };
    let is_answered = async |client: &mut UnixStream| {
        let first = timeout(Duration::from_secs(3), client.read(&mut [0; 12])).await;
        first.is_ok_and(|read| read.is_ok_and(|octets| octets > 0))
    };
    let mut at_work = Vec::new();
    for _ in 0..MAX_PLACES {
        let mut client = ask(0).await;
        assert!(is_answered(&mut client).await);
        at_work.push(client);
    }
    let mut waiting = ask(0).await;
    assert!(!is_answered(&mut waiting).await, "all are at work");
    let mut guest = ask(4711).await;
    assert!(is_answered(&mut guest).await, "it has places of its own");
    at_work.pop();
    assert!(is_answered(&mut waiting).await, "one has left");
}

/// Connections that are opened and ask nothing, as of a program that leaks them.
#[tokio::test(start_paused = true)]
async fn connections_that_ask_nothing_hold_up_no_request_of_root() {
    let (connect, queue) = mpsc::unbounded_channel();
    let _stop = serve(Queue(queue));
    let open = || {
        let (io, client) = UnixStream::pair().expect("a pair");
        connect.send(Of(0, io)).map_err(drop).expect("it serves");
        client
    };
    let mut silent: Vec<_> = (0..300).map(|_| open()).collect();
    for client in silent.iter_mut().step_by(2) {
        let part = b"GET /large HTTP/1.1\r\n";
        client.write_all(part).await.expect("sent");
    }
    sleep(Duration::from_millis(10)).await;
    // The places are taken, and it takes them a second to be given away.
    for patience in [1100, 100, 100] {
        let mut client = open();
        let request = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
        client.write_all(request).await.expect("sent");
        let answered = timeout(Duration::from_millis(patience), client.read(&mut [0; 12])).await;
        assert_eq!(answered.expect("in time").expect("read"), 12);
    }
}

/// A stream is taken for ready before anything has come.
#[tokio::test]
async fn a_connection_is_readable_when_a_request_has_come() {
    let folder = tempfile::tempdir().expect("a directory");
    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).expect("bound");
    let mut client = UnixStream::connect(&socket).await.expect("connected");
    let (io, _) = listener.accept().await.expect("accepted");
    let early = poll_fn(|context| Poll::Ready(io.poll_readable(context)));
    assert!(early.await.is_pending());
    client.write_all(b"GET / HTTP/1.1\r\n").await.expect("sent");
    let part = poll_fn(|context| Poll::Ready(io.poll_readable(context)));
    assert!(part.await.is_pending());
    client.write_all(b"\r\n").await.expect("sent");
    poll_fn(|context| io.poll_readable(context)).await;
}

/// The time between two events is not the client's.
#[tokio::test(start_paused = true)]
async fn a_reader_that_keeps_up_with_a_stream_stays() {
    let hour = Duration::from_hours(1);
    let (octets, ended) = read(serve_unix().await, "/events", 100_000, hour).await;
    assert!(!ended, "{octets} octets");
}
