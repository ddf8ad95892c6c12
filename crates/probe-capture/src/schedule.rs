//! Scheduled writeouts: a rotation at every wall-clock multiple of the interval, and flushes in
//! between.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::{
    clock::{next_multiple, until},
    manager::Manager,
};

/// The clock is read this often while waiting, so that a step of it is noticed.
const READ_CLOCK_EVERY: Duration = Duration::from_secs(1);

/// A rotation that is later than this is overdue.
const LATE: Duration = Duration::from_secs(10);

/// The interval of a schedule, which may change while it runs, and when its next rotation is due.
#[derive(Clone, Debug)]
pub struct IntervalSetting(Arc<Setting>);

#[derive(Debug)]
struct Setting {
    seconds: AtomicU64,
    due: Mutex<Option<Instant>>,
}

impl IntervalSetting {
    /// Whole seconds, at least one.
    pub fn new(interval: Duration) -> Self {
        Self(Arc::new(Setting {
            seconds: AtomicU64::new(interval.as_secs()),
            due: Mutex::default(),
        }))
    }

    /// Takes effect within a second.
    pub fn set(&self, interval: Duration) {
        let seconds = interval.as_secs();
        self.0.seconds.store(seconds, Ordering::Relaxed);
    }

    /// The interval in force.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.0.seconds.load(Ordering::Relaxed).max(1))
    }

    /// How late the next rotation is, if that is ten seconds or more: the thread hangs, or gets no CPU time.
    pub fn overdue(&self, now: Instant) -> Option<Duration> {
        let due = (*self.0.due.lock())?;
        let late = now.saturating_duration_since(due);
        (late >= LATE).then_some(late)
    }

    fn set_due(&self, due: Instant) {
        *self.0.due.lock() = Some(due);
    }
}

/// The thread that rotates. Dropping it ends the schedule.
#[derive(Debug)]
pub struct Schedule {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Schedule {
    /// Rotates at the next multiple of the interval, and at every one after that, and flushes so
    /// often.
    ///
    /// # Errors
    ///
    /// The system starts no thread.
    pub fn start(
        manager: Arc<Manager>,
        interval: IntervalSetting,
        flush_interval: Duration,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("rotation".into())
            .spawn(move || run(&manager, &interval, flush_interval, &stopped))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the rotation thread panicked");
        }
    }
}

fn run(
    manager: &Manager,
    setting: &IntervalSetting,
    flush_interval: Duration,
    stopped: &mpsc::Receiver<()>,
) {
    let mut flush_due = Instant::now() + flush_interval;
    let mut interval = setting.interval();
    let mut due = next_multiple(Timestamp::now(), interval);
    loop {
        let now = manager.read_clock().moment.wall;
        if interval != setting.interval() {
            interval = setting.interval();
            due = next_multiple(now, interval);
        }
        // A clock that was set back must not leave us waiting for a far-away hour.
        due = due.min(next_multiple(now, interval));
        if now < due {
            let remaining = until(now, due);
            setting.set_due(Instant::now() + remaining);
            let to_flush = flush_due.saturating_duration_since(Instant::now());
            match stopped.recv_timeout(remaining.min(READ_CLOCK_EVERY).min(to_flush)) {
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            // A rotation that is due does the same.
            if Instant::now() >= flush_due && Timestamp::now() < due {
                flush(manager);
                flush_due = Instant::now() + flush_interval;
            }
            continue;
        }
        rotate(manager, interval);
        flush_due = Instant::now() + flush_interval;
        due = next_multiple(Timestamp::now(), interval);
    }
}

fn flush(manager: &Manager) {
    if let Err(error) = manager.flush() {
        tracing::error!(%error, "cannot flush; what was counted shows later");
    }
}

fn rotate(manager: &Manager, interval: Duration) {
    match manager.rotate() {
        Ok(rotation) if rotation.duration > interval / 10 => tracing::warn!(
            duration = ?rotation.duration,
            flows = rotation.flows,
            "the rotation took more than a tenth of the interval"
        ),
        Ok(rotation) => tracing::debug!(?rotation, "rotated"),
        Err(error) => tracing::error!(%error, "cannot rotate; the interval goes on"),
    }
}
