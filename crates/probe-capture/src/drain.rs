//! Drain threads: each owns one stream of a source and feeds the captures.
//!
//! A drain thread never waits for a lock, a writeout or a reader. A record whose capture is locked
//! (rotation, live query) or whose interval has not begun yet goes into the capture's local buffer
//! and is replayed as soon as that is over, some at a time between two passes over the stream.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use probe_common::record::Record;

use self::router::Router;
use crate::{
    capture::Capture,
    source::{Drained, RecordStream, SourceError, Waker},
};
use probe_flow::local_buffer::LocalBufferPool;

mod router;

/// How long a thread sleeps before it checks again whether a capture is free whose records wait in a
/// local buffer.
const STUCK_POLL: Duration = Duration::from_micros(200);

/// What a drain thread is told.
enum Command {
    /// Feed the records of this capture to its flow log.
    Add(Arc<Capture>),
    /// The capture of this ifindex is over.
    Remove(u32),
    /// Answer once what lay in the stream has been handed over.
    Ping(mpsc::SyncSender<()>),
    /// Answer when all records submitted before this command have been handed over, and those that
    /// were kept back of this bank, which is closed.
    Sync(Option<u8>, mpsc::SyncSender<Result<(), SourceError>>),
}

/// Handle of a drain thread. Dropping it ends the thread.
#[derive(Debug)]
pub struct DrainThread {
    commands: Option<mpsc::Sender<Command>>,
    waker: Waker,
    thread: Option<thread::JoinHandle<()>>,
}

