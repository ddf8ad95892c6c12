//! The name under which a host stores its flows.

/// Name of this host, as `uname -n` has it; empty where /proc is not there.
pub(crate) fn name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim_end().to_owned()
}
