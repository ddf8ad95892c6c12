//! Children that do not outlive their owner.

use std::{
    fs,
    process::{Child, Command, ExitStatus},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::{command::shown, eventually::eventually};

/// A child process, killed when dropped.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts a command. Panics where it cannot be started.
    #[track_caller]
    pub fn spawn(command: &mut Command) -> Self {
        match Self::try_spawn(command) {
            Ok(process) => process,
            Err(error) => panic!("{error:#}"),
        }
    }

    /// As [`Self::spawn`], with an error instead of a panic.
    ///
    /// # Errors
    ///
    /// The system does not start the command: the text names it.
    pub fn try_spawn(command: &mut Command) -> Result<Self> {
        let child = command.spawn();
        let child = child.with_context(|| format!("`{}` did not start", shown(command)))?;
        Ok(Self(child))
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("a child can be waited for")
    }

    /// Waits for its end. Panics, with this text, after [`PATIENCE`](crate::PATIENCE).
    #[track_caller]
    pub fn wait(&mut self, what: &str) -> ExitStatus {
        eventually(what, || self.try_wait())
    }

    /// Waits for its end, however long that takes.
    pub fn wait_forever(&mut self) -> ExitStatus {
        self.0.wait().expect("a child can be waited for")
    }

    /// Sends it a signal. Panics where the process has ended and was waited for.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("a living child");
    }
}

/// What the kernel says of a process behind this key, as in `SigCgt` (proc_pid_status(5)).
///
/// # Errors
///
/// There is no such process, or the kernel has no such key.
pub fn status(pid: u32, key: &str) -> Result<String> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let values = text.lines().filter_map(|line| line.split_once(':'));
    let value = values.into_iter().find(|(known, _)| *known == key);
    let (_, value) = value.with_context(|| format!("{path} names no {key}"))?;
    Ok(value.trim().to_owned())
}

/// An amount of memory, as in `VmRSS`, in KiB.
///
/// # Errors
///
/// As [`status`], or it is no amount.
pub fn status_kib(pid: u32, key: &str) -> Result<u64> {
    let value = status(pid, key)?;
    let kib = value.strip_suffix(" kB").and_then(|it| it.parse().ok());
    kib.with_context(|| format!("{key} of process {pid} is {value}, no number of KiB"))
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail where the child has ended already, which is the rule.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::{status, status_kib};

    #[test]
    fn what_the_kernel_says_is_found_by_its_key() {
        let me = std::process::id();
        assert_eq!(status(me, "Tgid").unwrap(), me.to_string());
        assert!(status_kib(me, "VmRSS").unwrap() > 0);
        let error = status_kib(me, "Tgid").unwrap_err().to_string();
        assert!(error.contains("no number of KiB"), "{error}");
        assert!(status(me, "Rss").is_err());
    }
}
