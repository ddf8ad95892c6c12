//! The entry points.

use aya_ebpf::{
    bindings::{TC_ACT_UNSPEC, xdp_action::XDP_PASS},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use probe_common::record::{EGRESS, INGRESS};

use crate::{
    account, maps,
    packet::{TcFrame, TcPacket, XdpFrame, XdpLinearFrame},
};

/// XDP on kernels that hand over frames in several buffers (5.18 and newer).
#[xdp(frags)]
#[inline(always)]
fn probe_xdp_ingress(ctx: XdpContext) -> u32 {
    account::frame(&XdpFrame::new(ctx), INGRESS);
    XDP_PASS
}

/// XDP on kernels before 5.18, which have neither such frames nor the calls to read them.
#[xdp]
#[inline(always)]
fn probe_xdp_ingress_linear(ctx: XdpContext) -> u32 {
    account::frame(&XdpLinearFrame::new(ctx), INGRESS);
    XDP_PASS
}

/// TC ingress of a device with Ethernet headers.
#[classifier]
#[inline(always)]
fn probe_tc_ingress(ctx: TcContext) -> i32 {
    account::frame(&TcFrame::new(ctx), INGRESS);
    TC_ACT_UNSPEC
}

/// TC egress of a device with Ethernet headers.
#[classifier]
#[inline(always)]
fn probe_tc_egress(ctx: TcContext) -> i32 {
    account::frame(&TcFrame::new(ctx), EGRESS);
    TC_ACT_UNSPEC
}

/// TC ingress of a device without link header.
#[classifier]
#[inline(always)]
fn probe_tc_ingress_l3(ctx: TcContext) -> i32 {
    account::frame(&TcPacket::new(ctx), INGRESS);
    TC_ACT_UNSPEC
}

/// TC egress of a device without link header.
#[classifier]
#[inline(always)]
fn probe_tc_egress_l3(ctx: TcContext) -> i32 {
    account::frame(&TcPacket::new(ctx), EGRESS);
    TC_ACT_UNSPEC
}

/// Never attached: run by the agent, which cannot read the tick count otherwise.
#[classifier]
#[inline(always)]
fn probe_ticks(_: TcContext) -> i32 {
    maps::tick().cast_signed()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing here can panic; were it otherwise, the verifier would refuse the endless loop.
    loop {}
}

/// The helpers marked "GPL only" are open to programs that declare this licence.
#[expect(
    unsafe_code,
    reason = "the kernel finds the licence by its section name"
)]
// SAFETY: the section is read by the loader only, as the NUL-terminated string that this is.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
