//! The generator: sends frames at a steady rate, and tells what they took while its core was its alone.

#![expect(unsafe_code, reason = "helpers and map values need it")]
#![expect(
    clippy::needless_pass_by_value,
    reason = "a program is given its context, and has no use for it afterwards"
)]

use aya_ebpf::{
    bindings::xdp_action::XDP_ABORTED,
    helpers::{bpf_ktime_get_ns, bpf_redirect},
    macros::map,
    maps::Array,
    programs::XdpContext,
};

use crate::{
    variation::{
        ALONE, DUE_NS, FRAMES_PER_WAIT, LEFT_NS, OUT_IFINDEX, PACE_NS, RUNS, USUAL, Variation,
        WAITED_NS, WORK_STEP_NS, Work,
    },
    vary::{variation, xdp},
};

/// Checks the clock in a row at most: the verifier walks through all of them.
const CHECKS: u32 = 1 << 13;
/// What the generator may be late before it gives up catching up.
const MAX_DELAY_NS: u64 = 1_000_000;
/// Turns of the arithmetic, some 1 µs.
const TURNS: u64 = 1000;
/// Checks in a row with the core alone before what is in between counts: a neighbour that has just gone
/// has left our caches empty.
const LOOKS_ALONE: u64 = 32;

#[map]
static WORK: Array<Work> = Array::with_max_entries(1, 0);

#[inline(always)]
fn now_ns() -> u64 {
    // SAFETY: the helper takes nothing and reads a clock.
    unsafe { bpf_ktime_get_ns() }
}

/// Varies the frame, and gives the verdict that sends it out when it is due.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "both have 32 bits")]
pub(crate) fn send(ctx: XdpContext) -> u32 {
    xdp(&ctx);
    let Some(variation) = variation() else {
        return XDP_ABORTED;
    };
    wait(variation);
    // SAFETY: the helper takes no pointers.
    let verdict = unsafe { bpf_redirect(variation[OUT_IFINDEX] as u32, 0) };
    verdict.cast_unsigned() as u32
}

/// Waits until the frame is due. Awake, and in the program: the kernel takes 24 ms to come back from
/// a test run, in which the CPU would sleep and its caches go.
#[inline(always)]
fn wait(variation: &mut Variation) {
    let pace = variation[PACE_NS];
    if pace == 0 || !variation[RUNS].is_multiple_of(FRAMES_PER_WAIT) {
        return;
    }
    let came = now_ns();
    check(variation);
    if variation[ALONE] > LOOKS_ALONE {
        on_work(came - variation[LEFT_NS]);
    }
    let due = variation[DUE_NS];
    let mut now = came;
    for _ in 0..CHECKS {
        if now >= due {
            break;
        }
        // Four, some 100 ns: the verifier bounds the turns, not what is in them.
        now_ns();
        now_ns();
        now_ns();
        now = now_ns();
    }
    check(variation);
    let left = now_ns();
    variation[LEFT_NS] = left;
    variation[WAITED_NS] += left - came;
    variation[DUE_NS] = due.max(left.saturating_sub(MAX_DELAY_NS)) + pace * FRAMES_PER_WAIT;
}

/// Counts the time between two waits.
#[inline(always)]
fn on_work(ns: u64) {
    const LAST: usize = size_of::<Work>() / size_of::<u64>() - 1;
    let Some(work) = WORK.get_ptr_mut(0) else {
        return;
    };
    let step = (ns / WORK_STEP_NS).min(LAST as u64) as usize;
    // SAFETY: the kernel's lookup has just returned the pointer, and one program at a time runs.
    unsafe { (*work)[step] += 1 };
}

/// Finds out whether somebody computes on the core's other thread, where that is not ours: arithmetic
/// takes 1.3 to 1.5 times as long then (`quiet` in `probe-bench`).
#[inline(always)]
fn check(variation: &mut Variation) {
    let began = now_ns();
    let mut units = [began, 2, 3, 4];
    for turn in 0..TURNS {
        units[0] = units[0].wrapping_add(units[1] ^ turn);
        units[1] = units[1].wrapping_mul(3);
        units[2] ^= units[0];
        units[3] = units[3].wrapping_add(units[2]);
    }
    core::hint::black_box(units);
    let took = now_ns() - began;
    let usual = learn(variation[USUAL], took);
    variation[USUAL] = usual;
    // A twelfth more, without a division.
    if took << 8 <= usual + (usual >> 4) + (usual >> 6) {
        variation[ALONE] += 1;
    } else {
        variation[ALONE] = 0;
    }
}

/// What the arithmetic takes alone: goes down by a sixteenth of what it is too much, so that one odd
/// measurement changes little, and up so slowly that ten seconds beside a busy neighbour do not change it either.
#[inline(always)]
const fn learn(usual: u64, took: u64) -> u64 {
    // With eight more bits than the time has.
    let took = took << 8;
    if usual == 0 {
        took
    } else if took < usual {
        usual - ((usual - took) >> 4)
    } else {
        usual + (usual >> 18)
    }
}
