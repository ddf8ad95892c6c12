//! Threads for what takes time, apart from the runtime, which serves connections and tells that the
//! agent is alive.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    ops::Bound::{Excluded, Unbounded},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::places::Holder;

/// A few threads with a queue for each holder, of which each gets its turn.
#[derive(Clone)]
pub(super) struct Lane(Arc<Handle>);

/// Ends the threads on drop.
struct Handle(Arc<Shared>);

#[derive(Default)]
struct Shared {
    jobs: Mutex<Jobs>,
    changed: Condvar,
}

#[derive(Default)]
struct Jobs {
    /// No queue is empty.
    queues: BTreeMap<Holder, VecDeque<Job>>,
    /// Who had the last turn.
    last: Option<Holder>,
    closed: bool,
}

struct Job {
    given_up: Arc<AtomicBool>,
    /// How long it may run.
    limit: Duration,
    work: Box<dyn FnOnce(&Order) + Send>,
}

impl Job {
    fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    fn run(self) {
        let order = Order {
            given_up: self.given_up,
            until: Instant::now() + self.limit,
        };
        (self.work)(&order);
    }
}

/// Whether somebody still waits for a piece of work that has begun.
pub(super) struct Order {
    given_up: Arc<AtomicBool>,
    until: Instant,
}

/// Gives the work up when the client has.
struct GiveUp(Arc<AtomicBool>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Order {
    /// Whether nobody waits any more, or it has run for as long as it may.
    pub(super) fn is_over(&self) -> bool {
        self.given_up.load(Ordering::Relaxed) || Instant::now() >= self.until
    }
}

impl Lane {
    /// Starts so many threads.
    ///
    /// # Errors
    ///
    /// The system starts no thread.
    pub(super) fn start(name: &str, threads: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let handle = Handle(Arc::clone(&shared));
        for _ in 0..threads {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || shared.work())?;
        }
        Ok(Self(Arc::new(handle)))
    }

    /// Runs the work when it is the holder's turn, for `limit` at most. Dropping the future gives the
    /// work up: it is not begun, or told so. None if the work panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        holder: Holder,
        limit: Duration,
        work: impl FnOnce(&Order) -> T + Send + 'static,
    ) -> Option<T> {
        let given_up = Arc::new(AtomicBool::new(false));
        let _waiting = GiveUp(Arc::clone(&given_up));
        let (answer, answered) = oneshot::channel();
        let job = Job {
            given_up,
            limit,
            work: Box::new(move |order| {
                // The client may have left meanwhile.
                let _ = answer.send(work(order));
            }),
        };
        self.0.0.push(holder, job);
        answered.await.ok()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.jobs.lock().closed = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn push(&self, holder: Holder, job: Job) {
        let mut jobs = self.jobs.lock();
        let queue = jobs.queues.entry(holder).or_default();
        queue.retain(|job| !job.is_given_up());
        queue.push_back(job);
        drop(jobs);
        self.changed.notify_one();
    }

    fn work(&self) {
        while let Some(job) = self.take() {
            if !job.is_given_up() && catch_unwind(AssertUnwindSafe(|| job.run())).is_err() {
                tracing::error!("a request panicked");
            }
        }
    }

    /// Waits for a job; none at the end.
    fn take(&self) -> Option<Job> {
        let mut jobs = self.jobs.lock();
        loop {
            if jobs.closed {
                return None;
            }
            if let Some(job) = jobs.next() {
                return Some(job);
            }
            self.changed.wait(&mut jobs);
        }
    }
}

impl Jobs {
    /// The first job of the holder behind the one that had the last turn.
    fn next(&mut self) -> Option<Job> {
        let after = self.last.map_or(Unbounded, Excluded);
        let behind = self.queues.range((after, Unbounded)).next();
        let (holder, _) = behind.or_else(|| self.queues.iter().next())?;
        let holder = *holder;
        self.last = Some(holder);
        let queue = self.queues.get_mut(&holder)?;
        let job = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&holder);
        }
        job
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, mpsc},
        time::Duration,
    };

    use parking_lot::Mutex;

    use super::Lane;
    use crate::places::Holder;

    const LIMIT: Duration = Duration::from_secs(30);

    /// Occupies the only thread until the sender is dropped.
    fn occupied(lane: &Lane) -> mpsc::Sender<()> {
        let (hold, held) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel::<()>();
        let lane = lane.clone();
        tokio::spawn(async move {
            let work = move |_: &_| {
                drop(begin);
                held.recv()
            };
            lane.run(Holder::User(9), LIMIT, work).await
        });
        assert!(tokio::task::block_in_place(|| begun.recv()).is_err());
        hold
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn holders_take_turns() {
        let lane = Lane::start("test", 1).expect("a thread");
        let hold = occupied(&lane);
        let done = Arc::new(Mutex::new(Vec::new()));
        let job = |user| {
            let done = Arc::clone(&done);
            lane.run(Holder::User(user), LIMIT, move |_| done.lock().push(user))
        };
        let jobs = futures_util::future::join_all([1, 1, 1, 2, 3].map(job));
        let release = async { drop(hold) };
        let _ = futures_util::future::join(jobs, release).await;
        assert_eq!(*done.lock(), [1, 2, 3, 1, 1]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn work_that_nobody_waits_for_is_given_up() {
        let lane = Lane::start("test", 1).expect("a thread");
        let hold = occupied(&lane);
        let begun = Arc::new(Mutex::new(0));
        let count = || {
            let begun = Arc::clone(&begun);
            lane.run(Holder::User(1), LIMIT, move |_| *begun.lock() += 1)
        };
        let short = Duration::from_millis(10);
        let left = tokio::time::timeout(short, count()).await;
        assert!(left.is_err(), "the thread is occupied");
        drop(hold);
        count().await.expect("answered");
        assert_eq!(*begun.lock(), 1);
        // One that runs is told.
        let (over, ended) = mpsc::channel();
        let endless = lane.run(Holder::User(1), LIMIT, move |order| {
            while !order.is_over() {
                std::thread::yield_now();
            }
            over.send(()).expect("the test waits");
        });
        assert!(tokio::time::timeout(short, endless).await.is_err());
        ended.recv_timeout(LIMIT).expect("it ends");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn work_that_panics_ends_no_thread() {
        let lane = Lane::start("test", 1).expect("a thread");
        let defect = lane.run(Holder::User(1), LIMIT, |_| assert_eq!(1, 2));
        assert!(defect.await.is_none());
        let next = lane.run(Holder::User(1), LIMIT, |_| 7).await;
        assert_eq!(next, Some(7));
    }
}
