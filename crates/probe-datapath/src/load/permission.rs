//! Whether this kernel and the privileges of this process will do.

use std::fs;

use aya::util::KernelVersion;
use caps::{CapSet, Capability};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::{LoadError, kernel_version};

/// The ring buffer appeared in 5.8 (commit 457f44363a88), `CAP_BPF` too.
const OLDEST_KERNEL: KernelVersion = KernelVersion::new(5, 8, 0);

/// From 5.11 on, map memory is charged to the memory cgroup and no longer to `RLIMIT_MEMLOCK`
/// (commit 97306be45fbe).
pub(super) const NO_MEMLOCK_KERNEL: KernelVersion = KernelVersion::new(5, 11, 0);

/// What the agent needs in order to load and attach programs.
const CAPABILITIES: [Capability; 3] = [
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_PERFMON,
];

/// Whether kernel and privileges are such that loading can be tried.
///
/// # Errors
///
/// [`LoadError::KernelTooOld`]: the kernel is older than 5.8. [`LoadError::NotPermitted`]: one of
/// the [`capabilities`] is missing.
pub fn can_load() -> Result<(), LoadError> {
    refuse_old_kernel()?;
    refuse_missing_capabilities()
}

fn refuse_old_kernel() -> Result<(), LoadError> {
    if kernel_version() >= OLDEST_KERNEL {
        return Ok(());
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Err(LoadError::KernelTooOld {
        running: release.trim().to_owned(),
    })
}

fn refuse_missing_capabilities() -> Result<(), LoadError> {
    let missing: Vec<_> = capabilities()
        .into_iter()
        .filter(|(_, has)| !has)
        .map(|(capability, _)| capability)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(LoadError::NotPermitted {
        missing: missing.join(", "),
    })
}

/// The capabilities that the agent needs, and whether this process has each.
pub fn capabilities() -> Vec<(String, bool)> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    // CAP_SYS_ADMIN includes what was split off from it.
    let is_admin = has(Capability::CAP_SYS_ADMIN);
    CAPABILITIES
        .into_iter()
        .map(|capability| {
            let is_included = is_admin && capability != Capability::CAP_NET_ADMIN;
            (capability.to_string(), is_included || has(capability))
        })
        .collect()
}

/// Where map memory counts as locked memory, the usual limit of 64 KiB is too little for any ring.
pub fn raise_memlock_limit() {
    if kernel_version() >= NO_MEMLOCK_KERNEL {
        return;
    }
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    if let Err(error) = setrlimit(Resource::Memlock, unlimited) {
        tracing::debug!(%error, "cannot raise RLIMIT_MEMLOCK; making the maps may fail");
    }
}