impl DrainThread {
    /// Starts a thread for a stream. `on_end` is called once if the stream comes to its end or
    /// fails, with the error.
    ///
    /// # Errors
    ///
    /// The system starts no thread.
    pub fn spawn(
        name: String,
        stream: Box<dyn RecordStream>,
        pool: Arc<LocalBufferPool>,
        on_end: impl FnOnce(Option<SourceError>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let waker = stream.waker();
        let mut worker = Worker {
            stream,
            router: Router::new(pool),
            inbox,
            state: WorkerState::Running,
        };
        let thread = thread::Builder::new().name(name).spawn(move || {
            worker.stream.on_thread_start();
            worker.run(on_end);
        })?;
        let unparked = thread.thread().clone();
        Ok(Self {
            waker: waker.unwrap_or_else(|| Waker::new(move || unparked.unpark())),
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

    /// Asks for an answer once all records submitted before this call have been handed over, with
    /// those that the source has kept back of `closed_bank`. The receiver fails if the thread is
    /// gone.
    pub fn sync(&self, closed_bank: Option<u8>) -> mpsc::Receiver<Result<(), SourceError>> {
        let (done, receiver) = mpsc::sync_channel(1);
        self.send(Command::Sync(closed_bank, done));
        receiver
    }

    /// Asks for an answer once what lies in the stream has been handed over: a sign of life, and how
    /// long it takes tells how far behind the thread is. Unlike [`Self::sync`] it makes the thread
    /// wait for no reader.
    pub fn ping(&self) -> mpsc::Receiver<()> {
        let (done, receiver) = mpsc::sync_channel(1);
        self.send(Command::Ping(done));
        receiver
    }

    fn send(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // A thread that is gone has dropped its inbox; `sync` shows it to the caller.
            drop(commands.send(command));
            self.waker.wake();
        }
    }
}

impl Drop for DrainThread {
    fn drop(&mut self) {
        self.commands = None;
        self.waker.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a drain thread panicked");
        }
    }
}

enum WorkerState {
    Running,
    /// The stream has ended; commands are still answered.
    Ended,
}

struct Worker {
    stream: Box<dyn RecordStream>,
    router: Router,
    inbox: mpsc::Receiver<Command>,
    state: WorkerState,
}

impl Worker {
    fn run(&mut self, on_end: impl FnOnce(Option<SourceError>)) {
        let mut on_end = Some(on_end);
        loop {
            let mut records = 0;
            if matches!(self.state, WorkerState::Running) {
                match self.drain() {
                    Ok(Drained::Records(drained)) => records = drained,
                    Ok(Drained::Idle) => {}
                    ended => {
                        self.state = WorkerState::Ended;
                        if let Some(on_end) = on_end.take() {
                            on_end(ended.err());
                        }
                    }
                }
            } else {
                self.router.replay();
            }
            match self.handle_commands() {
                Ok(0) => self.wait(records),
                Ok(_) => {}
                Err(Disconnected) => return,
            }
        }
    }

    fn drain(&mut self) -> Result<Drained, SourceError> {
        self.router.replay();
        let router = &mut self.router;
        let drained = self
            .stream
            .drain(&mut |records: &[Record<'_>]| router.handle_records(records));
        router.release();
        drained
    }

    /// Sleeps, unless there is more to do: what waits in local buffers comes first.
    fn wait(&mut self, records: usize) {
        if self.router.is_stuck() {
            thread::park_timeout(STUCK_POLL);
        } else if !self.router.is_behind() {
            self.stream.wait(records);
        }
    }

    fn handle_commands(&mut self) -> Result<usize, Disconnected> {
        let mut handled = 0;
        loop {
            match self.inbox.try_recv() {
                Ok(Command::Add(capture)) => self.router.add(capture),
                Ok(Command::Remove(ifindex)) => self.router.remove(ifindex),
                Ok(Command::Sync(closed_bank, done)) => {
                    let result = self.drain_for_sync(closed_bank);
                    // The caller may have given up.
                    drop(done.send(result));
                }
                Ok(Command::Ping(done)) => {
                    // An error, or the end, shows again in the next turn of `run`.
                    if matches!(self.state, WorkerState::Running) {
                        drop(self.drain());
                    }
                    // The caller may have given up.
                    let _ = done.send(());
                }
                Err(mpsc::TryRecvError::Empty) => return Ok(handled),
                Err(mpsc::TryRecvError::Disconnected) => return Err(Disconnected),
            }
            handled += 1;
        }
    }

    /// One pass over the stream: it hands over whatever was submitted before.
    fn drain_for_sync(&mut self, closed_bank: Option<u8>) -> Result<(), SourceError> {
        if matches!(self.state, WorkerState::Ended) {
            self.router.replay();
            return Ok(());
        }
        // The end of the stream shows again, and is reported, in the next turn of `run`.
        self.drain()?;
        if let Some(bank) = closed_bank {
            let router = &mut self.router;
            let drained = self
                .stream
                .drain_closed(bank, &mut |records| router.handle_records(records));
            router.release();
            drained?;
        }
        // Records of the closed bank that met a reader's lock are waiting in local buffers.
        self.router.replay_all();
        Ok(())
    }
}

struct Disconnected;

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use probe_common::record::Record;

    use super::DrainThread;
    use crate::source::{Drained, PolledStream, RecordStream};
    use probe_flow::local_buffer::LocalBufferPool;

    /// A stream that hangs until it is told to go on.
    fn hanging(until: mpsc::Receiver<()>) -> impl RecordStream {
        PolledStream::new(move |_: &mut dyn FnMut(&[Record<'_>])| {
            // An error says that the test is over.
            let _ = until.recv();
            Ok(Drained::Idle)
        })
    }

    #[test]
    fn a_thread_that_hangs_does_not_answer_and_one_that_lives_does() {
        let (go_on, hang) = mpsc::channel();
        let pool = LocalBufferPool::new(1, 4096);
        let stream = Box::new(hanging(hang));
        let drain = DrainThread::spawn("drain-test".to_owned(), stream, pool, drop).unwrap();
        let answer = drain.ping();
        let waited = answer.recv_timeout(Duration::from_millis(20));
        assert_eq!(waited, Err(mpsc::RecvTimeoutError::Timeout));
        drop(go_on);
        assert_eq!(answer.recv_timeout(Duration::from_secs(10)), Ok(()));
    }
}
