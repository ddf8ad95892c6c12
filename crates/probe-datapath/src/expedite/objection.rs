//! Hosts whose owners evidently mind that all CPUs are interrupted.
//!
//! The kernel's way to say so, `rcu_normal`, is `setting`'s: with it nothing can be expedited. It is
//! on by default in real-time kernels (`rcu_normal_after_boot`, kernel/rcu/update.c). A host that has switched
//! it off there has not done so for us.

use std::{fs, path::Path};

/// Lists of CPUs that are kept free of others' work, below `/sys`: by `isolcpus=`, by `nohz_full=`,
/// and by isolated partitions of cgroups, which are not in the first list since
/// `HK_TYPE_DOMAIN_BOOT` (drivers/base/cpu.c).
const CPU_LISTS: [&str; 3] = [
    "devices/system/cpu/isolated",
    "devices/system/cpu/nohz_full",
    "fs/cgroup/cpuset.cpus.isolated",
];

/// Only kernels with the patches for real time have it, where it is 1.
const REAL_TIME: &str = "kernel/realtime";

/// How one can tell.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum Objection {
    /// Some CPUs are to be left in peace.
    #[error("CPUs {cpus} are isolated (/sys/{list})")]
    Isolated {
        /// As the kernel writes it: `2-7,12`.
        cpus: String,
        /// Where it says so.
        list: &'static str,
    },
    /// Latencies matter more than how long anything takes.
    #[error("this is a real-time kernel (/sys/{REAL_TIME})")]
    RealTime,
}

/// What the owner of the host has to object, as far as the kernel tells.
pub(super) fn of_host(sys: &Path) -> Result<(), Objection> {
    let read = |name: &str| fs::read_to_string(sys.join(name)).unwrap_or_default();
    for list in CPU_LISTS {
        let text = read(list);
        let cpus = text.trim();
        // So prints the kernel a mask that was never made, of a host without `nohz_full=`.
        if !cpus.is_empty() && cpus != "(null)" {
            let cpus = cpus.to_owned();
            return Err(Objection::Isolated { cpus, list });
        }
    }
    if read(REAL_TIME).trim() == "1" {
        return Err(Objection::RealTime);
    }
    Ok(())
}
