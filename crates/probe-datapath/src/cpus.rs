//! How many CPUs there are places for.

use std::{fs, io};

/// CPUs that could ever be plugged in.
const POSSIBLE: &str = "/sys/devices/system/cpu/possible";
/// CPUs that are plugged in now.
const PRESENT: &str = "/sys/devices/system/cpu/present";

/// The CPUs cannot be counted.
#[derive(Debug, thiserror::Error)]
#[error("cannot count the CPUs ({path}): {source}")]
pub struct CpusError {
    /// The file that tells.
    path: &'static str,
    /// Why it does not.
    source: io::Error,
}

/// One more than the highest number of a CPU that could ever be plugged in.
///
/// # Errors
///
/// [`CpusError`]: `/sys/devices/system/cpu/possible` cannot be read, or does not end in the number
/// of a CPU.
pub fn possible() -> Result<u32, CpusError> {
    count(POSSIBLE)
}

/// One more than the highest number of a CPU that is plugged in. Virtual machines may have room
/// for hundreds more.
///
/// # Errors
///
/// [`CpusError`]: `/sys/devices/system/cpu/present` cannot be read, or does not end in the number
/// of a CPU.
pub fn present() -> Result<u32, CpusError> {
    count(PRESENT)
}

fn count(path: &'static str) -> Result<u32, CpusError> {
    let explain = |source| CpusError { path, source };
    let list = fs::read_to_string(path).map_err(explain)?;
    end_of(&list).ok_or_else(|| explain(io::Error::new(io::ErrorKind::InvalidData, list)))
}

/// One more than the last number in a list such as `0-3,8-11`.
fn end_of(list: &str) -> Option<u32> {
    let last = list.trim().rsplit([',', '-']).next()?;
    last.parse::<u32>().ok()?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::{end_of, possible, present};

    #[test]
    fn the_last_number_counts() {
        let lists = ["0\n", "0-3", "0-3,8-11", "0,2,4,7"];
        assert_eq!(lists.map(end_of), [Some(1), Some(4), Some(12), Some(8)]);
        assert_eq!(end_of(""), None);
        assert_eq!(end_of("all"), None);
    }

    #[test]
    fn this_host_has_cpus() {
        let (present, possible) = (present().unwrap(), possible().unwrap());
        assert!((1..=possible).contains(&present));
    }
}
