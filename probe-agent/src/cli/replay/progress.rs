//! A progress bar on stderr for files that take a while.

use std::{sync::mpsc, thread, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use probe_pcap::Playback;

/// Nothing is shown before; most files are done by then.
const DELAY: Duration = Duration::from_millis(500);
const REFRESH: Duration = Duration::from_millis(100);

/// Shows how far a replay is, until it is dropped.
pub(super) struct Bar {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Bar {
    pub(super) fn spawn(playback: Playback) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let is_over =
                |after| stopped.recv_timeout(after) != Err(mpsc::RecvTimeoutError::Timeout);
            if is_over(DELAY) {
                return;
            }
            let bar = ProgressBar::with_draw_target(
                Some(playback.file_bytes()),
                ProgressDrawTarget::stderr(),
            )
            .with_style(style());
            while !is_over(REFRESH) {
                bar.set_position(playback.read_bytes());
            }
            bar.finish_and_clear();
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A bar that panicked has spoilt nothing but itself.
            drop(thread.join());
        }
    }
}
