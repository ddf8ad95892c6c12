//! `/sys/kernel/rcu_expedited`, and whose value is there.
//!
//! Any number but 0 means yes (`rcu_gp_is_expedited`, kernel/rcu/update.c; `rcu_expedited_store`,
//! kernel/ksysfs.c, takes any `int`, on 5.10 as on 6.18). An agent's is [`MARK`] and the number of the
//! process. After SIGKILL the next start and `probe-agent detach` find it and put 0 back. A file
//! that remembers it would need a place that outlives the service and that every container sees; a
//! second process that waits for the end of the first would die with it, since service managers and
//! the kernel kill whole cgroups.
//!
//! A service manager's is [`OF_SERVICE`]: there is no process that it belongs to.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    process,
};

use super::SYS;

/// What an agent writes, less the number of its process: the largest of those is 4194304
/// (`PID_MAX_LIMIT`, include/linux/threads.h), so the number can be read off.
const MARK: i32 = 1_800_000_000;
const MAX_PID: i32 = 4_194_304;

/// What is written on behalf of an agent that may not. People write 1.
pub(super) const OF_SERVICE: i32 = 2;

const EXPEDITED: &str = "kernel/rcu_expedited";
const NORMAL: &str = "kernel/rcu_normal";

/// The setting cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}: {source}", path = path.display())]
pub struct ExpediteError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl ExpediteError {
    pub(super) fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

/// Whether it would change anything to set it: nobody has, and grace periods are not slow whatever is
/// asked for (`rcu_normal`).
pub(super) fn is_free(sys: &Path) -> Result<bool, ExpediteError> {
    // Kernels without it cannot forbid anything.
    let is_forbidden = read(sys, NORMAL).is_ok_and(|value| value != 0);
    Ok(!is_forbidden && read(sys, EXPEDITED)? == 0)
}

/// Whether the setting can be written; writes nothing.
pub(super) fn is_writable(sys: &Path) -> bool {
    let mut open = OpenOptions::new();
    open.write(true).open(sys.join(EXPEDITED)).is_ok()
}

/// Puts the setting back if this process has it. For ends of the process that drop nothing.
pub fn put_back_own() {
    put_back(Path::new(SYS), own_mark());
}

/// Ends what [`super::Expedite::begin`] began. Whether there was anything to put back.
///
/// # Errors
///
/// [`ExpediteError`]: 0 cannot be written to `/sys/kernel/rcu_expedited`. A file that cannot be
/// read counts as nothing to put back.
pub fn end() -> Result<bool, ExpediteError> {
    end_at(Path::new(SYS))
}

pub(super) fn end_at(sys: &Path) -> Result<bool, ExpediteError> {
    // Where it cannot be read no process has written it.
    let is_ours = read(sys, EXPEDITED).is_ok_and(|value| value == OF_SERVICE);
    if is_ours {
        write(sys, 0)?;
    }
    Ok(is_ours)
}

pub(super) fn put_back(sys: &Path, mark: i32) {
    let is_ours = |value| value == mark;
    // A process that has written another value since wants that value.
    if read(sys, EXPEDITED).is_ok_and(is_ours)
        && let Err(error) = write(sys, 0)
    {
        tracing::error!(%error, "grace periods of RCU stay expedited: write 0 there");
    }
}

/// An agent that was killed had left the setting.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StaleSetting {
    process: i32,
}

impl fmt::Display for StaleSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "put {SYS}/{EXPEDITED} back to 0, which process {} left behind",
            self.process
        )
    }
}

/// Puts back what an agent that was killed has left.
///
/// # Errors
///
/// [`ExpediteError`]: 0 cannot be written to `/sys/kernel/rcu_expedited`. A file that cannot be
/// read counts as nothing to put back.
pub fn put_back_stale_setting() -> Result<Option<StaleSetting>, ExpediteError> {
    put_back_stale_setting_at(Path::new(SYS))
}

pub(super) fn put_back_stale_setting_at(sys: &Path) -> Result<Option<StaleSetting>, ExpediteError> {
    // Where it cannot be read no process has written it.
    let Ok(value) = read(sys, EXPEDITED) else {
        return Ok(None);
    };
    let process = value.wrapping_sub(MARK);
    if !(1..=MAX_PID).contains(&process) || is_agent_running(process) {
        return Ok(None);
    }
    write(sys, 0)?;
    Ok(Some(StaleSetting { process }))
}

/// Another agent, which is in the middle of it. In another PID namespace it is not found; then it
/// goes on slowly.
fn is_agent_running(process: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.split_once("(probe-agent) ").map(|(_, rest)| rest);
    // One that is dead and not waited for has a state, too.
    let is_alive = state.is_some_and(|state| !state.starts_with(['Z', 'X']));
    is_alive && own_mark() != MARK + process
}

pub(super) fn own_mark() -> i32 {
    MARK.saturating_add_unsigned(process::id())
}

fn read(sys: &Path, name: &str) -> Result<i32, ExpediteError> {
    let path = sys.join(name);
    let parse = |text: String| text.trim().parse().map_err(io::Error::other);
    let value = fs::read_to_string(&path).and_then(parse);
    value.map_err(|source| ExpediteError {
        operation: "read",
        path,
        source,
    })
}

pub(super) fn write(sys: &Path, value: i32) -> Result<(), ExpediteError> {
    let path = sys.join(EXPEDITED);
    // One write for the whole number, and no file where the kernel has none.
    let mut open = OpenOptions::new();
    let file = open.write(true).truncate(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(format!("{value}\n").as_bytes()));
    written.map_err(|source| ExpediteError {
        operation: "write",
        path,
        source,
    })
}

#[cfg(test)]
mod tests;
