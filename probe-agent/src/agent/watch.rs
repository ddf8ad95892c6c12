//! What goes on beside the capture: supervision, links that come and go, the configuration file.

use std::{
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Interval, MissedTickBehavior, interval},
};

use super::AgentError;
use crate::{
    metrics::Metrics,
    reload::{ConfigFile, FileWatch, Fingerprint, Reloader},
};
use probe_capture::{
    manager::Manager,
    reconcile::Reconciler,
    schedule::IntervalSetting,
    trouble::{Finder, Trouble, TroubleKind},
};
use probe_datapath::link_watcher::LinkEvents;

/// Hooks and link counters are checked this often, and so is the configuration file.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A check costs about 30 us for each interface. For every so many of them checks are a second
/// further apart, so that supervision never takes more than a third of a percent of a CPU.
const INTERFACES_PER_SECOND: usize = 100;

/// Links are compared with the configuration this often where their changes are no events, or where they
/// could not be listed.
const RECONCILE_EVERY: Duration = Duration::from_secs(5);

/// And this often where they are: an event can be lost.
const RECONCILE_BESIDE_EVENTS_EVERY: Duration = Duration::from_secs(30);

pub(super) struct Watched {
    pub(super) manager: Arc<Manager>,
    pub(super) reconciler: Arc<Mutex<Reconciler>>,
    pub(super) reloader: Arc<Reloader>,
    /// None where the kernel gives none: then the checks alone must do.
    pub(super) link_events: Option<LinkEvents>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) interval: IntervalSetting,
}

impl Watched {
    /// Returns when a stream of the source has failed.
    pub(super) async fn run(self) -> AgentError {
        let Self {
            manager,
            reconciler,
            reloader,
            link_events,
            metrics,
            interval,
        } = self;
        tokio::select! {
            failure = supervise(manager, interval) => failure,
            failure = follow_links(reconciler, link_events, metrics) => failure,
            failure = follow_file(reloader) => failure,
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn supervise(manager: Arc<Manager>, interval: IntervalSetting) -> AgentError {
    let mut ticks = every(LOOK_EVERY);
    let mut ticks_to_look: usize = 0;
    loop {
        ticks.tick().await;
        if let Some(failure) = manager.stream_failures(Duration::ZERO).pop() {
            return failure.into();
        }
        // Here, where no thread of the capture is waited for: the one that rotates may hang.
        let overdue = interval.overdue(Instant::now()).map(overdue);
        let troubles = manager.troubles();
        troubles.set(Finder::Schedule, overdue.into_iter().collect());
        ticks_to_look = ticks_to_look.saturating_sub(1);
        if ticks_to_look > 0 {
            continue;
        }
        ticks_to_look = ticks_between_looks(manager.interface_count());
        let manager = manager.clone();
        let check = spawn_blocking(move || manager.supervise(Instant::now()));
        if let Err(panic) = check.await {
            return AgentError::Thread(std::io::Error::other(panic));
        }
    }
}

fn overdue(late: Duration) -> Trouble {
    Trouble::new(
        TroubleKind::RotationOverdue,
        None,
        &format_args!(
            "the rotation is {} s late: no interval ends, and nothing is stored",
            late.as_secs()
        ),
        "see whether the agent gets CPU time, and what its thread `rotation` waits for (`/proc/PID/task/*/stack`, as \
         root); if it stays, restart the agent",
    )
}

fn ticks_between_looks(interfaces: usize) -> usize {
    interfaces.div_ceil(INTERFACES_PER_SECOND).max(1)
}

/// Reconciles after every event and every few seconds. Events are read while that goes on, so that
/// their times are true and the kernel's queue does not run over.
async fn follow_links(
    reconciler: Arc<Mutex<Reconciler>>,
    mut events: Option<LinkEvents>,
    metrics: Arc<Metrics>,
) -> AgentError {
    let mut ticks = every(reconcile_every(events.is_some()));
    let mut running: Option<JoinHandle<bool>> = None;
    let mut is_listed = true;
    let mut since: Option<Instant> = None;
    let mut gone = Vec::new();
    let mut is_due = false;
    loop {
        if running.is_none() && (is_due || since.is_some()) {
            is_due = false;
            let (since, gone) = (since.take(), std::mem::take(&mut gone));
            let (reconciler, metrics) = (reconciler.clone(), metrics.clone());
            running = Some(spawn_blocking(move || {
                reconcile(&reconciler, since, &gone, &metrics)
            }));
        }
        tokio::select! {
            result = finished(&mut running) => {
                running = None;
                let was_listed = std::mem::replace(&mut is_listed, match result {
                    Ok(is_listed) => is_listed,
                    Err(panic) => return AgentError::Thread(std::io::Error::other(panic)),
                });
                if is_listed != was_listed {
                    ticks = every(reconcile_every(is_listed && events.is_some()));
                }
            }
            event = next_event(&mut events) => match event {
                Ok(links) => {
                    since.get_or_insert_with(Instant::now);
                    gone.extend(links);
                }
                Err(error) => {
                    tracing::warn!(%error, "links are only checked every few seconds from now on");
                    events = None;
                    ticks = every(RECONCILE_EVERY);
                }
            },
            _ = ticks.tick() => is_due = true,
        }
    }
}

const fn reconcile_every(events_tell_all: bool) -> Duration {
    if events_tell_all {
        RECONCILE_BESIDE_EVENTS_EVERY
    } else {
        RECONCILE_EVERY
    }
}

async fn finished(running: &mut Option<JoinHandle<bool>>) -> Result<bool, tokio::task::JoinError> {
    match running {
        Some(running) => running.await,
        None => pending().await,
    }
}

async fn next_event(events: &mut Option<LinkEvents>) -> std::io::Result<Vec<u32>> {
    match events {
        Some(events) => events.changed().await,
        None => pending().await,
    }
}

/// Whether the links could be listed.
fn reconcile(
    reconciler: &Mutex<Reconciler>,
    since: Option<Instant>,
    gone: &[u32],
    metrics: &Metrics,
) -> bool {
    let changes = match reconciler.lock().reconcile(gone) {
        Ok(changes) => changes.unwrap_or_default(),
        Err(error) => {
            tracing::error!(%error, "cannot follow the links");
            return false;
        }
    };
    let Some(since) = since else {
        return true;
    };
    let captured = changes.enabled.iter().chain(&changes.updated);
    for change in captured.filter(|change| change.result.is_ok()) {
        metrics.on_link_captured(change.at.saturating_duration_since(since));
    }
    true
}

/// Reloads when the file has changed, if the configuration in force wants that.
async fn follow_file(reloader: Arc<Reloader>) -> AgentError {
    let Some(ConfigFile { path, read }) = reloader.file().cloned() else {
        return pending().await;
    };
    let mut file = FileWatch::new(read);
    let mut ticks = every(LOOK_EVERY);
    loop {
        ticks.tick().await;
        let has_changed = file.on_check(Fingerprint::from_path(&path), Instant::now());
        if !has_changed || !reloader.config().reload.watch {
            continue;
        }
        let reloader = reloader.clone();
        let reloading = spawn_blocking(move || reloader.reload_and_log("the file has changed"));
        if let Err(panic) = reloading.await {
            return AgentError::Thread(std::io::Error::other(panic));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ticks_between_looks;

    #[test]
    fn looks_at_many_interfaces_are_further_apart() {
        let ticks = [0, 1, 100, 101, 500, 1024].map(ticks_between_looks);
        assert_eq!(ticks, [1, 1, 1, 2, 5, 11]);
    }
}
