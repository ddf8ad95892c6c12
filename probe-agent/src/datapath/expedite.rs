//! Grace periods of RCU in a hurry, while many programs are attached or detached.
//!
//! Each TCX link waits for a grace period when it is attached and when it is detached, under the
//! kernel's lock for links: some 8 ms each. `/sys/kernel/rcu_expedited` makes the kernel interrupt
//! all CPUs instead of waiting for them, which takes microseconds. It is a setting of the whole
//! machine, so it is set only where the configuration says so, and only as long as it takes.
//!
//! Nobody may find it set because of an agent that is gone. So what the agent writes there says whose
//! it is: any number but 0 means yes (`rcu_gp_is_expedited`, kernel/rcu/update.c; `rcu_expedited_store`,
//! kernel/ksysfs.c, takes any `int`, on 5.10 as on 6.18), and ours is [`MARK`] and the number of the
//! process. After SIGKILL the next start and `probe-agent detach` find it and put 0 back. A file
//! that remembers it would need a place that outlives the service and that every container sees; a
//! second process that waits for the end of the first would die with it, since service managers and
//! the kernel kill whole cgroups.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// With fewer interfaces the machine is left alone: they take no quarter of a second.
pub const MANY: usize = 16;

/// Longer than this for many interfaces is worth a word about the setting.
const SLOW: Duration = Duration::from_secs(2);

/// What is written to the setting, less the number of the process: the largest of those is 4194304
/// (`PID_MAX_LIMIT`, include/linux/threads.h), so the number can be read off.
const MARK: i32 = 1_800_000_000;
const MAX_PID: i32 = 4_194_304;

/// Where the kernel has its settings.
const SYS_KERNEL: &str = "/sys/kernel";

/// The setting cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}: {source}", path = path.display())]
pub struct ExpediteError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Whether grace periods may be hurried, and what has been said about it.
#[derive(Debug)]
pub struct Expedite {
    sys_kernel: PathBuf,
    is_wanted: bool,
    is_told: AtomicBool,
}

impl Default for Expedite {
    fn default() -> Self {
        Self::new(false)
    }
}

/// How grace periods are now.
enum Pace {
    Slow,
    /// Hurried by somebody, or slow whatever is asked for (`rcu_normal`, of real-time hosts).
    NotOurs,
}

impl Expedite {
    /// As `capture.expedite_attach` says.
    pub fn new(is_wanted: bool) -> Self {
        Self::at(Path::new(SYS_KERNEL), is_wanted)
    }

    fn at(sys_kernel: &Path, is_wanted: bool) -> Self {
        Self {
            sys_kernel: sys_kernel.to_owned(),
            is_wanted,
            is_told: AtomicBool::new(false),
        }
    }

    /// So many interfaces are going to be attached or detached, until the batch is dropped. `doing`
    /// says which, for the log.
    #[must_use]
    pub fn batch(&self, doing: &'static str, interfaces: usize) -> Batch<'_> {
        let is_many = interfaces >= MANY;
        let holds = is_many
            && self.is_wanted
            && self.take().unwrap_or_else(|error| {
                self.tell_once(&error);
                false
            });
        if holds {
            tracing::info!(
                interfaces,
                "{doing}: grace periods of RCU are expedited meanwhile, on the whole machine"
            );
        }
        Batch {
            expedite: self,
            doing,
            interfaces,
            holds,
            could_help: is_many && !self.is_wanted && matches!(self.pace(), Ok(Pace::Slow)),
            began: Instant::now(),
        }
    }

    /// Whether the setting is ours now.
    fn take(&self) -> Result<bool, ExpediteError> {
        match self.pace()? {
            Pace::NotOurs => Ok(false),
            Pace::Slow => write(&self.sys_kernel, own_mark()).map(|()| true),
        }
    }

    fn pace(&self) -> Result<Pace, ExpediteError> {
        // Kernels without it cannot forbid anything.
        let is_forbidden = read(&self.sys_kernel, "rcu_normal").is_ok_and(|value| value != 0);
        if is_forbidden || read(&self.sys_kernel, "rcu_expedited")? != 0 {
            return Ok(Pace::NotOurs);
        }
        Ok(Pace::Slow)
    }

    fn tell_once(&self, error: &ExpediteError) {
        if self.is_told.swap(true, Ordering::Relaxed) {
            return;
        }
        let remedy = if error.source.kind() == io::ErrorKind::NotFound {
            "this kernel has no such setting"
        } else {
            "it takes root and a writable /sys; under systemd deploy/systemd/expedite.conf does it"
        };
        tracing::warn!(
            %error,
            "attaching and detaching go on slowly: {remedy} (capture.expedite_attach: false says \
             nothing)"
        );
    }
}

/// Many interfaces that are being attached or detached. Grace periods are as before when it is
/// dropped.
#[derive(Debug)]
pub struct Batch<'a> {
    expedite: &'a Expedite,
    doing: &'static str,
    interfaces: usize,
    holds: bool,
    could_help: bool,
    began: Instant,
}

impl Batch<'_> {
    /// What may be said of how long it took.
    fn advice(&self, took: Duration) -> Option<String> {
        (self.could_help && took >= SLOW).then(|| {
            format!(
                "{} {} interfaces took {:.1} s: for each TCX link the kernel waits for a grace \
                 period of RCU; capture.expedite_attach: true shortens them",
                self.doing,
                self.interfaces,
                took.as_secs_f64()
            )
        })
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if self.holds {
            put_back(&self.expedite.sys_kernel);
        }
        if let Some(advice) = self.advice(self.began.elapsed()) {
            tracing::info!("{advice}");
        }
    }
}

/// Puts the setting back if this process has it. For ends of the process that drop nothing.
pub fn put_back_own() {
    put_back(Path::new(SYS_KERNEL));
}

fn put_back(sys_kernel: &Path) {
    let is_ours = |value| value == own_mark();
    // Who has written something else since wants that.
    if read(sys_kernel, "rcu_expedited").is_ok_and(is_ours)
        && let Err(error) = write(sys_kernel, 0)
    {
        tracing::error!(%error, "grace periods of RCU stay expedited: write 0 there");
    }
}

/// An agent that was killed had left the setting.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Leftover {
    process: i32,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "put {SYS_KERNEL}/rcu_expedited back to 0, which process {} left behind",
            self.process
        )
    }
}

/// Puts back what an agent that was killed has left.
pub fn put_back_leftover() -> Result<Option<Leftover>, ExpediteError> {
    put_back_leftover_at(Path::new(SYS_KERNEL))
}

fn put_back_leftover_at(sys_kernel: &Path) -> Result<Option<Leftover>, ExpediteError> {
    // Where it cannot be read nobody has written it.
    let Ok(value) = read(sys_kernel, "rcu_expedited") else {
        return Ok(None);
    };
    let process = value.wrapping_sub(MARK);
    if !(1..=MAX_PID).contains(&process) || is_agent_running(process) {
        return Ok(None);
    }
    write(sys_kernel, 0)?;
    Ok(Some(Leftover { process }))
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

fn own_mark() -> i32 {
    MARK.saturating_add_unsigned(process::id())
}

fn read(sys_kernel: &Path, name: &str) -> Result<i32, ExpediteError> {
    let path = sys_kernel.join(name);
    let parse = |text: String| text.trim().parse().map_err(io::Error::other);
    let value = fs::read_to_string(&path).and_then(parse);
    value.map_err(|source| ExpediteError {
        operation: "read",
        path,
        source,
    })
}

fn write(sys_kernel: &Path, value: i32) -> Result<(), ExpediteError> {
    let path = sys_kernel.join("rcu_expedited");
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
