//! How long the agent's threads could run and had no CPU: what the kernel tells of each thread.
//!
//! That covers a quota of the own cgroup and of those above it, and other work on the same CPUs. The
//! kernel counts the time in which a thread waits in a run queue, also while a quota keeps the queue
//! from running (Documentation/scheduler/sched-stats.rst, `/proc/<pid>/schedstat`).

use std::{collections::BTreeMap, fs, time::Duration};

/// What each thread has waited for a CPU since it began.
#[derive(Debug, Default)]
pub(super) struct RunDelays(BTreeMap<String, Duration>);

impl RunDelays {
    /// Reads those of all threads; none where the kernel does not count them.
    pub(super) fn read() -> Self {
        let threads = fs::read_dir("/proc/self/task").into_iter().flatten();
        let delays = threads.flatten().filter_map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
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

/// The second of three numbers: nanoseconds in which the thread waited to run.
fn run_delay(schedstat: &str) -> Option<Duration> {
    let waited = schedstat.split_whitespace().nth(1)?.parse().ok()?;
    Some(Duration::from_nanos(waited))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        // Where it counts nothing the file may be missing.
        let _ = RunDelays::read();
    }
}
