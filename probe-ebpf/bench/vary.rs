//! Another flow with each run: `BPF_PROG_TEST_RUN` repeats one frame, so the frame is changed.

#![expect(
    unsafe_code,
    reason = "packet bytes and map values are reached through raw pointers"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "a program is given its context, and has no use for it afterwards"
)]

use aya_ebpf::{
    macros::map,
    maps::{Array, ProgramArray},
    programs::{TcContext, XdpContext},
};
use probe_common::headers::{ETHERNET_LEN, IPV4_MIN_LEN};

use crate::variation::{FLOWS, IN_TURN, RUNS, STATE, Variation};

/// Where an IPv4 packet without options has its source address, behind an Ethernet header.
const SOURCE: usize = ETHERNET_LEN + 12;
/// And its transport's source port.
const SOURCE_PORT: usize = ETHERNET_LEN + IPV4_MIN_LEN;

#[map]
static VARIATION: Array<Variation> = Array::with_max_entries(1, 0);

#[map]
static XDP_TARGET: ProgramArray = ProgramArray::with_max_entries(1, 0);

#[map]
static TC_TARGET: ProgramArray = ProgramArray::with_max_entries(1, 0);

#[inline(always)]
pub(crate) fn variation() -> Option<&'static mut Variation> {
    let variation = VARIATION.get_ptr_mut(0)?;
    // SAFETY: the pointer was just returned by the kernel's lookup. One program at a time runs, on
    // one CPU; userspace writes the value only between runs.
    Some(unsafe { &mut *variation })
}

#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "numbers of flows have 32 bits"
)]
fn next_flow(variation: &mut Variation) -> u32 {
    variation[RUNS] += 1;
    if variation[IN_TURN] != 0 {
        let number = variation[STATE];
        let next = number + 1;
        variation[STATE] = if next == variation[FLOWS] { 0 } else { next };
        return number as u32;
    }
    // Xorshift (Marsaglia, 2003), then the upper half of a product: no division.
    let mut state = variation[STATE] as u32;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    variation[STATE] = u64::from(state);
    ((u64::from(state) * variation[FLOWS]) >> 32) as u32
}

/// Source address (198.18.0.0/15) and source port of a flow. Every number has its own, and
/// neighbours are far apart, as in real traffic: no hash has it easier than it would there.
#[inline(always)]
const fn place_of(flow: u32) -> (u32, u16) {
    const NET: u32 = 198 << 24 | 18 << 16;
    /// High ports without a service.
    const FIRST_PORT: u16 = 20_000;
    // The finaliser of Murmur3 (Appleby, 2011), which maps no two numbers to one.
    let mut mixed = flow;
    mixed = (mixed ^ mixed >> 16).wrapping_mul(0x85eb_ca6b);
    mixed = (mixed ^ mixed >> 13).wrapping_mul(0xc2b2_ae35);
    mixed ^= mixed >> 16;
    (NET | mixed & 0x1_ffff, FIRST_PORT + (mixed >> 17) as u16)
}

#[inline(always)]
fn vary(data: u32, data_end: u32) {
    let (data, data_end) = (data as usize, data_end as usize);
    let Some(variation) = variation() else {
        return;
    };
    let (address, port) = place_of(next_flow(variation));
    if data + SOURCE_PORT + 2 > data_end {
        return;
    }
    // SAFETY: both fields lie within `data..data_end`, which the kernel keeps writable while the
    // program runs; the writes need no alignment.
    unsafe {
        ((data + SOURCE) as *mut u32).write_unaligned(address.to_be());
        ((data + SOURCE_PORT) as *mut u16).write_unaligned(port.to_be());
    }
}

#[inline(always)]
pub(crate) fn xdp(ctx: &XdpContext) {
    // SAFETY: the pointer is the program's context, which the kernel keeps readable.
    let (data, data_end) = unsafe { ((*ctx.ctx).data, (*ctx.ctx).data_end) };
    vary(data, data_end);
}

#[inline(always)]
fn tc(ctx: &TcContext) {
    // SAFETY: the pointer is the program's context, which the kernel keeps readable.
    let (data, data_end) = unsafe { ((*ctx.skb.skb).data, (*ctx.skb.skb).data_end) };
    vary(data, data_end);
}

/// Varies the frame and goes on to the program that is set; returns only where none is.
#[inline(always)]
pub(crate) fn continue_xdp(ctx: XdpContext) {
    xdp(&ctx);
    // SAFETY: nothing here has to be dropped.
    unsafe { XDP_TARGET.tail_call(&ctx, 0) }
}

/// Varies the frame and goes on to the program that is set; returns only where none is.
#[inline(always)]
pub(crate) fn continue_tc(ctx: TcContext) {
    tc(&ctx);
    // SAFETY: nothing here has to be dropped.
    unsafe { TC_TARGET.tail_call(&ctx, 0) }
}
