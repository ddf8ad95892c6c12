//! The kernel and what this process may do with it.

use std::{collections::BTreeMap, fs, path::Path};

use aya::util::KernelVersion;

use crate::load::{self, kernel_version};

/// Kernel, its features, and the privileges of this process.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Host {
    /// Release of the running kernel.
    pub release: String,
    /// Machine architecture, such as `x86_64`.
    pub architecture: &'static str,
    /// The capabilities that the agent needs, and whether this process has each.
    pub capabilities: Vec<(String, bool)>,
    /// What the programs can make use of.
    pub features: Vec<Feature>,
    /// Why nothing can be loaded, if so.
    pub obstacle: Option<String>,
    /// TCX can be used.
    pub has_tcx: bool,
    /// Programs that the kernel refuses, by name, each with the reason; empty where it was not asked.
    pub refused_programs: BTreeMap<&'static str, String>,
}

/// Something that a kernel has or lacks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Feature {
    /// Name of the capability, such as `CAP_BPF`.
    pub name: &'static str,
    /// Whether it is there.
    pub is_present: bool,
    /// What follows where it is not.
    pub without: &'static str,
}

impl Host {
    /// `has_tcx` is what asking the kernel said, if it could be asked.
    pub(super) fn read(has_tcx: Option<bool>) -> Self {
        let is_from = |major, minor| kernel_version() >= KernelVersion::new(major, minor, 0);
        // Of 6.6, commit e420bed02507.
        let has_tcx = has_tcx.unwrap_or_else(|| is_from(6, 6));
        let features = [
            ("ring buffer", is_from(5, 8), "nothing can be captured"),
            (
                "XDP by bpf_link",
                is_from(5, 9),
                "XDP is not used, it would outlive the agent",
            ),
            (
                "XDP frames in several buffers",
                is_from(5, 18),
                "drivers refuse XDP on jumbo frames",
            ),
            ("TCX", has_tcx, "filters on a clsact qdisc are used"),
            (
                "BTF",
                Path::new("/sys/kernel/btf/vmlinux").exists(),
                "nothing is missed, tools show less",
            ),
            (
                "JIT",
                is_jit_on(),
                "programs are interpreted, at several times the cost",
            ),
        ];
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            release: release.trim().to_owned(),
            architecture: std::env::consts::ARCH,
            capabilities: load::capabilities(),
            features: features
                .map(|(name, is_present, without)| Feature {
                    name,
                    is_present,
                    without,
                })
                .to_vec(),
            obstacle: load::can_load().err().map(|error| error.to_string()),
            has_tcx,
            refused_programs: BTreeMap::new(),
        }
    }
}

/// The file can be read by root only; kernels built with `CONFIG_BPF_JIT_ALWAYS_ON` always have it
/// on, and the others of today by default.
fn is_jit_on() -> bool {
    fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").map_or(true, |text| text.trim() != "0")
}
