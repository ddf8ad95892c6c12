//! Processes that are ending and still hold what a new agent needs.
//!
//! After SIGKILL the kernel closes what the process had open, one after the other. To take a program off
//! a link it waits for a grace period of RCU, so with many interfaces this takes seconds. Until then the
//! sockets of the dead agent look as those of a living one.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use probe_api::listener::process;
use rustix::{io::Errno, net::UCred, process::test_kill_process};

/// Between two looks at a process.
const PAUSE: Duration = Duration::from_millis(20);

/// `PF_EXITING` and `PF_SIGNALED` of include/linux/sched.h: it is in exit(2), or a signal ends it.
const ENDS: u64 = 0x4 | 0x400;

/// Waits until the process holds nothing any more, if it is ending; says so in the log. Returns at once
/// if it is not, or if nothing is known of it.
pub(super) fn wait_until_gone(holder: UCred, deadline: Instant) {
    let pid = holder.pid.as_raw_pid();
    if !is_ending(pid) {
        return;
    }
    let process = process(pid);
    tracing::info!(
        "{process} is ending and still holds a socket of the agent: waiting for its end"
    );
    let begin = Instant::now();
    while !is_gone(holder) {
        if Instant::now() >= deadline {
            let waited_s = begin.elapsed().as_secs();
            tracing::warn!(waited_s, "{process} does not end; starting beside it");
            return;
        }
        thread::sleep(PAUSE);
    }
    let waited_ms = begin.elapsed().as_millis();
    tracing::info!(waited_ms, "{process} has ended");
}

/// Also if its threads have not heard of the signal yet.
pub(super) fn is_ending(pid: i32) -> bool {
    let is_killed = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status"));
        status.is_ok_and(|status| has_sigkill(&status))
    };
    Stat::read(pid).is_some_and(|it| it.flags & ENDS != 0) || is_killed()
}

/// A process that its parent has not waited for holds nothing but its number, once all threads are gone.
fn is_gone(holder: UCred) -> bool {
    match Stat::read(holder.pid.as_raw_pid()) {
        Some(stat) => stat.is_dead && stat.threads <= 1,
        None => test_kill_process(holder.pid) == Err(Errno::SRCH),
    }
}

/// By the text of /proc/PID/status, proc_pid_status(5): the kernel gives this signal to each thread.
fn has_sigkill(status: &str) -> bool {
    const SIGKILL: u64 = 1 << 8;
    let mut lines = status.lines();
    let pending = lines.find_map(|line| line.strip_prefix("SigPnd:"));
    let pending = pending.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    pending.is_some_and(|mask| mask & SIGKILL != 0)
}

/// Of /proc/PID/stat, proc_pid_stat(5), which anybody may read: of the main thread and the process.
#[derive(Debug, Eq, PartialEq)]
struct Stat {
    /// The main thread has ended.
    is_dead: bool,
    flags: u64,
    threads: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        // The name of a program may be of any octets.
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        Self::parse(&String::from_utf8_lossy(&stat))
    }

    fn parse(stat: &str) -> Option<Self> {
        // The name is in brackets and may hold anything; the third field follows.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let state = fields.next()?;
        let flags = fields.nth(5)?.parse().ok()?;
        let threads = fields.nth(10)?.parse().ok()?;
        Some(Self {
            is_dead: matches!(state, "Z" | "X"),
            flags,
            threads,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Stat, has_sigkill, is_ending};

    #[test]
    fn a_process_that_lives_is_not_ending() {
        let pid = std::process::id().cast_signed();
        assert!(!is_ending(pid));
        let stat = Stat::read(pid).unwrap();
        assert!(!stat.is_dead && stat.threads > 0, "{stat:?}");
    }

    #[test]
    fn fields_are_found_behind_any_name() {
        // In the form of proc_pid_stat(5).
        let stat = "42 (a) b (c) Z 1 42 42 0 -1 4228364 100 0 0 0 7 3 0 0 20 0 7 0 9 1 1";
        let expected = Stat {
            is_dead: true,
            flags: 4_228_364,
            threads: 7,
        };
        assert_eq!(Stat::parse(stat), Some(expected));
        assert_eq!(Stat::parse("42 (a"), None);
        assert!(has_sigkill("SigPnd:\t0000000000000100\n"));
        assert!(!has_sigkill(
            "SigPnd:\t0000000000004000\nShdPnd:\t0000000000000100\n"
        ));
    }
}
