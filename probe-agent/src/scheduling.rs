//! What the kernel's scheduler is asked for.

#![expect(unsafe_code, reason = "a system call that no crate of ours wraps")]

use std::{io, time::Duration};

/// `struct sched_attr`, include/uapi/linux/sched/types.h, in its first form.
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

const _: () = assert!(size_of::<SchedAttr>() == 48);

/// `SCHED_FLAG_KEEP_POLICY`.
const KEEP_POLICY: u64 = 0x08;

/// Asks that the calling thread runs in slices of this length, 0.1 to 100 ms. It gets no more of a
/// CPU than others, but sooner: whoever wants little at a time goes before those who want much.
///
/// Kernels before 6.12 take no notice (commit 857b158dc5e8). Needs no privilege.
pub fn run_in_slices(slice: Duration) -> io::Result<()> {
    let attr = SchedAttr {
        size: 48,
        flags: KEEP_POLICY,
        nice: rustix::process::getpriority_process(None)?,
        runtime_ns: u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX),
        ..SchedAttr::default()
    };
    // SAFETY: the kernel reads `size` bytes at the pointer, which are those of `attr`; 0 is the
    // calling thread.
    let answer = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::run_in_slices;

    #[test]
    fn anybody_may_ask_for_short_slices() {
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| run_in_slices(Duration::from_micros(100)));
            asked.join().unwrap().unwrap();
        });
    }
}
