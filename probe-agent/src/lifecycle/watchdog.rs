//! The watchdog: tells the service manager, again and again, that the agent is alive, and only as long
//! as it is.
//!
//! A thread of its own, so that it can tell when the others hang: it asks the manager, every drain
//! thread and the runtime of the endpoints. The agent that is not told to (no `WATCHDOG_USEC`) is
//! checked all the same, for the log and the metrics.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use tokio::runtime::Handle;

use probe_capture::manager::{Manager, Unhealthy};

/// How often it asks: seldom, since each time some four threads wake up, and a CPU that sleeps with them.
const EVERY: Duration = Duration::from_secs(5);

/// Times that it asks before the service manager loses patience, where that comes sooner.
const LOOKS_IN_TIME: u32 = 3;

/// But no more often than this, whatever the service manager wants: the check would be all that it does.
const SOONEST: Duration = Duration::from_millis(100);

/// How long an answer may take. A rotation of a million flows on a slow host takes less.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which part does not answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error(transparent)]
    Capture(#[from] Unhealthy),
    #[error("the runtime of the endpoints has not answered for {0:?}")]
    Runtime(Duration),
}

/// Ends when it is dropped.
#[derive(Debug)]
pub struct Watchdog {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watchdog {
    /// Starts the checks in a thread of their own.
    ///
    /// # Errors
    ///
    /// The system starts no thread.
    pub fn start(manager: Arc<Manager>, runtime: Handle) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || {
                let every = every(sd_notify::watchdog_enabled());
                let mut told = false;
                // Nothing is ever sent: anything but a timeout says that the handle was dropped.
                while stopped.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
                    report(check(&manager, &runtime), &mut told);
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the watchdog panicked");
        }
    }
}

/// How often it asks where the service manager wants to be told within `limit`.
fn every(limit: Option<Duration>) -> Duration {
    limit.map_or(EVERY, |limit| (limit / LOOKS_IN_TIME).clamp(SOONEST, EVERY))
}

fn check(manager: &Manager, runtime: &Handle) -> Result<(), NoAnswer> {
    let (answer, answered) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // The caller may have given up.
        let _ = answer.send(());
    });
    manager.check_health(PATIENCE)?;
    answered
        .recv_timeout(PATIENCE)
        .map_err(|_| NoAnswer::Runtime(PATIENCE))
}

/// Feeds the watchdog of the service manager, or says once why not.
fn report(answer: Result<(), NoAnswer>, told: &mut bool) {
    match answer {
        Ok(()) => {
            if std::mem::take(told) {
                tracing::info!("the agent answers again");
            }
            if sd_notify::watchdog_enabled().is_some()
                && let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Watchdog])
            {
                tracing::debug!(%error, "cannot notify the service manager");
            }
        }
        Err(error) if !*told => {
            *told = true;
            tracing::error!(%error, "the agent does not answer");
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::every;

    #[test]
    fn a_service_manager_without_patience_is_told_in_time() {
        assert_eq!(every(None), Duration::from_secs(5));
        assert_eq!(every(Some(Duration::from_secs(30))), Duration::from_secs(5));
        assert_eq!(every(Some(Duration::from_secs(6))), Duration::from_secs(2));
        assert_eq!(every(Some(Duration::ZERO)), Duration::from_millis(100));
    }
}
