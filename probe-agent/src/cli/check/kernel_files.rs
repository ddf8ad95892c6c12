//! File systems that the kernel makes up: nobody can store files there, root included.

use std::path::Path;

use rustix::fs::statfs;

/// By their magic numbers, linux/magic.h: proc, sysfs, debugfs, tracefs, securityfs, cgroup, cgroup2, bpf,
/// devpts.
const MAGIC: [u32; 9] = [
    0x9fa0,
    0x6265_6572,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0x0027_e0eb,
    0x6367_7270,
    0xcafe_4a11,
    0x1cd1,
];

/// The directory that is there already, if it is on one of those.
pub(super) fn above(path: &Path) -> Option<&Path> {
    let there = path.ancestors().find(|above| above.exists())?;
    let magic = i128::from(statfs(there).ok()?.f_type);
    MAGIC
        .iter()
        .any(|it| i128::from(*it) == magic)
        .then_some(there)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::above;

    #[test]
    fn directories_of_the_kernel_are_found() {
        let of = |path| above(Path::new(path));
        assert_eq!(of("/proc/probe/flows"), Some(Path::new("/proc")));
        assert_eq!(of("/sys/probe"), Some(Path::new("/sys")));
        assert_eq!(of("/probe/flows"), None);
    }
}
