//! How long the threads whose answers are awaited could run and had no CPU: what the kernel tells of
//! each thread.
//!
//! No others count: on a busy host those that compute for minutes wait for a CPU again and again, and
//! a thread that hangs would seem to lack CPU time because of them.
//!
//! That covers a quota of the own cgroup and of those above it, and other work on the same CPUs. The
//! kernel counts the time in which a thread waits in a run queue, also while a quota keeps the queue
//! from running (Documentation/scheduler/sched-stats.rst, `/proc/<pid>/schedstat`).

use std::{collections::BTreeMap, fs, time::Duration};

/// Beginnings of the names of the threads that hold the manager, drain or run the endpoints, and of
/// the one that asks them. Those of sinks, compaction and queries are no part of the answers.
const ASKED: &[&str] = &[
    "drain-",
    "rotation",
    "probe-api",
    "probe-control",
    "watchdog",
];

/// What each thread that is asked has waited for a CPU since it began.
#[derive(Debug, Default)]
pub(super) struct RunDelays(BTreeMap<String, Duration>);

impl RunDelays {
    /// Reads those of the threads that are asked; none where the kernel does not count them.
    pub(super) fn read() -> Self {
        let threads = fs::read_dir("/proc/self/task").into_iter().flatten();
        let delays = threads.flatten().filter_map(|thread| {
            let of = |file| fs::read_to_string(thread.path().join(file)).ok();
            of("comm").filter(|name| is_asked(name))?;
            let text = of("schedstat")?;
            let id = thread.file_name().into_string().ok()?;
            Some((id, run_delay(&text)?))
        });
        Self(delays.collect())
    }

    /// How long the thread that waited the longest has waited since an earlier reading.
    pub(super) fn longest_since(&self, earlier: &Self) -> Duration {
        let waited = self.0.iter().map(|(id, now)| {
            let before = earlier.0.get(id).copied().unwrap_or_default();
            now.saturating_sub(before)
        });
        waited.max().unwrap_or_default()
    }
}

fn is_asked(thread: &str) -> bool {
    ASKED.iter().any(|asked| thread.starts_with(asked))
}

/// The second of three numbers: nanoseconds in which the thread waited to run.
fn run_delay(schedstat: &str) -> Option<Duration> {
    let waited = schedstat.split_whitespace().nth(1)?.parse().ok()?;
    Some(Duration::from_nanos(waited))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::{Barrier, mpsc},
        thread,
        time::Duration,
    };

    use super::{RunDelays, run_delay};

    fn delays<const N: usize>(of: [(&str, u64); N]) -> RunDelays {
        let delays = of.map(|(id, seconds)| (id.to_owned(), Duration::from_secs(seconds)));
        RunDelays(delays.into_iter().collect())
    }

    #[test]
    fn the_thread_that_waited_the_longest_counts() {
        let earlier = delays([("1", 100), ("2", 5), ("3", 50)]);
        // One has ended, one has begun.
        let now = delays([("1", 102), ("2", 9), ("4", 3)]);
        assert_eq!(now.longest_since(&earlier), Duration::from_secs(4));
        let none = RunDelays::default();
        assert_eq!(none.longest_since(&none), Duration::ZERO);
    }

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(
            run_delay("75443 2848734 2\n"),
            Some(Duration::from_nanos(2_848_734))
        );
        assert_eq!(run_delay("0"), None);
    }

    #[test]
    fn only_threads_whose_answers_are_awaited_count() {
        const NAMES: [(&str, bool); 7] = [
            ("drain-0", true),
            ("rotation", true),
            ("probe-api", true),
            ("watchdog", true),
            ("compact", false),
            ("sink-parquet", false),
            ("probe-query", false),
        ];
        // Without CONFIG_SCHED_INFO there is no such file.
        if !fs::exists("/proc/self/schedstat").unwrap() {
            return;
        }
        let are_read = &Barrier::new(NAMES.len() + 1);
        thread::scope(|scope| {
            let (tell, told) = mpsc::channel();
            for (name, is_asked) in NAMES {
                let tell = tell.clone();
                let wait = move || {
                    let own = fs::read_link("/proc/thread-self").unwrap();
                    tell.send((own, name, is_asked)).unwrap();
                    are_read.wait();
                };
                let thread = thread::Builder::new().name(name.to_owned());
                thread.spawn_scoped(scope, wait).unwrap();
            }
            let threads: Vec<_> = told.iter().take(NAMES.len()).collect();
            let delays = RunDelays::read();
            are_read.wait();
            for (own, name, is_asked) in threads {
                let id = own.file_name().unwrap().to_str().unwrap();
                assert_eq!(delays.0.contains_key(id), is_asked, "{name}");
            }
        });
    }
}
