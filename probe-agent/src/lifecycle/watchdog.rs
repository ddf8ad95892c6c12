//! The watchdog: tells the service manager, again and again, that the agent is alive, and only as long
//! as it is.
//!
//! A thread of its own, so that it can tell when the others hang: it asks the manager, every drain
//! thread and the runtime of the endpoints. The agent that is not told to (no `WATCHDOG_USEC`) is
//! checked all the same, for the log and the metrics.
//!
//! An agent without CPU time is slow, and not dead: to end it would lose what it holds, and the next
//! one would be as slow. So an answer that does not come in time counts only if the agent could run
//! meanwhile. Otherwise the agent is given longer, and the service manager is told so.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use sd_notify::NotifyState;
use tokio::runtime::Handle;

use self::run_delay::RunDelays;
use probe_capture::manager::{Manager, Unhealthy};

mod run_delay;

/// How often it asks: seldom, since each time some four threads wake up, and a CPU that sleeps with them.
const EVERY: Duration = Duration::from_secs(5);

/// Times that it asks before the service manager loses patience, where that comes sooner.
const LOOKS_IN_TIME: u32 = 3;

/// But no more often than this, whatever the service manager wants: the check would be all that it does.
const SOONEST: Duration = Duration::from_millis(100);

/// How long an answer may take. A rotation of a million flows on a slow host takes less.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the agent must have been able to run before an answer counts as missing.
const LEAST_RUN: Duration = Duration::from_secs(5);

/// How much longer each answer may take than the last one that did not count as missing.
const LONGER: u32 = 4;

/// The longest that an answer may take, however little the agent runs.
const LONGEST_PATIENCE: Duration = Duration::from_mins(20);

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
                let limit = sd_notify::watchdog_enabled();
                let every = every(limit);
                let mut watch = Watch::new(limit);
                // Nothing is ever sent: anything but a timeout says that the handle was dropped.
                while stopped.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
                    let (before, asked) = (RunDelays::read(), Instant::now());
                    let answer = check(&manager, &runtime, watch.patience);
                    let ran = answer.is_err().then(|| {
                        let waited = RunDelays::read().longest_since(&before);
                        asked.elapsed().saturating_sub(waited)
                    });
                    watch.report(answer, ran.unwrap_or_default());
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

fn check(manager: &Manager, runtime: &Handle, patience: Duration) -> Result<(), NoAnswer> {
    let asked = Instant::now();
    let (answer, answered) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // The caller may have given up.
        let _ = answer.send(());
    });
    manager.check_health(patience)?;
    answered
        .recv_timeout(patience.saturating_sub(asked.elapsed()))
        .map_err(|_| NoAnswer::Runtime(patience))
}

/// What the last answers were.
#[derive(Debug)]
struct Watch {
    /// Within which time the service manager wants to be told.
    limit: Option<Duration>,
    /// How long the next answer may take.
    patience: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Alive,
    /// It does not answer, and could hardly run.
    Starved,
    /// It could run, and does not answer.
    Dead,
}

impl Watch {
    fn new(limit: Option<Duration>) -> Self {
        Self {
            limit,
            patience: PATIENCE,
            state: State::Alive,
        }
    }

    /// Takes on an answer, with the time in which the agent could run while it was waited for: feeds
    /// the watchdog of the service manager, or says once why not.
    fn report(&mut self, answer: Result<(), NoAnswer>, ran: Duration) {
        let before = self.take_on(answer, ran);
        let messages = self.messages(before);
        if !messages.is_empty()
            && let Err(error) = sd_notify::notify(&messages)
        {
            tracing::debug!(%error, "cannot notify the service manager");
        }
    }

    /// Returns what the state was before.
    fn take_on(&mut self, answer: Result<(), NoAnswer>, ran: Duration) -> State {
        let before = std::mem::replace(&mut self.state, state_of(&answer, ran));
        self.patience = match self.state {
            State::Alive => PATIENCE,
            State::Starved => (LONGER * self.patience).min(LONGEST_PATIENCE),
            State::Dead => self.patience,
        };
        match answer {
            Ok(()) if before != State::Alive => tracing::info!("the agent answers again"),
            Err(error) if self.state == State::Dead && before != State::Dead => {
                tracing::error!(%error, "the agent does not answer");
            }
            Err(error) if before == State::Alive => tracing::warn!(
                %error,
                ?ran,
                "the agent hardly gets CPU time and is slow to answer; give it more (CPUQuota=, CPUWeight=)"
            ),
            _ => {}
        }
        before
    }

