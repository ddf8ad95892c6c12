//! The process by the kernel's own counts, under the names that every Prometheus client has.

use std::fs;

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

/// What the kernel says of this process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProcessCounts {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) open_files: u64,
    pub(super) max_files: u64,
    pub(super) threads: u64,
}

impl ProcessCounts {
    /// Reads it. `None` where /proc is not there.
    #[expect(clippy::cast_precision_loss, reason = "clock ticks, far below 2^52")]
    pub(super) fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name, in parentheses, may have spaces. After it the third field of proc_pid_stat(5).
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = field(14)? + field(15)?;
        let files = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
        Some(Self {
            cpu_seconds: ticks as f64 / clock_ticks_per_second() as f64,
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page_size() as u64,
            // Without the one that this reading has open.
            open_files: files.saturating_sub(1),
            max_files: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ProcessCounts;

    #[test]
    fn a_process_has_threads_files_and_memory() {
        let counts = ProcessCounts::read().unwrap();
        assert!(counts.threads >= 1 && counts.threads < 1000, "{counts:?}");
        assert!(counts.open_files >= 3 && counts.open_files <= counts.max_files);
        assert!(counts.resident_bytes > 1 << 20, "{counts:?}");
        assert!(counts.virtual_bytes > counts.resident_bytes, "{counts:?}");
    }
}
