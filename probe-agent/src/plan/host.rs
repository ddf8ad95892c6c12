//! The kernel, and what this process may do.

use serde::Serialize;

use probe_datapath::inventory::Host;

/// Kernel release, architecture and privileges.
#[derive(Clone, Debug, Serialize)]
pub struct HostPlan {
    /// Release of the kernel.
    pub kernel: String,
    /// Machine architecture, such as `x86_64`.
    pub architecture: &'static str,
    /// Capabilities that the agent needs and this process has.
    pub capabilities: Vec<String>,
    /// Capabilities that the agent needs and this process lacks.
    pub capabilities_missing: Vec<String>,
    /// What the programs can make use of.
    pub features: Vec<FeaturePlan>,
}

/// Something that a kernel has or lacks.
#[derive(Clone, Debug, Serialize)]
pub struct FeaturePlan {
    /// Name of the capability, such as `CAP_BPF`.
    pub name: &'static str,
    /// Whether it is there.
    pub present: bool,
    /// What follows where it is not.
    pub without: &'static str,
}

impl HostPlan {
    pub(super) fn from_host(host: &Host) -> Self {
        let capabilities = |is_held: bool| {
            let matching = host
                .capabilities
                .iter()
                .filter(|(_, held)| *held == is_held);
            matching.map(|(name, _)| name.clone()).collect()
        };
        Self {
            kernel: host.release.clone(),
            architecture: host.architecture,
            capabilities: capabilities(true),
            capabilities_missing: capabilities(false),
            features: host
                .features
                .iter()
                .map(|feature| FeaturePlan {
                    name: feature.name,
                    present: feature.is_present,
                    without: feature.without,
                })
                .collect(),
        }
    }
}
