//! What the kernel tells of a process.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context, Result};
use probe_testkit::process::status_kib;
use rustix::{
    param::clock_ticks_per_second,
    time::{ClockId, clock_gettime},
};

/// CPU time that the calling thread has taken, in seconds.
pub(crate) fn thread_cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default().as_secs_f64()
}

/// Most memory that was resident since the start or [`reset_peak`], in bytes.
pub(crate) fn rss_peak_bytes() -> Result<u64> {
    Ok(status_kib(std::process::id(), "VmHWM")? << 10)
}

/// Makes the kernel forget the peak so far (proc_pid_clear_refs(5)).
pub(crate) fn reset_peak() -> Result<()> {
    const PATH: &str = "/proc/self/clear_refs";
    fs::write(PATH, "5").with_context(|| format!("cannot write {PATH}"))
}

/// How the kernel names a map that a process has mapped.
const BPF_MAPPING: &str = "anon_inode:bpf-map";

/// Resident memory in bytes.
pub(crate) fn rss_bytes(pid: u32) -> Result<u64> {
    Ok(status_kib(pid, "VmRSS")? << 10)
}

/// Resident memory of its own, in bytes: mapped rings, of which more and more is touched, aside.
pub(crate) fn anonymous_bytes(pid: u32) -> Result<u64> {
    Ok(status_kib(pid, "RssAnon")? << 10)
}

/// Resident memory that is also that of the kernel's maps, in bytes: what of them the process has
/// mapped.
pub(crate) fn mapped_bpf_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let kib = mapped_bpf_kib(&text);
    kib.map(|kib| kib << 10)
        .with_context(|| format!("cannot understand {path}"))
}

fn mapped_bpf_kib(smaps: &str) -> Option<u64> {
    let mut is_of_bpf = false;
    let mut kib = 0;
    for line in smaps.lines() {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["Rss:", resident, "kB"] if is_of_bpf => kib += resident.parse::<u64>().ok()?,
            // A mapping begins with its addresses, and has its name behind four more columns.
            [range, _, _, _, _, ref name @ ..] if range.contains('-') => {
                is_of_bpf = name.first().is_some_and(|it| it.starts_with(BPF_MAPPING));
            }
            _ => {}
        }
    }
    Some(kib)
}

/// CPU time that all its threads have taken, in ns, those that have ended aside.
pub(crate) fn cpu_ns(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let times = tasks.into_iter().flatten().flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    times.sum()
}

/// User CPU time of the calling thread, in seconds. The kernel tells it in ticks of 10 ms
/// (proc_pid_stat(5)).
pub(crate) fn thread_user_seconds() -> Result<f64> {
    const PATH: &str = "/proc/thread-self/stat";
    let text = fs::read_to_string(PATH).with_context(|| format!("cannot read {PATH}"))?;
    let ticks = user_ticks(&text).with_context(|| format!("cannot understand {PATH}"))?;
    #[expect(clippy::cast_precision_loss, reason = "less than 2^52 ticks")]
    let seconds = ticks as f64 / clock_ticks_per_second() as f64;
    Ok(seconds)
}

fn user_ticks(stat: &str) -> Option<u64> {
    // The name is in brackets and may hold anything; the third field follows, and this is the 14th.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(11)?.parse().ok()
}

/// CPU time of all kernel threads, in ns: what the kernel does for others, but not in their time.
pub(crate) fn kernel_threads_ns() -> u64 {
    const KTHREADD: u32 = 2;
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid == KTHREADD || parent(*pid) == Some(KTHREADD))
        .map(cpu_ns)
        .sum()
}

/// A process and all that it has started.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<_> = pids.filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        let children = parents.iter().filter(|(_, its)| *its == parent);
        family.extend(children.map(|(pid, _)| *pid));
        next += 1;
    }
    family
}

fn parent(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in brackets and may hold anything; state and parent follow.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Kernel memory of the eBPF maps and programs that a process holds, in bytes (6.4 and newer).
pub(crate) fn bpf_bytes(pid: u32) -> u64 {
    let mut objects = BTreeMap::new();
    let files = fs::read_dir(format!("/proc/{pid}/fdinfo"));
    for file in files.into_iter().flatten().flatten() {
        let text = fs::read_to_string(file.path()).unwrap_or_default();
        for kind in ["map_id:", "prog_id:"] {
            if let (Some(id), Some(bytes)) = (number(&text, kind), number(&text, "memlock:")) {
                objects.insert((kind, id), bytes);
            }
        }
    }
    objects.values().sum()
}

fn number(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{cpu_ns, family, mapped_bpf_kib, number, rss_bytes, user_ticks};

    #[test]
    fn this_process_has_memory_time_and_itself() {
        let me = std::process::id();
        assert!(rss_bytes(me).expect("a living process") > 0);
        assert!(cpu_ns(me) > 0);
        assert_eq!(family(me).first(), Some(&me));
    }

    #[test]
    fn of_what_is_mapped_only_maps_count() {
        // In the form of proc_pid_smaps(5), with most lines left out.
        let smaps = "\
5581c4a00000-5581c4c7e000 r--p 00000000 fe:00 1234                       /usr/bin/probe-agent
Size:               2552 kB
Rss:                2048 kB
7f3fe166e000-7f3fe1683000 rw-s 00000000 00:10 1038                       anon_inode:bpf-map
Size:                 84 kB
Rss:                  84 kB
7f3fe1683000-7f3fe16c7000 rw-s 00000000 00:10 1038                       anon_inode:bpf-map
Size:                272 kB
Rss:                   4 kB
7f3fe16c7000-7f3fe16e8000 rw-p 00000000 00:00 0
Rss:                 100 kB
";
        assert_eq!(mapped_bpf_kib(smaps), Some(88));
        assert_eq!(mapped_bpf_kib(""), Some(0));
    }

    #[test]
    fn user_time_is_found_behind_any_name() {
        // In the form of proc_pid_stat(5): utime 712, stime 34.
        let stat = "42 (a) b (c) R 1 42 42 0 -1 4194304 100 0 0 0 712 34 0 0 20 0 1 0 9 1 1";
        assert_eq!(user_ticks(stat), Some(712));
        assert_eq!(user_ticks("42 (a"), None);
    }

    #[test]
    fn numbers_are_found_by_their_key() {
        assert_eq!(number("a:\t1\nmemlock:\t4096 kB\n", "memlock:"), Some(4096));
        assert_eq!(number("a:\t1\n", "memlock:"), None);
    }
}
