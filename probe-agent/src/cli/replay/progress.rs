//! Progress on stderr, for files that take a while and pipes that may never end.

use std::{sync::mpsc, thread, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::term::page::tell;
use probe_pcap::Playback;

/// Nothing is shown before; most files are done by then.
const DELAY: Duration = Duration::from_millis(500);
const REFRESH: Duration = Duration::from_millis(100);

/// A pipe that has not ended by then is named, where no bar shows it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shows how far a replay is, until it is dropped.
pub(super) struct Progress {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Progress {
    /// On a terminal a bar. Else a sentence, where a pipe is read for long.
    pub(super) fn spawn(playback: Playback, is_terminal: bool) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            if is_terminal {
                show_bar(&playback, &stopped);
            } else if !is_over(&stopped, PATIENCE) && playback.is_copying() {
                tell(
                    "reading a pipe to its end; SIGINT (Ctrl-C) ends it and shows the flows so far",
                );
            }
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

/// Waits. Says so if the replay came to its end meanwhile.
fn is_over(stopped: &mpsc::Receiver<()>, after: Duration) -> bool {
    stopped.recv_timeout(after) != Err(mpsc::RecvTimeoutError::Timeout)
}

fn show_bar(playback: &Playback, stopped: &mpsc::Receiver<()>) {
    if is_over(stopped, DELAY) {
        return;
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(style("{spinner} reading the file first, {elapsed}"));
    let mut has_length = false;
    while !is_over(stopped, REFRESH) {
        if playback.is_copying() {
            bar.set_style(style(
                "{spinner} {bytes} from the pipe, {bytes_per_sec}; Ctrl-C ends it and shows the flows",
            ));
            bar.set_position(playback.copied_bytes());
        } else if playback.file_bytes() > 0 {
            if !has_length {
                has_length = true;
                bar.set_length(playback.file_bytes());
                bar.set_style(style(
                    "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
                ));
                bar.reset_eta();
            }
            bar.set_position(playback.read_bytes());
        } else {
            bar.tick();
        }
    }
    bar.finish_and_clear();
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A bar that panicked has spoilt nothing but itself.
            drop(thread.join());
        }
    }
}
