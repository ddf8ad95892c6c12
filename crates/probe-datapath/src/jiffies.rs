//! The kernel's tick count, and when a tick was.
//!
//! The programs stamp packets with `bpf_jiffies64`. Nothing but a program can read that count, so
//! one is run for it.

use std::time::Duration;

use jiff::Timestamp;
use probe_common::control::programs;
use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

use super::{
    load::Object,
    test_run::{TestFrame, TestRunError},
};
use probe_flow::ticks::TickClock;

/// A frame that the kernel takes for a test run; its content does not matter.
const ANY_FRAME: TestFrame<'static> = TestFrame {
    bytes: &[0; 64],
    linear_len: None,
    gso_size: 0,
    gso_segments: 0,
};

/// The kernel steps this clock once a tick, together with its count.
const TICKING: ClockId = ClockId::RealtimeCoarse;

/// Attempts to read tick and clock with no tick in between, before a pair with one is accepted.
const MAX_ATTEMPTS: u32 = 8;

/// The tick of this moment.
///
/// # Errors
///
/// [`TestRunError::Load`]: the program that reads the count cannot be loaded.
/// [`TestRunError::Frame`]: the kernel refuses to run it.
pub fn now(object: &mut Object) -> Result<u32, TestRunError> {
    Ok(object.test_run(programs::TICKS, ANY_FRAME, 1)?.action)
}

/// The tick of this moment with its time.
///
/// # Errors
///
/// As [`now`].
pub fn clock(object: &mut Object) -> Result<TickClock, TestRunError> {
    // Its resolution is the length of a tick (`posix_get_coarse_res` in kernel/time/posix-timers.c).
    let length = clock_getres(TICKING);
    let length = Duration::from_nanos(u64::try_from(length.tv_nsec).unwrap_or(1_000_000));
    let mut at = clock_gettime(TICKING);
    let mut tick = now(object)?;
    for _ in 1..MAX_ATTEMPTS {
        let after = clock_gettime(TICKING);
        if after == at {
            break;
        }
        at = after;
        tick = now(object)?;
    }
    Ok(TickClock::even(tick, timestamp(at), length))
}

fn timestamp(time: Timespec) -> Timestamp {
    let nanoseconds = i32::try_from(time.tv_nsec).unwrap_or_default();
    // No kernel's clock is beyond the year 9999.
    Timestamp::new(time.tv_sec, nanoseconds).unwrap_or_default()
}
