//! Few questions at a time, none for long, and none that nobody waits for.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::problem::Problem;
use crate::{error::QueryError, progress::Progress};

/// Questions that run at a time. The page asks two: its chart and its table.
const AT_A_TIME: usize = 2;

/// Runs questions, on threads of their own.
pub(super) struct Runner {
    threads: Handle,
    places: Arc<Semaphore>,
    limit: Duration,
}

/// Ends a question with the answer that nobody waits for any more.
struct CancelOnDrop(Progress);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Runner {
    /// A runner on these threads; `limit` is the time that a question may wait and run.
    pub(super) fn new(threads: Handle, limit: Duration) -> Self {
        Self {
            threads,
            places: Arc::new(Semaphore::new(AT_A_TIME)),
            limit,
        }
    }

    /// Runs a question. It is cancelled when the returned future is dropped, and when its time is over.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Handle, &Progress) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, Problem> {
        let end = Instant::now() + self.limit;
        let Ok(Ok(place)) = timeout_at(end, Arc::clone(&self.places).acquire_owned()).await else {
            return Err(Problem::busy(format!(
                "other questions have run for {} s; ask again later",
                self.limit.as_secs()
            )));
        };
        let progress = Progress::hidden();
        let cancel = CancelOnDrop(progress.clone());
        let threads = self.threads.clone();
        let running = self.threads.spawn_blocking(move || {
            let outcome = question(&threads, &progress);
            drop(place);
            outcome
        });
        let outcome = timeout_at(end, running).await;
        drop(cancel);
        match outcome {
            Ok(Ok(answer)) => Ok(answer?),
            Ok(Err(panicked)) => Err(QueryError::Write(std::io::Error::other(panicked)).into()),
            Err(_) => Err(Problem::busy(format!(
                "the question took longer than {} s (`--time-limit`) and was ended; ask for a shorter time, for \
                 fewer columns, or with a filter",
                self.limit.as_secs()
            ))),
        }
    }
}