    /// What the service manager is to be told. It waits as much longer as the agent does; an older one
    /// than systemd 236 does not.
    fn messages(&self, before: State) -> Vec<NotifyState<'static>> {
        let Some(limit) = self.limit else {
            return Vec::new();
        };
        let times = self.patience.div_duration_f64(PATIENCE);
        let within = |limit: Duration| {
            let micros = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX);
            NotifyState::WatchdogUsec(micros)
        };
        match (self.state, before) {
            (State::Alive, State::Alive) => vec![NotifyState::Watchdog],
            (State::Alive, _) => vec![NotifyState::Watchdog, within(limit)],
            (State::Starved, _) => vec![NotifyState::Watchdog, within(limit.mul_f64(times))],
            (State::Dead, State::Starved) => vec![within(limit)],
            (State::Dead, _) => Vec::new(),
        }
    }
}

/// An answer that is missing counts only if the agent could run.
fn state_of(answer: &Result<(), NoAnswer>, ran: Duration) -> State {
    match answer {
        Ok(()) => State::Alive,
        // CPU time does not bring it back.
        Err(NoAnswer::Capture(Unhealthy::Gone(_))) => State::Dead,
        Err(_) if ran < LEAST_RUN => State::Starved,
        Err(_) => State::Dead,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{NoAnswer, PATIENCE, State, Unhealthy, Watch, every, state_of};

    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn a_service_manager_without_patience_is_told_in_time() {
        assert_eq!(every(None), Duration::from_secs(5));
        assert_eq!(every(Some(LIMIT)), Duration::from_secs(5));
        assert_eq!(every(Some(Duration::from_secs(6))), Duration::from_secs(2));
        assert_eq!(every(Some(Duration::ZERO)), Duration::from_millis(100));
    }

    #[test]
    fn a_thread_that_is_gone_does_not_lack_cpu_time() {
        let gone = Err(Unhealthy::Gone(0).into());
        assert_eq!(state_of(&gone, Duration::ZERO), State::Dead);
    }

    /// What the service manager is told of an answer, or of none while the agent ran for so long.
    fn told(watch: &mut Watch, ran_ms: Option<u64>) -> String {
        let answer = ran_ms.map_or(Ok(()), |_| Err(NoAnswer::Runtime(watch.patience)));
        let before = watch.take_on(answer, Duration::from_millis(ran_ms.unwrap_or_default()));
        let messages = watch.messages(before).into_iter();
        messages
            .map(|it| it.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn an_agent_that_could_not_run_is_given_longer() {
        let mut watch = Watch::new(Some(LIMIT));
        assert_eq!(told(&mut watch, None), "WATCHDOG=1");
        // 3 % of a CPU.
        assert_eq!(
            told(&mut watch, Some(300)),
            "WATCHDOG=1 WATCHDOG_USEC=120000000"
        );
        assert_eq!(
            told(&mut watch, Some(1200)),
            "WATCHDOG=1 WATCHDOG_USEC=480000000"
        );
        assert_eq!(told(&mut watch, None), "WATCHDOG=1 WATCHDOG_USEC=30000000");
        assert_eq!(told(&mut watch, None), "WATCHDOG=1");
        assert_eq!(watch.patience, PATIENCE);
        // However little it is, the message has room for it.
        for _ in 0..10 {
            assert!(told(&mut watch, Some(0)).starts_with("WATCHDOG=1 WATCHDOG_USEC="));
        }
        assert_eq!(watch.patience, Duration::from_mins(20));
    }

    #[test]
    fn an_agent_that_could_run_and_does_not_answer_is_given_up() {
        let mut watch = Watch::new(Some(LIMIT));
        assert_eq!(told(&mut watch, Some(9990)), "");
        assert_eq!(told(&mut watch, Some(9990)), "");
        assert_eq!(watch.state, State::Dead);
        assert_eq!(told(&mut watch, None), "WATCHDOG=1 WATCHDOG_USEC=30000000");
        // It hung while it could hardly run.
        assert!(told(&mut watch, Some(300)).starts_with("WATCHDOG=1 "));
        assert_eq!(told(&mut watch, Some(30_000)), "WATCHDOG_USEC=30000000");
        assert_eq!(told(&mut watch, Some(30_000)), "");
    }
}
