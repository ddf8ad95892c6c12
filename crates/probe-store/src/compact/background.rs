//! A thread that compacts the closed days of a store, one after the other, when nothing else wants the CPU.

use std::{path::PathBuf, sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};

use super::worker::Worker;
use crate::{
    Clock,
    options::{MinFree, SinkFormat},
    report::CompactionReport,
    retention::Trust,
};

/// Nothing was written to a day for so long. Holds off days that are written to after a clock was set.
pub(crate) const QUIET: Duration = Duration::from_hours(1);
/// What the thread shares with the sink.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) wake: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) is_ending: bool,
    /// The next pass shall begin now.
    pub(super) is_asked: bool,
    /// Days have changed since the sink has asked.
    pub(super) has_changed: bool,
    /// Tells the days with intervals of a wrong clock. Nothing is compacted without.
    pub(super) trust: Option<Trust>,
    pub(super) report: CompactionReport,
}

/// The thread, from the sink's side. It ends with this value, though not in the middle of a day.
pub(crate) struct Background {
    shared: Arc<Shared>,
}

impl Drop for Background {
    fn drop(&mut self) {
        self.shared.state.lock().is_ending = true;
        self.shared.wake.notify_all();
    }
}

impl Background {
    /// Starts the thread. It leaves days alone that have changed within `quiet`. Without a thread
    /// nothing is compacted, which the report tells.
    pub(crate) fn start(
        sink: &str,
        root: PathBuf,
        min_free: Option<MinFree>,
        clock: Clock,
        quiet: Duration,
        trust: Option<&Trust>,
    ) -> Self {
        let mut worker = Worker::new(sink, root, min_free, clock, quiet, trust);
        let shared = Arc::clone(&worker.shared);
        // `compact-2` of `parquet-2`: the kernel keeps 15 bytes of a thread's name.
        let name = sink.replacen(SinkFormat::Parquet.name(), "compact", 1);
        let started = std::thread::Builder::new().name(name).spawn(move || {
            worker.run();
        });
        if let Err(error) = started {
            let error = format!("cannot start the thread that compacts: {error}");
            shared.state.lock().report.error = Some(error.into());
        }
        Self { shared }
    }

    /// What was done, and why something was not.
    pub(crate) fn report(&self) -> CompactionReport {
        self.shared.state.lock().report.clone()
    }

    /// Days with intervals of a clock that is not believed are left alone from now on: retention
    /// tells these intervals by the names of their files.
    pub(crate) fn trust(&self, trust: Option<&Trust>) {
        self.shared.state.lock().trust = trust.cloned();
    }

    /// Looks at the days now, whenever it last did.
    pub(crate) fn look_now(&self) {
        self.shared.state.lock().is_asked = true;
        self.shared.wake.notify_all();
    }

    /// Whether days have changed since the last call.
    pub(crate) fn take_change(&self) -> bool {
        std::mem::take(&mut self.shared.state.lock().has_changed)
    }
}
