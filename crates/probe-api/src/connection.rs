//! A connection that ends when its client is silent for too long, or takes an answer too slowly.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::places::{Answering, Place};

/// A client that neither sends nor takes anything for so long is disconnected.
const IDLE_TIMEOUT: Duration = Duration::from_mins(2);

/// How often it is checked that a client takes its answer. Only the time counts in which there is
/// something to take.
const WINDOW: Duration = Duration::from_secs(10);

/// Octets of an answer that the kernel must take for a client in each window: 64 KiB a second.
const LEAST: usize = 640 << 10;

/// A connection that ends when its client is silent for too long, or takes an answer too slowly.
pub(super) struct Connection<T> {
    io: T,
    idle: Pin<Box<Sleep>>,
    /// While an answer is under way, since the client first did not keep up.
    slow: Option<Slow>,
    place: Option<Arc<Place>>,
}

/// What a client takes that has not kept up with its answer.
struct Slow {
    /// Octets since the last check.
    taken: usize,
    /// When the next check is.
    check: Pin<Box<Sleep>>,
    /// How much of the window was left when there was nothing more to take.
    paused: Option<Duration>,
}

impl Slow {
    fn new() -> Self {
        Self {
            taken: 0,
            check: Box::pin(sleep(WINDOW)),
            paused: None,
        }
    }

    /// The client has taken all that there was.
    fn pause(&mut self) {
        let end = self.check.deadline();
        self.paused
            .get_or_insert_with(|| end.saturating_duration_since(Instant::now()));
    }

    /// While there is something to take: whether the client is too slow.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if let Some(left) = self.paused.take() {
            self.check.as_mut().reset(Instant::now() + left);
        }
        ready!(self.check.as_mut().poll(context));
        if std::mem::take(&mut self.taken) < LEAST {
            return Poll::Ready(io::ErrorKind::TimedOut.into());
        }
        self.check.as_mut().reset(Instant::now() + WINDOW);
        // So that somebody wakes us: it has just begun.
        let check = self.check.as_mut().poll(context);
        check.map(|()| io::ErrorKind::TimedOut.into())
    }
}

impl<T> Connection<T> {
    pub(super) fn new(io: T) -> Self {
        Self {
            io,
            idle: Box::pin(sleep(IDLE_TIMEOUT)),
            slow: None,
            place: None,
        }
    }

    /// Tells the place what has been sent.
    pub(super) fn at(self, place: &Arc<Place>) -> Self {
        Self {
            place: Some(Arc::clone(place)),
            ..self
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let read = Pin::new(&mut this.io).poll_read(context, buffer);
        if read.is_ready() {
            this.idle.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
            return read;
        }
        ready!(this.idle.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Connection<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match Pin::new(&mut this.io).poll_write(context, bytes) {
            Poll::Pending => this
                .slow
                .get_or_insert_with(Slow::new)
                .poll(context)
                .map(Err),
            written @ Poll::Ready(_) => {
                // Who reads a stream is not silent.
                this.idle.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
                if let (Some(slow), Poll::Ready(Ok(octets))) = (&mut this.slow, &written) {
                    slow.taken = slow.taken.saturating_add(*octets);
                }
                written
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let flushed = Pin::new(&mut this.io).poll_flush(context);
        if flushed.is_ready() {
            let is_answering = this.place.as_ref().is_some_and(|place| {
                place.sent();
                place.is_answering()
            });
            match &mut this.slow {
                // It has taken what there is; an answer comes piece by piece.
                Some(slow) if is_answering => slow.pause(),
                slow => *slow = None,
            }
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// The body of an answer, which keeps its connection's place until all of it is handed over.
pub(super) struct Answer<B> {
    body: B,
    _answering: Option<Answering>,
}

impl<B> Answer<B> {
    pub(super) const fn new(body: B, answering: Option<Answering>) -> Self {
        Self {
            body,
            _answering: answering,
        }
    }
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixStream,
        time::{Instant, sleep},
    };

    use super::{Connection, IDLE_TIMEOUT, WINDOW};

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_disconnected() {
        let (io, _client) = UnixStream::pair().expect("a pair");
        let begin = Instant::now();
        let read = Connection::new(io).read(&mut [0; 8]).await;
        let error = read.expect_err("nothing came");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begin.elapsed() >= IDLE_TIMEOUT);
    }

    /// A byte now and then keeps no answer in memory.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_its_answer_too_slowly_is_disconnected() {
        let (io, mut client) = UnixStream::pair().expect("a pair");
        let slow = tokio::spawn(async move {
            let mut taken = vec![0; 4096];
            while client.read_exact(&mut taken).await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let begin = Instant::now();
        let written = Connection::new(io).write_all(&vec![0; 64 << 20]).await;
        let error = written.expect_err("it takes hours");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!((WINDOW..3 * WINDOW).contains(&begin.elapsed()));
        slow.abort();
    }

    #[tokio::test]
    async fn a_client_that_keeps_up_gets_all_of_it() {
        let (io, mut client) = UnixStream::pair().expect("a pair");
        let reading = tokio::spawn(async move {
            let mut taken = Vec::new();
            client.read_to_end(&mut taken).await.map(|_| taken.len())
        });
        let mut connection = Connection::new(io);
        connection.write_all(&vec![0; 8 << 20]).await.expect("sent");
        drop(connection);
        assert_eq!(reading.await.expect("it ends").expect("read"), 8 << 20);
    }
}
