//! The records of a pcap file (draft-ietf-opsawg-pcap), in all their variants.

use jiff::Timestamp;

/// Length of the file header in bytes.
pub(super) const FILE_HEADER_LEN: usize = 24;

/// Seconds, fraction, and two lengths of 4 bytes each.
const RECORD_HEADER_LEN: usize = 16;

/// The modified format adds an interface index, a protocol and a packet type.
const MODIFIED_RECORD_HEADER_LEN: usize = 24;

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
/// Of Alexey Kuznetzov's modified libpcap, as in Red Hat Linux 6.
const MODIFIED: u32 = 0xa1b2_cd34;

/// A byte order of numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// The number of 16 bits at an offset, if it is there.
    pub(super) fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let word = *bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(word),
            Self::Big => u16::from_be_bytes(word),
        })
    }

    /// The number of 32 bits at an offset, if it is there.
    pub(super) fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let word = *bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(word),
            Self::Big => u32::from_be_bytes(word),
        })
    }
}

/// Which of the two lengths of a record comes first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lengths {
    /// The bytes that were kept, then the length on the wire.
    Usual,
    /// The other way round, as before version 2.3.
    Swapped,
    /// The smaller one is that of the kept bytes: version 2.3 changed the order, but some of its
    /// writers did not.
    PerhapsSwapped,
}

/// What a file header says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct FileHeader {
    order: Order,
    fraction_ns: u32,
    record_header_len: usize,
    lengths: Lengths,
    /// Number of the link type of all packets.
    pub(super) link_type: u16,
}

/// Why a file header cannot be understood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HeaderError {
    /// It is cut, or does not begin with a magic number.
    Bad,
    /// The format has another version.
    Version { major: u16, minor: u16 },
}

/// What the header of a record says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct RecordHeader {
    /// `None` for a time that cannot be.
    pub(super) timestamp: Option<Timestamp>,
    /// Bytes of the packet in the file.
    pub(super) kept: u32,
    /// Length of the packet on the wire.
    pub(super) wire_len: u32,
}

impl FileHeader {
    /// Reads the first [`FILE_HEADER_LEN`] bytes of a file.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, HeaderError> {
        let (order, magic) = magic(bytes).ok_or(HeaderError::Bad)?;
        let half = |at| order.u16(bytes, at).ok_or(HeaderError::Bad);
        let (major, minor) = (half(4)?, half(6)?);
        let network = order.u32(bytes, 20).ok_or(HeaderError::Bad)?;
        Ok(Self {
            order,
            fraction_ns: if magic == NANOSECONDS { 1 } else { 1000 },
            record_header_len: if magic == MODIFIED {
                MODIFIED_RECORD_HEADER_LEN
            } else {
                RECORD_HEADER_LEN
            },
            lengths: lengths(major, minor).ok_or(HeaderError::Version { major, minor })?,
            // The upper half says how long the frame check sequence is.
            #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
            link_type: network as u16,
        })
    }

    /// Length of the header of each record in bytes.
    pub(super) const fn record_header_len(&self) -> usize {
        self.record_header_len
    }

    /// Reads the header of a record; `None` if it is cut.
    pub(super) fn record(&self, bytes: &[u8]) -> Option<RecordHeader> {
        let word = |at| self.order.u32(bytes, at);
        let (seconds, fraction) = (word(0)?, word(4)?);
        let (first, second) = (word(8)?, word(12)?);
        let (kept, wire_len) = match self.lengths {
            Lengths::Usual => (first, second),
            Lengths::Swapped => (second, first),
            Lengths::PerhapsSwapped => (first.min(second), first.max(second)),
        };
        let since_epoch_ns = i128::from(seconds) * 1_000_000_000
            + i128::from(fraction) * i128::from(self.fraction_ns);
        Some(RecordHeader {
            timestamp: Timestamp::from_nanosecond(since_epoch_ns).ok(),
            kept,
            wire_len,
        })
    }
}

/// Byte order and magic number of a pcap file, if it is one.
pub(super) fn magic(bytes: &[u8]) -> Option<(Order, u32)> {
    [Order::Little, Order::Big].into_iter().find_map(|order| {
        let magic = order.u32(bytes, 0)?;
        matches!(magic, MICROSECONDS | NANOSECONDS | MODIFIED).then_some((order, magic))
    })
}

/// As libpcap reads the versions (`pcap_check_header` in sf-pcap.c). 543.0 is what the tcpdump of DG/UX
/// writes, in the order of the lengths before 2.3.
const fn lengths(major: u16, minor: u16) -> Option<Lengths> {
    match (major, minor) {
        (2, 0..=2) | (543, 0) => Some(Lengths::Swapped),
        (2, 3) => Some(Lengths::PerhapsSwapped),
        (2, 4) => Some(Lengths::Usual),
        _ => None,
    }
}
