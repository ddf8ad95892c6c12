//! Drain threads: each owns one stream of a source and feeds the captures.
//!
//! A drain thread never waits for a lock, a writeout or a reader. A record whose capture is locked
//! (rotation, live query) or whose interval has not begun yet goes into the capture's local buffer
//! and is replayed, in order, as soon as that is over.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use probe_common::record::Record;

use self::router::Router;
use crate::{
    capture::Capture,
    local_buffer::LocalBufferPool,
    source::{Drained, RecordStream, SourceError},
};

mod router;

/// How long an idle thread sleeps before it looks again. The programs submit without wake-up,
/// which would cost more than a look every few milliseconds: at a million packets a second the
/// default ring holds a third of a second.
const IDLE_POLL: Duration = Duration::from_millis(5);

/// What a drain thread is told.
enum Command {
    /// Feed this capture.
    Add(Arc<Capture>),
    /// The capture of this ifindex is over.
    Remove(u32),
    /// Answer when all records submitted before this command have been handed over.
    Sync(mpsc::SyncSender<Result<(), SourceError>>),
}

/// Handle of a drain thread. Dropping it ends the thread.
#[derive(Debug)]
pub struct DrainThread {
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl DrainThread {
    /// Starts a thread for a stream. `on_end` is called once if the stream comes to its end or
    /// fails, with the error.
    pub fn spawn(
        name: String,
        stream: Box<dyn RecordStream>,
        pool: Arc<LocalBufferPool>,
        on_end: impl FnOnce(Option<SourceError>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let mut worker = Worker {
            stream,
            router: Router::new(pool),
            inbox,
            state: State::Running,
        };
        let thread = thread::Builder::new()
            .name(name)
            .spawn(move || worker.run(on_end))?;
        Ok(Self {
            commands: Some(commands),
            thread: Some(thread),
        })
    }

    /// From now on records of the capture's ifindex go to it.
    pub fn add(&self, capture: Arc<Capture>) {
        self.send(Command::Add(capture));
    }

    /// From now on records of this ifindex have no capture.
    pub fn remove(&self, ifindex: u32) {
        self.send(Command::Remove(ifindex));
    }

    /// Asks for an answer once all records submitted before this call have been handed over. The
    /// receiver fails if the thread is gone.
    pub fn sync(&self) -> mpsc::Receiver<Result<(), SourceError>> {
        let (done, receiver) = mpsc::sync_channel(1);
        self.send(Command::Sync(done));
        receiver
    }

    fn send(&self, command: Command) {
        if let (Some(commands), Some(thread)) = (&self.commands, &self.thread) {
            // A thread that is gone has dropped its inbox; `sync` shows it to the caller.
            drop(commands.send(command));
            thread.thread().unpark();
        }
    }
}

impl Drop for DrainThread {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("a drain thread panicked");
            }
        }
    }
}

enum State {
    Running,
    /// The stream has ended; commands are still answered.
    Ended,
}

struct Worker {
    stream: Box<dyn RecordStream>,
    router: Router,
    inbox: mpsc::Receiver<Command>,
    state: State,
}

impl Worker {
    fn run(&mut self, on_end: impl FnOnce(Option<SourceError>)) {
        let mut on_end = Some(on_end);
        loop {
            let mut is_idle = true;
            if matches!(self.state, State::Running) {
                match self.drain() {
                    Ok(Drained::Records(_)) => is_idle = false,
                    Ok(Drained::Idle) => {}
                    ended => {
                        self.state = State::Ended;
                        if let Some(on_end) = on_end.take() {
                            on_end(ended.err());
                        }
                    }
                }
            } else {
                self.router.replay();
            }
            match self.handle_commands() {
                Ok(0) => {}
                Ok(_) => is_idle = false,
                Err(Disconnected) => return,
            }
            if is_idle {
                thread::park_timeout(IDLE_POLL);
            }
        }
    }

    fn drain(&mut self) -> Result<Drained, SourceError> {
        self.router.replay();
        let router = &mut self.router;
        let drained = self
            .stream
            .drain(&mut |record: Record<'_>| router.handle_record(record));
        router.release();
        drained
    }

    fn handle_commands(&mut self) -> Result<usize, Disconnected> {
        let mut handled = 0;
        loop {
            match self.inbox.try_recv() {
                Ok(Command::Add(capture)) => self.router.add(capture),
                Ok(Command::Remove(ifindex)) => self.router.remove(ifindex),
                Ok(Command::Sync(done)) => {
                    let result = self.drain_for_sync();
                    // Who asked may have given up.
                    drop(done.send(result));
                }
                Err(mpsc::TryRecvError::Empty) => return Ok(handled),
                Err(mpsc::TryRecvError::Disconnected) => return Err(Disconnected),
            }
            handled += 1;
        }
    }

    /// One pass over the stream: it hands over whatever was submitted before.
    fn drain_for_sync(&mut self) -> Result<(), SourceError> {
        if matches!(self.state, State::Ended) {
            self.router.replay();
            return Ok(());
        }
        // The end of the stream shows again, and is reported, in the next turn of `run`.
        self.drain()?;
        // Records of the closed bank that met a reader's lock are waiting in local buffers.
        self.router.replay_all();
        Ok(())
    }
}

struct Disconnected;
