//! Bounds on what clients may hold: the agent's descriptors are needed for its files.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// A client that neither sends nor takes anything for so long is disconnected.
const IDLE_TIMEOUT: Duration = Duration::from_mins(2);

/// Connections of one address at a time; more wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 64;

/// A listener that keeps the bounds.
pub(super) struct Bounded<L> {
    listener: L,
    permits: Arc<Semaphore>,
}

impl<L> Bounded<L> {
    pub(super) fn new(listener: L) -> Self {
        Self {
            listener,
            permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        }
    }
}

impl<L: Listener> Listener for Bounded<L> {
    type Io = Connection<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, L::Addr) {
        // The semaphore is never closed; without a permit the connection is merely not counted.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let (io, addr) = self.listener.accept().await;
        let connection = Connection {
            io,
            idle: Box::pin(sleep(IDLE_TIMEOUT)),
            _permit: permit,
        };
        (connection, addr)
    }

    fn local_addr(&self) -> io::Result<L::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when its client is silent for too long.
pub(super) struct Connection<T> {
    io: T,
    idle: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl<T> Connection<T> {
    /// What it is made over.
    pub(super) const fn get_ref(&self) -> &T {
        &self.io
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
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        if written.is_ready() {
            // Who reads a stream is not silent.
            self.idle.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io, pin::Pin, time::Duration};

    use axum::serve::Listener;
    use tokio::{
        io::{AsyncRead, ReadBuf},
        net::UnixStream,
        time::{sleep, timeout},
    };

    use super::{Bounded, Connection, MAX_CONNECTIONS};

    /// Always has one more client, which says nothing.
    struct ManyClients(Vec<UnixStream>);

    impl Listener for ManyClients {
        type Io = UnixStream;
        type Addr = ();

        async fn accept(&mut self) -> (UnixStream, ()) {
            let (ours, theirs) = UnixStream::pair().expect("a pair");
            self.0.push(theirs);
            (ours, ())
        }

        fn local_addr(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn one_too_many_waits_until_another_leaves() {
        let mut listener = Bounded::new(ManyClients(Vec::new()));
        let mut connections = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            connections.push(listener.accept().await);
        }
        let short = Duration::from_millis(20);
        assert!(timeout(short, listener.accept()).await.is_err());
        connections.pop();
        let next = timeout(Duration::from_secs(10), listener.accept()).await;
        assert!(next.is_ok(), "there is room for it");
    }

    #[tokio::test]
    async fn a_silent_client_is_disconnected() {
        let (io, _client) = UnixStream::pair().expect("a pair");
        let mut connection = Connection {
            io,
            idle: Box::pin(sleep(Duration::from_millis(5))),
            _permit: None,
        };
        let mut bytes = [0; 8];
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = poll_fn(|context| Pin::new(&mut connection).poll_read(context, &mut buffer));
        let read = timeout(Duration::from_secs(10), read).await;
        let error = read.expect("it ends by itself").expect_err("nothing came");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
