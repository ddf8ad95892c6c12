//! XDP: whole Ethernet frames, as they left the wire.

use core::ffi::c_void;
#[cfg(target_arch = "bpf")]
use core::mem::offset_of;

use aya_ebpf::{
    EbpfContext,
    bindings::xdp_md,
    helpers::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use probe_common::{
    ephash::{EpHashV4, EpHashV6},
    headers::ETHERNET_LEN,
    parse::{
        Observation, OutOfBounds, Packet, PacketBytes, ParseError, Start, link::parse_any_ethernet,
        plain,
    },
};

use super::{Frame, LinearStart, blur, call_offset, load_by_call, load_direct};

/// A frame, possibly in several buffers.
pub(crate) struct XdpFrame(XdpContext);

/// A frame on a kernel that has only frames in one buffer.
pub(crate) struct XdpLinearFrame(XdpContext);

impl XdpFrame {
    #[inline(always)]
    pub(crate) const fn new(ctx: XdpContext) -> Self {
        Self(ctx)
    }
}

impl PacketBytes for XdpFrame {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Result<[u8; N], OutOfBounds> {
        let (data, data_end) = bounds(self.0.ctx);
        load_direct(data, data_end, offset).or_else(|OutOfBounds| {
            // Only the first buffer can be read directly.
            load_by_call(|bytes, len| {
                // SAFETY: the first argument is the program's context, and `bytes` is writable for
                // `len` bytes.
                unsafe { bpf_xdp_load_bytes(self.0.ctx, call_offset(offset), bytes, len) }
            })
        })
    }

    #[inline(always)]
    fn start(&self, len: usize) -> Option<impl Start> {
        let (data, data_end) = bounds(self.0.ctx);
        LinearStart::new(data, data_end, len)
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        // SAFETY: the argument is the program's context.
        let len = unsafe { bpf_xdp_get_buff_len(self.0.ctx) };
        len as usize
    }

    #[inline(always)]
    fn blur(&self, offset: usize) -> usize {
        blur(offset)
    }
}

impl EbpfContext for XdpFrame {
    #[inline(always)]
    fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr()
    }
}

impl Frame for XdpFrame {
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        ifindex(self.0.ctx)
    }

    #[inline(always)]
    fn parse_plain_ipv4(
        &self,
        has_room: impl FnOnce(usize) -> bool,
    ) -> Option<Observation<EpHashV4>> {
        plain::parse_ipv4_if(self, has_room)
    }

    #[inline(always)]
    fn parse_plain_ipv6(
        &self,
        has_room: impl FnOnce(usize) -> bool,
    ) -> Option<Observation<EpHashV6>> {
        plain::parse_ipv6_if(self, has_room)
    }

    #[inline(always)]
    fn parse(&self) -> Result<Packet, ParseError> {
        parse_any_ethernet(self)
    }

    /// Saves the call (8 ns) where the first buffer holds the whole packet. Padding behind it in
    /// another buffer is overlooked; frames that are padded are short and in one buffer.
    #[inline(always)]
    fn len_of_packet(&self, octets: usize) -> usize {
        let linear_len = linear_len(self.0.ctx);
        if ETHERNET_LEN + octets <= linear_len {
            linear_len
        } else {
            self.wire_len()
        }
    }

    #[inline(always)]
    fn len_with_room_for(&self, octets: usize) -> Option<usize> {
        let linear_len = linear_len(self.0.ctx);
        if ETHERNET_LEN + octets <= linear_len {
            return Some(linear_len);
        }
        let wire_len = self.wire_len();
        (ETHERNET_LEN + octets <= wire_len).then_some(wire_len)
    }
}

impl XdpLinearFrame {
    #[inline(always)]
    pub(crate) const fn new(ctx: XdpContext) -> Self {
        Self(ctx)
    }
}

impl PacketBytes for XdpLinearFrame {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Result<[u8; N], OutOfBounds> {
        let (data, data_end) = wide_bounds(self.0.ctx);
        load_direct(data, data_end, offset)
    }

    #[inline(always)]
    fn start(&self, len: usize) -> Option<impl Start> {
        let (data, data_end) = wide_bounds(self.0.ctx);
        LinearStart::new(data, data_end, len)
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        let (data, data_end) = wide_bounds(self.0.ctx);
        data_end.wrapping_sub(data)
    }

    #[inline(always)]
    fn blur(&self, offset: usize) -> usize {
        blur(offset)
    }
}

impl EbpfContext for XdpLinearFrame {
    #[inline(always)]
    fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr()
    }
}

impl Frame for XdpLinearFrame {
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        ifindex(self.0.ctx)
    }

    #[inline(always)]
    fn parse_plain_ipv4(
        &self,
        has_room: impl FnOnce(usize) -> bool,
    ) -> Option<Observation<EpHashV4>> {
        plain::parse_ipv4_if(self, has_room)
    }

    #[inline(always)]
    fn parse_plain_ipv6(
        &self,
        has_room: impl FnOnce(usize) -> bool,
    ) -> Option<Observation<EpHashV6>> {
        plain::parse_ipv6_if(self, has_room)
    }

    #[inline(always)]
    fn parse(&self) -> Result<Packet, ParseError> {
        parse_any_ethernet(self)
    }
}

/// Packet pointers to the first byte of the first buffer and behind its last.
#[inline(always)]
fn bounds(ctx: *mut xdp_md) -> (usize, usize) {
    // SAFETY: `ctx` is the program's context, which the kernel keeps readable.
    let (data, data_end) = unsafe { ((*ctx).data, (*ctx).data_end) };
    (data as usize, data_end as usize)
}

/// Length of the first buffer, which is all of an ordinary frame.
#[inline(always)]
fn linear_len(ctx: *mut xdp_md) -> usize {
    let (data, data_end) = bounds(ctx);
    data_end.wrapping_sub(data)
}

/// [`bounds`] in registers of 64 bits from the first moment on. Where the compiler has read 32 bits and uses them
/// again in another block, it may clear the others once more: then they are a number and no pointer to
/// the verifier. In a program without calls between the reads nothing else keeps it from that.
#[cfg(target_arch = "bpf")]
#[inline(always)]
fn wide_bounds(ctx: *mut xdp_md) -> (usize, usize) {
    let (data, data_end): (u64, u64);
    // SAFETY: `ctx` is the program's context, which the kernel keeps readable. The instructions read it and
    // do nothing else.
    unsafe {
        core::arch::asm!(
            "{data} = *(u32 *)({ctx} + {start})",
            "{data_end} = *(u32 *)({ctx} + {end})",
            data = out(reg) data,
            data_end = lateout(reg) data_end,
            ctx = in(reg) ctx,
            start = const offset_of!(xdp_md, data),
            end = const offset_of!(xdp_md, data_end),
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    (data as usize, data_end as usize)
}

/// The same for builds that check this code on another target.
#[cfg(not(target_arch = "bpf"))]
fn wide_bounds(ctx: *mut xdp_md) -> (usize, usize) {
    bounds(ctx)
}

#[inline(always)]
fn ifindex(ctx: *mut xdp_md) -> u32 {
    // SAFETY: `ctx` is the program's context, which the kernel keeps readable.
    unsafe { (*ctx).ingress_ifindex }
}
