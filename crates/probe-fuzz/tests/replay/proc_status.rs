//! How much memory this process has taken at its peak.

use std::fs;

/// A stretch of time over which the peak is taken.
pub(crate) struct Peak {
    /// Resident memory at its start.
    start_kib: u64,
}

impl Peak {
    /// Forgets the peak of before (`clear_refs`, proc_pid_clear_refs(5)).
    pub(crate) fn begin() -> Self {
        fs::write("/proc/self/clear_refs", "5").expect("the kernel keeps a peak");
        Self {
            start_kib: field("VmRSS:"),
        }
    }

    /// By how many KiB the peak since then is above the memory at the start.
    pub(crate) fn grown_kib(&self) -> u64 {
        field("VmHWM:").saturating_sub(self.start_kib)
    }
}

fn field(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a file of the kernel");
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|it| it.parse().ok())
        .expect("a number of KiB")
}
