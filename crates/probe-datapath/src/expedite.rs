//! Grace periods of RCU in a hurry, while many programs are attached or detached.
//!
//! Each TCX link waits for a grace period when it is attached and when it is detached, under the
//! kernel's lock for links: some 8 ms each. `/sys/kernel/rcu_expedited` makes the kernel interrupt
//! all CPUs instead of waiting for them, which takes microseconds. It is a setting of the whole
//! machine, so it is set only as long as it takes, and only for [`MANY`] interfaces.
//!
//! That `auto` does it unasked asks no more of a host than the kernel does: whenever links are made,
//! changed and removed, `synchronize_net` (net/core/dev.c, on 5.10 as on 6.18) takes
//! `synchronize_rcu_expedited` if RTNL is held, so that no process waits long for the lock. TCX holds it,
//! too, and waits with a plain `synchronize_rcu` (`tcx_entry_sync`, include/net/tcx.h). Where the
//! owner of the host evidently minds it is not done: see `objection`.
//!
//! An agent that is gone may not leave it set. So what is written there says whose it
//! is: see `setting`. An agent that may not write it has a service manager that may: see
//! [`Expedite::begin`].

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

mod objection;
mod setting;

pub use objection::Objection;
pub use setting::{ExpediteError, StaleSetting, end, put_back_own, put_back_stale_setting};

use probe_capture::manager::{BatchGuard, BatchObserver};

use crate::options::ExpediteAttach;

/// With fewer interfaces the machine is left alone: they take no quarter of a second.
pub const MANY: usize = 16;

/// Longer than this for many interfaces is worth a word about the setting.
const SLOW: Duration = Duration::from_secs(2);

/// Where the kernel has its settings, and tells of CPUs.
const SYS: &str = "/sys";

/// Whether grace periods may be hurried, and what has been said about it.
#[derive(Debug)]
pub struct Expedite {
    sys: PathBuf,
    wanted: ExpediteAttach,
    is_told: AtomicBool,
}

impl Default for Expedite {
    /// Off: an embedding program switches it on by itself.
    fn default() -> Self {
        Self::new(ExpediteAttach::Never)
    }
}

/// Why it is not hurried.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    /// The owner of the host minds. Only for `auto`.
    #[error(transparent)]
    Objection(#[from] Objection),
    /// The setting cannot be read or written.
    #[error(transparent)]
    Setting(#[from] ExpediteError),
}

impl Obstacle {
    /// What it would take.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Objection(_) => "capture.expedite_attach: true does it all the same",
            Self::Setting(error) if error.kind() == io::ErrorKind::NotFound => {
                "this kernel has no such setting"
            }
            Self::Setting(_) => {
                "it takes root and a writable /sys; under systemd \
                 deploy/systemd/probe-agent.service does it for starts and stops"
            }
        }
    }
}

impl Expedite {
    /// Expedites grace periods as `capture.expedite_attach` says.
    pub fn new(wanted: ExpediteAttach) -> Self {
        Self::at(Path::new(SYS), wanted)
    }

    fn at(sys: &Path, wanted: ExpediteAttach) -> Self {
        Self {
            sys: sys.to_owned(),
            wanted,
            is_told: AtomicBool::new(false),
        }
    }

    /// Whether this process may come to have the setting, so that all its ends must put it back.
    pub fn may_hold(&self) -> bool {
        self.wanted != ExpediteAttach::Never && setting::is_writable(&self.sys)
    }

    /// So many interfaces are going to be attached or detached, until the batch is dropped. `doing`
    /// says which, for the log.
    #[must_use]
    pub fn batch(&self, doing: &'static str, interfaces: usize) -> Batch<'_> {
        let mut batch = Batch {
            expedite: self,
            doing,
            interfaces,
            holds: false,
            obstacle: None,
            began: Instant::now(),
        };
        match self.take(interfaces, setting::own_mark()) {
            Ok(is_ours) => batch.holds = is_ours,
            Err(obstacle) if self.wanted == ExpediteAttach::Always => self.warn_once(&obstacle),
            Err(obstacle) => batch.obstacle = Some(obstacle),
        }
        if batch.holds {
            tracing::info!(
                interfaces,
                "{doing}: grace periods of RCU are expedited meanwhile, on the whole machine"
            );
        }
        batch
    }

    /// Hurries on behalf of an agent that may not, which is going to attach or detach so many
    /// interfaces, until [`end`] is called. Whether the setting is ours now.
    ///
    /// # Errors
    ///
    /// [`Obstacle::Objection`]: the setting is `auto`, and CPUs are isolated or the kernel is a
    /// real-time one. [`Obstacle::Setting`]: `/sys/kernel/rcu_expedited` cannot be read or written.
    pub fn begin(&self, interfaces: usize) -> Result<bool, Obstacle> {
        self.take(interfaces, setting::OF_SERVICE)
    }

    /// Whether the setting is ours now, which `mark` says to everybody.
    fn take(&self, interfaces: usize, mark: i32) -> Result<bool, Obstacle> {
        let is_of_use = interfaces >= MANY && self.wanted != ExpediteAttach::Never;
        if !is_of_use || !setting::is_free(&self.sys)? {
            return Ok(false);
        }
        if self.wanted == ExpediteAttach::Auto {
            objection::of_host(&self.sys)?;
        }
        setting::write(&self.sys, mark)?;
        Ok(true)
    }

    fn warn_once(&self, obstacle: &Obstacle) {
        if self.is_first() {
            let remedy = obstacle.remedy();
            tracing::warn!(
                error = %obstacle,
                "attaching and detaching go on slowly: {remedy} (capture.expedite_attach: false \
                 says nothing)"
            );
        }
    }

    fn is_first(&self) -> bool {
        !self.is_told.swap(true, Ordering::Relaxed)
    }
}

impl BatchObserver for Expedite {
    fn begin(&self, doing: &'static str, interfaces: usize) -> Box<dyn BatchGuard + '_> {
        Box::new(self.batch(doing, interfaces))
    }
}

impl BatchGuard for Batch<'_> {}

/// Many interfaces that are being attached or detached. Grace periods are as before when it is
/// dropped.
#[derive(Debug)]
pub struct Batch<'a> {
    expedite: &'a Expedite,
    doing: &'static str,
    interfaces: usize,
    holds: bool,
    obstacle: Option<Obstacle>,
    began: Instant,
}

impl Batch<'_> {
    /// What is to be said, once, if it took long: no user asked for a hurry, so nothing is wrong.
    fn advice(&self, took: Duration) -> Option<String> {
        let obstacle = self.obstacle.as_ref().filter(|_| took >= SLOW)?;
        self.expedite.is_first().then(|| {
            format!(
                "{} {} interfaces took {:.1} s: for each TCX link the kernel waits for a grace \
                 period of RCU, and these were not expedited: {obstacle} ({})",
                self.doing,
                self.interfaces,
                took.as_secs_f64(),
                obstacle.remedy(),
            )
        })
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if self.holds {
            setting::put_back(&self.expedite.sys, setting::own_mark());
        }
        if let Some(advice) = self.advice(self.began.elapsed()) {
            tracing::info!("{advice}");
        }
    }
}

#[cfg(test)]
mod tests;
