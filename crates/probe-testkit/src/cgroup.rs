//! A cgroup of our own, with a limit: of version 2, or the controller's own hierarchy of version 1.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use rustix::process::Signal;

use crate::{
    eventually::{PATIENCE, eventually, try_within},
    process::Process,
};

const ROOT: &str = "/sys/fs/cgroup";
const PREFIX: &str = "probe-test-";
const MEMBERS: &str = "cgroup.procs";

/// Words before a command that is to be a member from its start: it waits until [`Cgroup::admit`].
/// In a namespace of ours there is no `/sys/fs/cgroup` to write to.
pub const WAITING: [&str; 4] = ["sh", "-c", "kill -STOP $$ && exec \"$@\"", "sh"];

/// A cgroup, removed when dropped. Its members must have ended, or have been moved, by then.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// One with so many octets of memory: pages, and what the kernel keeps for its members. None where
    /// this machine has no memory controller for us.
    pub fn with_memory(bytes: u64) -> Option<Self> {
        let bytes = bytes.to_string();
        Self::new(&[
            ("", &[("memory.max", &bytes)]),
            ("memory", &[("memory.limit_in_bytes", &bytes)]),
        ])
    }

    /// One with so many microseconds of CPU time in each period of so many. None where this machine
    /// has no such controller for us.
    pub fn with_cpu_time(quota_us: u32, period_us: u32) -> Option<Self> {
        let [quota, period] = [quota_us, period_us].map(|it| it.to_string());
        let both = format!("{quota} {period}");
        Self::new(&[
            ("", &[("cpu.max", &both)]),
            (
                "cpu",
                &[("cpu.cfs_period_us", &period), ("cpu.cfs_quota_us", &quota)],
            ),
        ])
    }

    /// Below the first of these hierarchies that takes the settings.
    fn new(choices: &[(&str, &[(&str, &str)])]) -> Option<Self> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Relaxed);
        let name = format!("{PREFIX}{}-{serial}", std::process::id());
        for (hierarchy, settings) in choices {
            let root = Path::new(ROOT).join(hierarchy);
            // In a directory that is no cgroup we would make one that is none either.
            if !root.join(MEMBERS).exists() {
                continue;
            }
            delete_orphans(&root);
            let group = root.join(&name);
            if fs::create_dir(&group).is_err() {
                continue;
            }
            let group = Self(group);
            let is_set = |(name, value): &(&str, &str)| {
                let file = group.0.join(name);
                file.exists() && fs::write(file, value).is_ok()
            };
            if settings.iter().all(is_set) {
                return Some(group);
            }
        }
        None
    }

    /// Makes a process a member, with what it takes from now on. Panics where that fails.
    #[track_caller]
    pub fn add(&self, pid: u32) {
        fs::write(self.0.join(MEMBERS), pid.to_string()).expect("a member");
    }

    /// Moves a process out of all such groups. Panics where that fails.
    #[track_caller]
    pub fn remove(&self, pid: u32) {
        let root = self.0.parent().expect("a hierarchy");
        fs::write(root.join(MEMBERS), pid.to_string()).expect("no member");
    }

    /// Makes a process a member that was started behind [`WAITING`], which then becomes its command.
    /// Panics where that fails, or the process does not wait.
    #[track_caller]
    pub fn admit(&self, process: &Process) {
        let stat = format!("/proc/{}/stat", process.id());
        eventually("the process waits to become a member", || {
            let stat = fs::read_to_string(&stat).expect("it lives");
            stat.contains(") T ").then_some(())
        });
        self.add(process.id());
        process.signal(Signal::CONT);
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let gone = || Ok(fs::remove_dir(&self.0).ok());
        // A panic while panicking would abort and leave the rest behind.
        if let Err(error) = try_within(PATIENCE, "the cgroup is empty", gone) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

/// Deletes the empty groups of processes that were killed and could not do it.
fn delete_orphans(root: &Path) {
    let groups = fs::read_dir(root).into_iter().flatten().flatten();
    for group in groups {
        let name = group.file_name().to_string_lossy().into_owned();
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|it| it.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // May fail: a member lives, or another process does the same.
            let _ = fs::remove_dir(group.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::{Cgroup, WAITING};
    use crate::process::Process;

    #[test]
    fn members_are_there_from_their_start_and_the_group_goes() {
        let Some(group) = Cgroup::with_memory(64 << 20) else {
            crate::skip::not_in_this_kernel("a memory cgroup");
            return;
        };
        let path = group.0.clone();
        let mut command = Command::new(WAITING[0]);
        let member = Process::spawn(command.args(&WAITING[1..]).args(["sleep", "60"]));
        group.admit(&member);
        let members = || fs::read_to_string(path.join("cgroup.procs")).expect("members");
        assert_eq!(members(), format!("{}\n", member.id()));
        group.remove(member.id());
        assert_eq!(members(), "");
        drop((member, group));
        assert!(!path.exists());
    }
}
