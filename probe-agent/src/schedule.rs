//! Scheduled writeouts: a rotation at every wall-clock multiple of the interval.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    clock::{next_multiple, until},
    manager::Manager,
};

/// The clock is looked at this often while waiting, so that a step of it is noticed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The thread that rotates. Dropping it ends the schedule.
#[derive(Debug)]
pub struct Schedule {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Schedule {
    /// Rotates at the next multiple of the interval, and at every one after that.
    pub fn start(manager: Arc<Manager>, interval: Duration) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("rotation".into())
            .spawn(move || run(&manager, interval, &stopped))?;
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

fn run(manager: &Manager, interval: Duration, stopped: &mpsc::Receiver<()>) {
    let mut due = next_multiple(Timestamp::now(), interval);
    loop {
        let now = Timestamp::now();
        // A clock that was set back must not leave us waiting for a far-away hour.
        due = due.min(next_multiple(now, interval));
        if now < due {
            let remaining = until(now, due);
            match stopped.recv_timeout(remaining.min(LOOK_AGAIN)) {
                Err(mpsc::RecvTimeoutError::Timeout) => continue,
                Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
        rotate(manager, interval);
        due = next_multiple(Timestamp::now(), interval);
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
