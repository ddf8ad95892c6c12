//! Whether the agent is ready, and if not, what it waits for.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;
use tracing::info;

/// Ready while no task is pending. Clones share one state.
///
/// A task registers before it starts and drops its token when it is done. Registering one that is
/// never done takes the agent out of service, which is what a drain wants.
#[derive(Clone)]
pub struct Readiness(Arc<PendingTasks>);

struct PendingTasks {
    started: Instant,
    pending: Mutex<Vec<&'static str>>,
}

/// Holds readiness back until it is dropped.
#[must_use = "the task counts as done as soon as its token is dropped"]
pub struct ReadinessToken {
    state: Arc<PendingTasks>,
    task: &'static str,
}

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(PendingTasks {
            started: Instant::now(),
            pending: Mutex::default(),
        }))
    }
}

impl Readiness {
    /// Ready from the start, until a task registers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a task that must be done before the agent is ready; its name is shown in `/readyz`.
    pub fn register_task(&self, task: &'static str) -> ReadinessToken {
        self.0.pending.lock().push(task);
        ReadinessToken {
            state: Arc::clone(&self.0),
            task,
        }
    }

    /// The tasks that are not done, in the order in which they registered.
    pub fn pending(&self) -> Vec<&'static str> {
        self.0.pending.lock().clone()
    }

    /// Whether all tasks are done.
    pub fn is_ready(&self) -> bool {
        self.0.pending.lock().is_empty()
    }
}

impl Drop for ReadinessToken {
    fn drop(&mut self) {
        let mut pending = self.state.pending.lock();
        if let Some(position) = pending.iter().position(|task| *task == self.task) {
            pending.remove(position);
        }
        let after_ms = self.state.started.elapsed().as_millis();
        if pending.is_empty() {
            info!(task = self.task, after_ms, "task done, the agent is ready");
        } else {
            info!(task = self.task, after_ms, waiting_for = ?*pending, "task done");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Readiness;

    #[test]
    fn ready_when_the_last_token_is_dropped() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let load = readiness.register_task("load programs");
        let first = readiness.register_task("attach");
        let second = readiness.clone().register_task("attach");
        assert_eq!(readiness.pending(), ["load programs", "attach", "attach"]);
        drop(first);
        assert_eq!(readiness.pending(), ["load programs", "attach"]);
        drop(second);
        assert!(!readiness.is_ready());
        drop(load);
        assert!(readiness.is_ready());
    }
}
