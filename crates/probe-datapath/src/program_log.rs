//! Messages of the programs, where the object has any.
//!
//! The committed object has none: packets are counted, not logged. One that is built with the
//! feature `log` of probe-ebpf (`cargo xtask build-ebpf --log FILE`) brings a ring of its own for
//! messages, which a thread hands to the agent's log.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use aya_log::EbpfLogger;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::load::Object;

/// How long the thread sleeps before it asks whether the programs are still there.
const POLL_TIMEOUT: Duration = Duration::from_millis(200);

/// Name of the thread.
const THREAD: &str = "program-log";

/// Hands the programs' messages to the log until it is dropped.
#[derive(Debug)]
pub(crate) struct ProgramLog {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl ProgramLog {
    /// Starts the thread; `None` if the object has no messages. A log that cannot be read is no
    /// reason not to capture: that is a warning.
    pub(crate) fn start(object: &mut Object) -> Option<Self> {
        let logger = match EbpfLogger::init(object.ebpf_mut()) {
            Ok(logger) => logger,
            Err(aya_log::Error::MapNotFound) => return None,
            Err(error) => {
                tracing::warn!(%error, "the messages of the eBPF programs cannot be read");
                return None;
            }
        };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || pass_on(logger, &stopped));
        match thread {
            Ok(thread) => Some(Self {
                stop,
                thread: Some(thread),
            }),
            Err(error) => {
                tracing::warn!(%error, "the messages of the eBPF programs have no thread");
                None
            }
        }
    }
}

fn pass_on(mut logger: EbpfLogger<&'static dyn log::Log>, stopped: &AtomicBool) {
    let timeout = Timespec::try_from(POLL_TIMEOUT).ok();
    loop {
        let mut fds = [PollFd::new(&logger, PollFlags::IN)];
        // An interrupted wait is as good as one that is over.
        let _ = poll(&mut fds, timeout.as_ref());
        logger.flush();
        if stopped.load(Ordering::Relaxed) {
            return;
        }
    }
}

impl Drop for ProgramLog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread for the programs' messages panicked");
        }
    }
}
