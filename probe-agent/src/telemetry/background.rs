//! Lines of the log on their way to standard error: who logs never waits for who reads.
//!
//! A pipe whose reader has stopped takes 64 KiB and then blocks, and lines are logged under locks that everything
//! else waits for. So a thread writes them, from a queue with a bound; what finds it full is counted, and told when
//! there is room again. The thread is started late: privileges are dropped by a process that has no other.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::AsFd,
    io::Errno,
};

/// Lines that may wait, in octets: some five thousand.
const MAX_OCTETS: usize = 1 << 20;

/// How long the end waits for lines to be written.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The way of all lines.
#[derive(Debug, Default)]
pub(super) struct Background {
    lines: Mutex<Lines>,
    /// A line came, one was written, or some were lost.
    changed: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Lines {
    /// A thread writes them.
    has_writer: bool,
    waiting: VecDeque<Vec<u8>>,
    octets: usize,
    is_writing: bool,
    /// Lost, and not told yet.
    untold: u64,
}

impl Background {
    /// Takes a line. Before [`Self::start`] it is written at once.
    fn push(&self, line: &[u8]) -> io::Result<()> {
        let mut lines = self.lines.lock();
        if !lines.has_writer {
            drop(lines);
            return io::Write::write_all(&mut io::stderr(), line);
        }
        if lines.octets + line.len() > MAX_OCTETS {
            lines.untold += 1;
            self.lost.fetch_add(1, Relaxed);
        } else {
            lines.octets += line.len();
            lines.waiting.push_back(line.to_vec());
        }
        self.changed.notify_all();
        Ok(())
    }

    /// Has a thread write to `out`, past any lock of the process on it: who is blocked there holds none.
    pub(super) fn start(self: &Arc<Self>, out: impl AsFd + Send + 'static) -> io::Result<()> {
        // Before the thread runs, which ends only with the process.
        self.lines.lock().has_writer = true;
        let background = Arc::clone(self);
        let writer = thread::Builder::new().name("log".to_owned());
        let started = writer.spawn(move || background.write_to(&out));
        started
            .map(drop)
            .inspect_err(|_| self.lines.lock().has_writer = false)
    }

    fn write_to(&self, out: &impl AsFd) {
        loop {
            let mut lines = self.lines.lock();
            while lines.waiting.is_empty() && lines.untold == 0 {
                self.changed.wait(&mut lines);
            }
            lines.is_writing = true;
            if let Some(line) = lines.waiting.pop_front() {
                lines.octets -= line.len();
                drop(lines);
                write_all(out, &line);
            } else {
                let lost = std::mem::take(&mut lines.untold);
                drop(lines);
                tracing::warn!(
                    lost,
                    "lines of the log were lost: nobody read standard error, or too slowly"
                );
            }
            self.lines.lock().is_writing = false;
            self.changed.notify_all();
        }
    }

    /// Waits for a bounded time until all lines are written.
    pub(super) fn flush(&self) {
        self.flush_until(Instant::now() + LAST_LINES);
    }

    fn flush_until(&self, deadline: Instant) {
        let mut lines = self.lines.lock();
        let is_busy = |it: &Lines| it.is_writing || !it.waiting.is_empty() || it.untold > 0;
        while is_busy(&lines) && !self.changed.wait_until(&mut lines, deadline).timed_out() {}
    }

    /// Lines that were lost since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

/// A line that cannot be written (`run 2>&1 | head`, a full disk) is lost, and ends nothing.
fn write_all(out: &impl AsFd, mut line: &[u8]) {
    while !line.is_empty() {
        match rustix::io::write(out, line) {
            Ok(written) => line = &line[written..],
            Err(Errno::INTR) => {}
            // Somebody who shares it has made it so.
            Err(Errno::AGAIN) => {
                let ready = poll(&mut [PollFd::new(out, PollFlags::OUT)], None);
                if ready.is_err_and(|errno| errno != Errno::INTR) {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// Hands each line over whole, as the subscriber writes them.
#[derive(Clone, Debug)]
pub(super) struct LineWriter(pub(super) Arc<Background>);

impl io::Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        sync::Arc,
        thread,
        time::{Duration, Instant},
    };

    use super::{Background, MAX_OCTETS};

    #[test]
    fn nobody_waits_for_a_pipe_that_is_not_read() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let background = Arc::new(Background::default());
        background.start(writer).unwrap();
        let line = [b'x'; 1024];
        let lines = 3 * MAX_OCTETS / line.len();
        for _ in 0..lines {
            background.push(&line).unwrap();
        }
        let lost = usize::try_from(background.lost()).unwrap();
        assert!(lost >= lines / 2, "{lost} of {lines} lost");
        background.flush_until(Instant::now() + Duration::from_millis(10));

        // What was kept comes when somebody reads, in whole lines.
        let reading = thread::spawn(move || {
            let mut kept = vec![0; (lines - lost) * 1024];
            reader.read_exact(&mut kept).unwrap();
            assert!(kept.iter().all(|octet| *octet == b'x'));
        });
        background.flush_until(Instant::now() + Duration::from_mins(1));
        reading.join().unwrap();
        let state = background.lines.lock();
        assert!(!state.is_writing);
        assert_eq!(
            (state.octets, state.untold),
            (0, 0),
            "all is written and told"
        );
    }
}
