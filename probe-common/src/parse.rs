//! The packet parser: one, for the kernel and the host, in safe Rust over [`PacketBytes`].
//!
//! Read from the outside in: [`link`] finds the outermost IP header, [`network`] its length and
//! addresses, [`transport`] ports, TCP flags and ICMP type. Bytes come as arrays of constant size
//! because that is the only shape which the BPF verifier follows: it refuses slices made from
//! packet pointers ("offset is outside of the packet"), and it loses the range of a copied head on
//! kernels before 6.18.

pub mod link;
pub mod network;
pub mod plain;
pub mod segment;
pub mod transport;

pub use crate::loss::ParseError;

use crate::ephash::{EpHashV4, EpHashV6};

/// A frame that can be read at any offset.
pub trait PacketBytes {
    /// Copies `N` bytes at `offset`, or says that not all of them are there.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`]: the bytes end before the last of the `N`.
    fn load<const N: usize>(&self, offset: usize) -> Result<[u8; N], OutOfBounds>;

    /// The first `len` bytes, if they can be had without any effort. `None` says nothing.
    #[inline(always)]
    fn start(&self, len: usize) -> Option<impl Start> {
        let _ = len;
        None::<&[u8]>
    }

    /// Length of the frame on the wire, which is more than can be loaded where a capture was cut.
    fn wire_len(&self) -> usize;

    /// Gives back `offset`, of which the BPF verifier then knows no more than that it is small.
    ///
    /// The verifier walks every path of a program with all it knows about each value. Without
    /// this it would walk the rest of the parser once for each number of tags and of extension
    /// headers before it: 300,000 steps instead of 10,000, of the million that it allows.
    #[inline(always)]
    fn blur(&self, offset: usize) -> usize {
        offset
    }
}

/// The start of a frame, as long as was asked for. What is read must lie in it; the offsets are
/// constants, so that reads in the kernel need no arithmetic.
pub trait Start {
    /// One byte at `OFFSET`.
    fn byte<const OFFSET: usize>(&self) -> u8;
    /// Two bytes at `OFFSET`, as they lie there.
    fn bytes_2<const OFFSET: usize>(&self) -> [u8; 2];
    /// The number of 16 bits at `OFFSET`, which is in the order of the network.
    #[inline(always)]
    fn number_16<const OFFSET: usize>(&self) -> usize {
        usize::from(u16::from_be_bytes(self.bytes_2::<OFFSET>()))
    }
    /// Four bytes at `OFFSET`, as they lie there.
    fn bytes_4<const OFFSET: usize>(&self) -> [u8; 4];
    /// Sixteen bytes at `OFFSET`, as they lie there.
    fn bytes_16<const OFFSET: usize>(&self) -> [u8; 16];
}

impl Start for &[u8] {
    fn byte<const OFFSET: usize>(&self) -> u8 {
        self[OFFSET]
    }

    fn bytes_2<const OFFSET: usize>(&self) -> [u8; 2] {
        bytes_at(self, OFFSET)
    }

    fn bytes_4<const OFFSET: usize>(&self) -> [u8; 4] {
        bytes_at(self, OFFSET)
    }

    fn bytes_16<const OFFSET: usize>(&self) -> [u8; 16] {
        bytes_at(self, OFFSET)
    }
}

fn bytes_at<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    core::array::from_fn(|index| bytes[offset + index])
}

impl PacketBytes for [u8] {
    fn start(&self, len: usize) -> Option<impl Start> {
        self.get(..len)
    }

    fn load<const N: usize>(&self, offset: usize) -> Result<[u8; N], OutOfBounds> {
        self.get(offset..)
            .and_then(|tail| tail.first_chunk())
            .copied()
            .ok_or(OutOfBounds)
    }

    fn wire_len(&self) -> usize {
        self.len()
    }
}

/// A frame from a capture file, which may have been cut to a snapshot length.
#[derive(Clone, Copy, Debug)]
pub struct CapturedFrame<'a> {
    /// The bytes that were kept.
    pub bytes: &'a [u8],
    /// Length of the frame on the wire; at least that of what was kept.
    pub wire_len: usize,
}

impl PacketBytes for CapturedFrame<'_> {
    fn start(&self, len: usize) -> Option<impl Start> {
        self.bytes.get(..len)
    }

    fn load<const N: usize>(&self, offset: usize) -> Result<[u8; N], OutOfBounds> {
        self.bytes.load(offset)
    }

    fn wire_len(&self) -> usize {
        self.wire_len.max(self.bytes.len())
    }
}

/// The bytes asked for lie beyond the end of the frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OutOfBounds;

impl From<OutOfBounds> for ParseError {
    #[inline(always)]
    fn from(_: OutOfBounds) -> Self {
        Self::Truncated
    }
}

/// What the parser found out about one IP packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Observation<K> {
    /// Flow key of the outermost IP header.
    pub key: K,
    /// IP octets on the wire: as many as the header states (IPv4 total length; IPv6 payload length + 40),
    /// but never more than the frame has behind the link header.
    ///
    /// A field of 0 stands for all of these where no other number can: in IPv4, whose total length is
    /// never 0 (BIG TCP, TSO), and in an IPv6 packet that is longer than the field can say (BIG TCP,
    /// jumbograms). Any other IPv6 packet with a payload length of 0 has no payload, and what follows is
    /// padding.
    pub octets: u32,
    /// Octets that the header states and the frame does not have: of a packet that was cut before the
    /// programs saw it, or of a header that lies.
    pub octets_beyond_frame: u32,
    /// Octets of IP and transport headers: what each further segment of a GSO super-packet repeats
    /// on the wire. Without TCP or UDP: of the IP headers.
    pub header_octets: u16,
    /// TCP flags (RFC 9293, section 3.1), else 0.
    pub tcp_flags: u8,
    /// Auxiliary byte: TCP flags, ICMP or ICMPv6 type, else 0.
    pub aux: u8,
    /// `FLAG_*` bits of [`crate::record`].
    pub flags: u8,
    /// Identification of the packet that a fragment is a part of, 0 in packets that are no
    /// fragments: [`crate::record::RecordHead::fragment_id()`].
    pub fragment_id: u32,
}

/// A parsed packet of either IP version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Packet {
    /// A packet of IP version 4.
    V4(Observation<EpHashV4>),
    /// A packet of IP version 6.
    V6(Observation<EpHashV6>),
}
