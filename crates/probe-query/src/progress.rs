//! How far a question is, on a terminal from the first second; and whether it is still wanted.

use std::{
    io::{self, IsTerminal},
    sync::Arc,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;

/// The line that tells how far a question is. Clones are of the same question.
#[derive(Clone, Debug)]
pub struct Progress {
    bar: ProgressBar,
    is_cancelled: Arc<watch::Sender<bool>>,
}

impl Progress {
    /// A line on standard error, if that is a terminal.
    pub fn of_terminal() -> Self {
        let bar = if io::stderr().is_terminal() {
            ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10))
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            bar,
            is_cancelled: Arc::new(watch::Sender::new(false)),
        }
    }

    /// No line at all.
    pub fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            is_cancelled: Arc::new(watch::Sender::new(false)),
        }
    }

    /// So many files follow, of which [`Self::step`] tells each.
    pub fn begin(&self, what: &'static str, files: usize) {
        self.bar.set_position(0);
        self.bar
            .set_length(u64::try_from(files).unwrap_or(u64::MAX));
        self.bar.set_message(what);
    }

    /// One more is done.
    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// Takes the line away, before the answer is written.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Nobody wants the answer any more.
    pub fn cancel(&self) {
        self.is_cancelled.send_replace(true);
    }

    /// Whether [`Self::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        *self.is_cancelled.borrow()
    }

    /// Ends when [`Self::cancel`] was called.
    pub async fn cancelled(&self) {
        let mut receiver = self.is_cancelled.subscribe();
        // The sender lives as long as this does.
        let _ = receiver.wait_for(|is_cancelled| *is_cancelled).await;
    }
}
