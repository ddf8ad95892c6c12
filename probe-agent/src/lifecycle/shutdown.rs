//! The end of the agent: the signals that ask for it, and a drain that has a deadline.

use std::{fmt, future::pending, io, process, time::Duration};

use futures_util::FutureExt;
use nix::sys::signal::SigSet;
use rustix::process::Signal;
use tokio::{
    signal::unix::{self, SignalKind, signal},
    time::{Instant, timeout_at},
};
use tracing::{info, warn};

use crate::telemetry;
use probe_datapath::expedite;

/// What asked the agent to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StopSignal {
    /// SIGINT, from a terminal.
    Interrupt,
    /// SIGTERM, from the service manager.
    Terminate,
}

impl StopSignal {
    /// Exit code of a process that ends by the signal, as shells have it: 128 + its number.
    const fn exit_code(self) -> i32 {
        match self {
            Self::Interrupt => 128 + 2,
            Self::Terminate => 128 + 15,
        }
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Request {
    /// To read the configuration again: SIGHUP.
    Reload,
    /// A signal to stop the agent.
    Stop(StopSignal),
}

/// A signal that follows within this time belongs to the one before it.
const SAME_REQUEST: Duration = Duration::from_secs(1);

/// Signals that are kept back: they would end a process that does not handle them yet, and ask an agent for
/// something else.
#[derive(Debug)]
pub struct KeptBack(SigSet);

impl KeptBack {
    /// Keeps them back from now on, for the calling thread and those that it starts. The first thing to do.
    ///
    /// # Errors
    ///
    /// The system does not allow it.
    pub fn new() -> io::Result<Self> {
        use nix::sys::signal::Signal::{SIGHUP, SIGUSR1, SIGUSR2, SIGXFSZ};
        let signals = SigSet::from_iter([SIGHUP, SIGUSR1, SIGUSR2, SIGXFSZ]);
        signals.thread_block()?;
        Ok(Self(signals))
    }

    /// Lets the calling thread have them, also those that have come meanwhile. For when there are
    /// [`Signals`].
    ///
    /// # Errors
    ///
    /// The system does not allow it.
    pub fn release(self) -> io::Result<()> {
        Ok(self.0.thread_unblock()?)
    }
}

/// The signals that the agent handles. Those that come before anybody waits are kept, so set it up
/// before anything is bound.
pub struct Signals {
    hangup: unix::Signal,
    interrupt: unix::Signal,
    terminate: unix::Signal,
    /// Taken over so that one sent by habit ("reopen your log") does not end the agent, nor a file that
    /// may not become so large: its writer is told.
    _harmless: [unix::Signal; 3],
}

impl Signals {
    /// Takes the signals over. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// The system lets the process handle no signals.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            _harmless: [
                signal(SignalKind::user_defined1())?,
                signal(SignalKind::user_defined2())?,
                signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?,
            ],
        })
    }

    /// Waits for the next request. May be dropped and called again.
    pub async fn request(&mut self) -> Request {
        let stop = tokio::select! {
            hangup = self.hangup.recv() => {
                if hangup.is_none() {
                    // The runtime is going down; so does the task that waits here.
                    pending::<()>().await;
                }
                return Request::Reload;
            }
            _ = self.interrupt.recv() => StopSignal::Interrupt,
            _ = self.terminate.recv() => StopSignal::Terminate,
        };
        info!(signal = %stop, "stopping");
        Request::Stop(stop)
    }

    /// Waits until the agent is to stop: it is too late for anything else.
    async fn stop(&mut self) -> StopSignal {
        loop {
            match self.request().await {
                Request::Stop(stop) => return stop,
                Request::Reload => warn!("SIGHUP: the agent is stopping and reads nothing again"),
            }
        }
    }

    /// From a second later on the next signal ends the process at once: somebody is tired of the
    /// drain. The kernel detaches the programs together with the links that the process holds.
    ///
    /// Sooner it is the same request twice: `timeout` and service managers signal a process and
    /// then its group.
    pub fn exit_on_next(mut self) {
        tokio::spawn(async move {
            tokio::time::sleep(SAME_REQUEST).await;
            while self.stop().now_or_never().is_some() {}
            let stop = self.stop().await;
            warn!(signal = %stop, "second signal, exiting without the rest of the drain");
            expedite::put_back_own();
            telemetry::flush();
            process::exit(stop.exit_code());
        });
    }
}

