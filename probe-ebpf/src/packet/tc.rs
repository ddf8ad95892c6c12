//! TC: socket buffers (skb), which may be super-packets and may lie in several fragments.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    bindings::bpf_hdr_start_off::BPF_HDR_START_NET,
    helpers::{bpf_skb_load_bytes, bpf_skb_load_bytes_relative},
    programs::TcContext,
};
use probe_common::{
    ephash::{EpHashV4, EpHashV6},
    headers::{ETHERNET_LEN, VLAN_TAG_LEN},
    parse::{
        Observation, OutOfBounds, Packet, PacketBytes, ParseError, Start,
        link::{parse_any_ethernet, parse_ether_type},
        plain,
        segment::{SegmentHeaders, segment_headers},
    },
};

use super::{Frame, LinearStart, Segmentation, blur, call_offset, load_by_call, load_direct};

/// An skb that starts with an Ethernet header.
pub(crate) struct TcFrame(TcContext);

/// An skb of a device without link header.
pub(crate) struct TcPacket(TcContext);

impl TcFrame {
    #[inline(always)]
    pub(crate) const fn new(ctx: TcContext) -> Self {
        Self(ctx)
    }
}

impl PacketBytes for TcFrame {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Result<[u8; N], OutOfBounds> {
        let skb = self.0.skb.skb;
        let (data, data_end) = bounds(&self.0);
        load_direct(data, data_end, offset).or_else(|OutOfBounds| {
            // Only the linear part can be read directly; the rest may be in fragments.
            load_by_call(|bytes, len| {
                // SAFETY: `skb` is the program's context, and `bytes` is writable for `len` bytes.
                unsafe { bpf_skb_load_bytes(skb.cast(), call_offset(offset), bytes, len) }
            })
        })
    }

    #[inline(always)]
    fn start(&self, len: usize) -> Option<impl Start> {
        let (data, data_end) = bounds(&self.0);
        LinearStart::new(data, data_end, len)
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        // Without the tag that is kept beside it: offsets in the frame do not count it either.
        len(&self.0)
    }

    #[inline(always)]
    fn blur(&self, offset: usize) -> usize {
        blur(offset)
    }
}

impl EbpfContext for TcFrame {
    #[inline(always)]
    fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr()
    }
}

impl Frame for TcFrame {
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        ifindex(&self.0)
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

    /// Reads both lengths in one go, which saves an instruction.
    #[inline(always)]
    fn len_with_room_for(&self, octets: usize) -> Option<usize> {
        let len = self.wire_len();
        // SAFETY: the pointer is the program's context, which the kernel keeps readable.
        let tag_len = tag_len(unsafe { (*self.0.skb.skb).vlan_present });
        (ETHERNET_LEN + octets <= len).then(|| len + tag_len)
    }

    #[inline(always)]
    fn len_of_packet(&self, _octets: usize) -> usize {
        // The tag was on the wire, or will be.
        self.wire_len() + self.stripped_vlan_tag_len()
    }

    #[inline(always)]
    fn stripped_vlan_tag_len(&self) -> usize {
        // SAFETY: the pointer is the program's context, which the kernel keeps readable.
        let vlan_present = unsafe { (*self.0.skb.skb).vlan_present };
        vlan_present as usize * VLAN_TAG_LEN
    }

    #[inline(always)]
    fn segment_headers(&self) -> SegmentHeaders {
        headers_of_segments(TcContext::new(self.0.skb.skb))
    }

    #[inline(always)]
    fn segmentation(&self) -> Segmentation {
        segmentation(&self.0)
    }
}

impl TcPacket {
    #[inline(always)]
    pub(crate) const fn new(ctx: TcContext) -> Self {
        Self(ctx)
    }
}

impl PacketBytes for TcPacket {
    /// Reads from the network header on, not from the start of the data: before kernel 5.14, ipip,
    /// sit and gre hand over received packets whose data starts at the outer header. There is no
    /// direct access to the network header, so each read is a call (20 ns).
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Result<[u8; N], OutOfBounds> {
        let (skb, offset) = (self.0.skb.skb, call_offset(offset));
        load_by_call(|bytes, len| {
            // SAFETY: `skb` is the program's context, and `bytes` is writable for `len` bytes.
            unsafe {
                bpf_skb_load_bytes_relative(skb.cast(), offset, bytes, len, BPF_HDR_START_NET)
            }
        })
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        len(&self.0)
    }

    #[inline(always)]
    fn blur(&self, offset: usize) -> usize {
        blur(offset)
    }
}

impl EbpfContext for TcPacket {
    #[inline(always)]
    fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr()
    }
}

impl Frame for TcPacket {
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        ifindex(&self.0)
    }

    #[inline(always)]
    fn parse(&self) -> Result<Packet, ParseError> {
        // SAFETY: the pointer is the program's context, which the kernel keeps readable.
        let protocol = unsafe { (*self.0.skb.skb).protocol };
        // A `__be16` in the low half of the word.
        parse_ether_type(self, 0, u16::from_be(protocol as u16))
    }

    #[inline(always)]
    fn segment_headers(&self) -> SegmentHeaders {
        headers_of_segments(TcContext::new(self.0.skb.skb))
    }

    #[inline(always)]
    fn segmentation(&self) -> Segmentation {
        segmentation(&self.0)
    }
}

/// Packet pointers to the first byte of the linear part and behind its last.
#[inline(always)]
fn bounds(ctx: &TcContext) -> (usize, usize) {
    // SAFETY: the pointer is the program's context, which the kernel keeps readable.
    let (data, data_end) = unsafe { ((*ctx.skb.skb).data, (*ctx.skb.skb).data_end) };
    (data as usize, data_end as usize)
}

#[inline(always)]
fn ifindex(ctx: &TcContext) -> u32 {
    // SAFETY: the pointer is the program's context, which the kernel keeps readable.
    unsafe { (*ctx.skb.skb).ifindex }
}

/// Octets of the tag of an skb, from its `vlan_present`, which is 0 or 1. Computed where it is written, and not
/// behind the next branch, where the context would have to be loaded once more.
#[inline(always)]
fn tag_len(vlan_present: u32) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let mut len = u64::from(vlan_present);
        // SAFETY: the instruction multiplies by `VLAN_TAG_LEN` and does nothing else.
        unsafe {
            core::arch::asm!(
                "{len} <<= {bits}",
                len = inout(reg) len,
                bits = const VLAN_TAG_LEN.ilog2(),
                options(nomem, nostack, preserves_flags),
            );
        }
        len as usize
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        vlan_present as usize * VLAN_TAG_LEN
    }
}

/// Length of the whole skb, linear part and fragments.
#[inline(always)]
fn len(ctx: &TcContext) -> usize {
    ctx.len() as usize
}

#[inline(always)]
fn segmentation(ctx: &TcContext) -> Segmentation {
    // SAFETY: the pointer is the program's context, which the kernel keeps readable.
    let (size, segments) = unsafe { ((*ctx.skb.skb).gso_size, (*ctx.skb.skb).gso_segs) };
    Segmentation { size, segments }
}

/// Read from where the kernel says that the network header is. The size is read anew: the compiler must not know on
/// which way the program came here, or it prepares the answer 0 on the way of each packet.
#[inline(always)]
fn headers_of_segments(ctx: TcContext) -> SegmentHeaders {
    // SAFETY: the pointer is the program's context, which the kernel keeps readable.
    let size = unsafe { (&raw const (*ctx.skb.skb).gso_size).read_volatile() };
    if size == 0 {
        return SegmentHeaders::default();
    }
    segment_headers(&TcPacket(ctx))
}
