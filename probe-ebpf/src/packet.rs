//! Frames as the hooks hand them over: the one place with packet pointers.
//!
//! The verifier follows `data + offset + N <= data_end` with a bounded `offset` and one read of
//! constant size, and little else: slices made from packet pointers are refused.

#![expect(
    unsafe_code,
    reason = "packet bytes are reached through raw pointers and helper calls"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "BPF has pointers of 64 bits, and frames and offsets in them fit 32"
)]

mod start;
mod tc;
mod xdp;

use core::{ffi::c_void, hint::black_box, mem::MaybeUninit};

use aya_ebpf::EbpfContext;
use probe_common::{
    ephash::{EpHashV4, EpHashV6},
    headers::ETHERNET_LEN,
    parse::{Observation, OutOfBounds, Packet, PacketBytes, ParseError, segment::SegmentHeaders},
};

use self::start::LinearStart;
pub(crate) use self::{
    tc::{TcFrame, TcPacket},
    xdp::{XdpFrame, XdpLinearFrame},
};
use crate::maps;

/// Largest offset that is added to a packet pointer. The verifier follows pointers up to 64 KiB
/// (`MAX_PACKET_OFF`); the parser cannot get beyond 20 KiB (9 link headers of 8 bytes and 9
/// extension headers of 2,048).
const MAX_OFFSET: usize = 0x7fff;

/// A frame or packet at a hook.
pub(crate) trait Frame: PacketBytes + EbpfContext {
    /// Interface that received or sends it.
    fn ifindex(&self) -> u32;

    /// Parses it if it is a plain IPv4 packet: see [`plain::parse_ipv4_if`](probe_common::parse::plain).
    #[inline(always)]
    fn parse_plain_ipv4(
        &self,
        _has_room: impl FnOnce(usize) -> bool,
    ) -> Option<Observation<EpHashV4>> {
        None
    }

    /// The same of IPv6.
    #[inline(always)]
    fn parse_plain_ipv6(
        &self,
        _has_room: impl FnOnce(usize) -> bool,
    ) -> Option<Observation<EpHashV6>> {
        None
    }

    /// Parses what is not plain, from its first header on.
    fn parse(&self) -> Result<Packet, ParseError>;

    /// Length on the wire of a frame that holds an IP packet of so many octets.
    #[inline(always)]
    fn len_of_packet(&self, _octets: usize) -> usize {
        self.wire_len()
    }

    /// The same if the frame has so many octets behind an Ethernet header, else `None`.
    #[inline(always)]
    fn len_with_room_for(&self, octets: usize) -> Option<usize> {
        (ETHERNET_LEN + octets <= self.wire_len()).then(|| self.len_of_packet(octets))
    }

    /// The headers that each segment of a super-packet repeats; none of other packets.
    #[inline(always)]
    fn segment_headers(&self) -> SegmentHeaders {
        SegmentHeaders::default()
    }

    /// Octets of the VLAN tag that was taken out of the frame and is kept beside it, or 0.
    #[inline(always)]
    fn stripped_vlan_tag_len(&self) -> usize {
        0
    }

    /// How the frame is divided if it is a super-packet: one that this kernel will cut (GSO) or
    /// has put together (GRO).
    #[inline(always)]
    fn segmentation(&self) -> Segmentation {
        Segmentation::default()
    }
}

/// How a super-packet is divided on the wire. All 0 for an ordinary packet.
#[derive(Clone, Copy, Default)]
pub(crate) struct Segmentation {
    /// Payload octets of each segment but the last.
    pub(crate) size: u32,
    /// Number of segments, or 0 where it has to be computed from `size`: packets that came from a
    /// guest or through tun carry no number (`SKB_GSO_DODGY`).
    pub(crate) segments: u32,
}

/// Copies `N` bytes at `data + offset` if they end at or before `data_end`.
#[inline(always)]
fn load_direct<const N: usize>(
    data: usize,
    data_end: usize,
    offset: usize,
) -> Result<[u8; N], OutOfBounds> {
    if offset > MAX_OFFSET {
        return Err(OutOfBounds);
    }
    let start = data + offset;
    // The compiler makes `start >= data_end` of `start + 1 > data_end`, and from that the verifier
    // learns nothing ("This doesn't give us any range", find_good_pkt_pointers in
    // kernel/bpf/verifier.c, 5.10 to 6.18), so the compiler must not see the sum.
    let end = if N == 1 {
        black_box(start + 1)
    } else {
        start + N
    };
    if end > data_end {
        return Err(OutOfBounds);
    }
    // SAFETY: `start..start + N` lies within `data..data_end`, which the kernel keeps readable
    // while the program runs; the read needs no alignment, and any bytes make a `[u8; N]`. The
    // verifier proves the same on every load of the program.
    Ok(unsafe { (start as *const [u8; N]).read_unaligned() })
}

/// Copies `N` bytes with a helper that fills `(bytes, len)` and answers 0, or fails.
#[inline(always)]
fn load_by_call<const N: usize>(
    call: impl FnOnce(*mut c_void, u32) -> i64,
) -> Result<[u8; N], OutOfBounds> {
    let mut bytes = MaybeUninit::<[u8; N]>::uninit();
    if call(bytes.as_mut_ptr().cast(), N as u32) != 0 {
        return Err(OutOfBounds);
    }
    // SAFETY: the helpers answer 0 only after they have written all `len` bytes.
    Ok(unsafe { bytes.assume_init() })
}

/// An offset as the helpers take it. They refuse what lies beyond the frame.
#[inline(always)]
const fn call_offset(offset: usize) -> u32 {
    (offset & MAX_OFFSET) as u32
}

/// Hides an offset from the compiler; see [`PacketBytes::blur`].
#[inline(always)]
fn blur(offset: usize) -> usize {
    (offset + maps::unknown_zero()) & MAX_OFFSET
}