/// Ends the process by the first signal to stop, while it starts: as the signal would do by itself, but
/// for grace periods of RCU, which are put back before. Meant to be aborted when the start is over.
pub async fn exit_while_starting(mut signals: Signals) {
    loop {
        if let Request::Stop(stop) = signals.request().await {
            expedite::put_back_own();
            telemetry::flush();
            process::exit(stop.exit_code());
        }
    }
}

/// The steps of the drain, which share one deadline. They run one after the other, in the reverse
/// order of the start.
pub struct Drain {
    started: Instant,
    deadline: Instant,
    budget: Duration,
    unfinished: Vec<&'static str>,
}

/// What became of a drain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DrainOutcome {
    /// How long it took.
    pub took: Duration,
    /// How long it was given.
    pub budget: Duration,
    /// The steps that were given up.
    pub unfinished: Vec<&'static str>,
}

impl Drain {
    /// Starts the clock of a shutdown with this budget.
    pub fn new(budget: Duration) -> Self {
        let started = Instant::now();
        Self {
            started,
            deadline: started + budget,
            budget,
            unfinished: Vec::new(),
        }
    }

    /// Waits for a step, but not beyond the deadline. A step that comes after it still gets its
    /// chance to be done at once.
    ///
    /// What blocks must be on a thread of its own, and the step the wait for it.
    pub async fn step<T>(
        &mut self,
        name: &'static str,
        step: impl Future<Output = T>,
    ) -> Option<T> {
        let outcome = timeout_at(self.deadline, step).await.ok();
        if outcome.is_none() {
            self.unfinished.push(name);
        }
        outcome
    }

    /// What is left of the budget.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// How long the drain took, its budget, and what it left unfinished.
    pub fn finish(self) -> DrainOutcome {
        DrainOutcome {
            took: self.started.elapsed(),
            budget: self.budget,
            unfinished: self.unfinished,
        }
    }
}

impl DrainOutcome {
    /// Whether every step was done.
    pub fn is_clean(&self) -> bool {
        self.unfinished.is_empty()
    }
}

impl fmt::Display for DrainOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return write!(f, "drained in {} ms", self.took.as_millis());
        }
        let (budget, steps) = (self.budget.as_millis(), self.unfinished.join(", "));
        write!(f, "gave up after {budget} ms on: {steps}")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        time::Duration,
    };

    use super::Drain;

    #[tokio::test]
    async fn steps_share_one_deadline() {
        let mut drain = Drain::new(Duration::from_millis(20));
        assert_eq!(drain.step("api", ready(1)).await, Some(1));
        assert_eq!(drain.step("capture", pending::<()>()).await, None);
        assert_eq!(drain.remaining(), Duration::ZERO);
        assert_eq!(drain.step("sinks", pending::<()>()).await, None);
        assert_eq!(drain.step("log", ready(2)).await, Some(2), "needs no time");
        let outcome = drain.finish();
        assert!(!outcome.is_clean());
        assert_eq!(
            outcome.to_string(),
            "gave up after 20 ms on: capture, sinks"
        );
    }

    #[tokio::test]
    async fn a_clean_drain_says_how_long_it_took() {
        let mut drain = Drain::new(Duration::from_secs(10));
        drain.step("api", ready(())).await;
        let outcome = drain.finish();
        assert!(outcome.is_clean());
        assert!(outcome.to_string().starts_with("drained in "));
    }
}
