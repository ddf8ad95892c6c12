//! eBPF programs of the benchmarks: what the agent's own programs are compared with and fed by.
//!
//! Built by `cargo xtask bench` alone (feature `bench`), never part of the committed object. The
//! programs under measurement are not built anew: these hand frames to the agent's by a tail call.

#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![deny(unsafe_code)]

mod flows;
mod generate;
#[path = "../src"]
mod shared {
    #[expect(
        dead_code,
        unused_imports,
        reason = "the programs here use a part of it"
    )]
    pub(crate) mod packet;
}
mod variation;
mod vary;

use aya_ebpf::{
    bindings::{TC_ACT_UNSPEC, xdp_action::XDP_PASS},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

use crate::shared::packet::{TcFrame, XdpFrame};

/// What `packet` takes from the agent's maps.
mod maps {
    /// Hides an offset's bounds from the compiler, as the agent's programs do.
    #[inline(always)]
    pub(crate) fn unknown_zero() -> usize {
        core::hint::black_box(0)
    }
}

/// The least that a program can be.
#[xdp(frags)]
fn bench_xdp_empty(_: XdpContext) -> u32 {
    XDP_PASS
}

#[classifier]
fn bench_tc_empty(_: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Makes the frame one of another flow and hands it to the program under measurement.
#[xdp(frags)]
fn bench_xdp_vary(ctx: XdpContext) -> u32 {
    vary::continue_xdp(ctx);
    XDP_PASS
}

#[classifier]
fn bench_tc_vary(ctx: TcContext) -> i32 {
    vary::continue_tc(ctx);
    TC_ACT_UNSPEC
}

/// The usual design: parse, and count in a per-CPU hash map of flows. Nothing else, no ledger.
#[xdp(frags)]
fn bench_xdp_hash(ctx: XdpContext) -> u32 {
    flows::count(&XdpFrame::new(ctx));
    XDP_PASS
}

#[classifier]
fn bench_tc_hash(ctx: TcContext) -> i32 {
    flows::count(&TcFrame::new(ctx));
    TC_ACT_UNSPEC
}

/// Sends each frame, as one of another flow, out of an interface: a generator, with live frames.
#[xdp]
fn bench_generate(ctx: XdpContext) -> u32 {
    generate::send(ctx)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing here can panic; were it otherwise, the verifier would refuse the endless loop.
    loop {}
}

/// Tail calls and helpers are open to programs that declare this licence.
#[expect(
    unsafe_code,
    reason = "the kernel finds the licence by its section name"
)]
// SAFETY: the section is read by the loader only, as the NUL-terminated string that this is.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
