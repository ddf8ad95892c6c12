//! Packets of a capture file, whatever its format, one after the other in bounded memory.

use std::{fs::File, io::Take, sync::Arc};

use jiff::Timestamp;
use pcap_parser::{
    LegacyPcapReader, PcapBlockOwned, PcapError as ParserError, PcapNGReader,
    traits::PcapReaderIterator,
};
use probe_common::parse::CapturedFrame;

use super::{error::Ending, link_type::LinkType, pcapng::Sections, sniff::Format};

/// Buffer at the start. A pcapng section header must fit.
const BUFFER_BYTES: usize = 256 << 10;

/// Buffer at most: no packet or block may be larger. libpcap takes no packets above 256 KiB; the
/// rest is room for name resolution and secrets blocks. It bounds what a hostile length can cost.
const MAX_BUFFER_BYTES: usize = 4 << 20;

/// An interface that the file names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct FileInterface {
    pub(super) name: Arc<str>,
    /// Number of the link type of the packets that cannot be parsed, if there are such.
    pub(super) unsupported: Option<u16>,
    /// Some of its packets have a supported link type.
    pub(super) is_supported: bool,
}

/// One packet as the file has it.
pub(super) struct FilePacket<'a> {
    /// Index of the interface in [`PacketReader::interfaces`].
    pub(super) interface: usize,
    pub(super) link_type: Option<LinkType>,
    /// `INGRESS` or `EGRESS`, where the file says so.
    pub(super) direction: Option<u8>,
    /// `None` for a time that cannot be.
    pub(super) timestamp: Option<Timestamp>,
    pub(super) frame: CapturedFrame<'a>,
}

/// Reads packets; keeps what the file says about interfaces.
pub(super) struct PacketReader {
    parser: Box<dyn PcapReaderIterator + Send>,
    buffer_bytes: usize,
    /// Position of the next packet or block.
    offset: u64,
    context: Context,
}

/// What it takes to understand a packet.
enum Context {
    /// Before the file header.
    Unknown {
        stem: Arc<str>,
    },
    Pcap {
        interface: FileInterface,
        link_type: Option<LinkType>,
        nanoseconds: bool,
    },
    PcapNg(Sections),
}

/// What came of one read of the file.
enum Step {
    Consumed { len: usize, was_packet: bool },
    NeedsMore,
    NeedsRoom,
    Ended(Ending),
}

impl PacketReader {
    /// Starts at the beginning of the file. `stem` names interfaces that the file does not name.
    /// `None` if the file header is incomplete or damaged.
    pub(super) fn new(file: Take<File>, format: Format, stem: Arc<str>) -> Option<Self> {
        let (parser, context): (Box<dyn PcapReaderIterator + Send>, _) = match format {
            Format::Pcap => (
                Box::new(LegacyPcapReader::new(BUFFER_BYTES, file).ok()?),
                Context::Unknown { stem },
            ),
            Format::PcapNg => (
                Box::new(PcapNGReader::new(BUFFER_BYTES, file).ok()?),
                Context::PcapNg(Sections::new(stem)),
            ),
        };
        let mut reader = Self {
            parser,
            buffer_bytes: BUFFER_BYTES,
            offset: 0,
            context,
        };
        // Reads the file header, which is never a packet.
        match reader.step(&mut |_| {}) {
            Step::Consumed { len, .. } => reader.consume(len),
            _ => return None,
        }
        Some(reader)
    }

    /// The interfaces met so far, in order of appearance.
    pub(super) fn interfaces(&self) -> &[FileInterface] {
        match &self.context {
            Context::Unknown { .. } => &[],
            Context::Pcap { interface, .. } => std::slice::from_ref(interface),
            Context::PcapNg(sections) => sections.interfaces(),
        }
    }

    /// Position of the next packet or block in the file.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads up to the next packet and shows it to `visit`; an error is the end.
    pub(super) fn read_packet(
        &mut self,
        visit: &mut dyn FnMut(&FilePacket<'_>),
    ) -> Result<(), Ending> {
        loop {
            match self.step(visit) {
                Step::Consumed { len, was_packet } => {
                    self.consume(len);
                    if was_packet {
                        return Ok(());
                    }
                }
                Step::NeedsMore => self.refill()?,
                Step::NeedsRoom => self.make_room()?,
                Step::Ended(ending) => {
                    let len = self.passable_block_len().ok_or(ending)?;
                    self.consume(len);
                }
            }
        }
    }

    /// Length of a block that the parser refused although nothing depends on what it says.
    fn passable_block_len(&self) -> Option<usize> {
        match &self.context {
            Context::PcapNg(sections) => sections.passable_block_len(self.parser.data()),
            Context::Unknown { .. } | Context::Pcap { .. } => None,
        }
    }

    fn step(&mut self, visit: &mut dyn FnMut(&FilePacket<'_>)) -> Step {
        let offset = self.offset;
        if self.starts_with_impossible_block() {
            return Step::Ended(Ending::Damaged { offset });
        }
        match self.parser.next() {
            Ok((len, block)) => match self.context.on_block(&block, visit) {
                Some(was_packet) => Step::Consumed { len, was_packet },
                None => Step::Ended(Ending::Damaged { offset }),
            },
            Err(ParserError::Incomplete(_)) => Step::NeedsMore,
            Err(ParserError::BufferTooSmall) => Step::NeedsRoom,
            Err(ParserError::Eof) => Step::Ended(Ending::Complete),
            Err(ParserError::UnexpectedEof) => Step::Ended(self.incomplete(offset)),
            Err(ParserError::ReadError) => Step::Ended(Ending::Unreadable { offset }),
            Err(_) => Step::Ended(Ending::Damaged { offset }),
        }
    }

    /// A block that says it is shorter than what every block has. Found out here: the parser takes
    /// that part off the length of some kinds of blocks before it reads the rest.
    fn starts_with_impossible_block(&self) -> bool {
        match &self.context {
            Context::PcapNg(sections) => sections.has_impossible_block(self.parser.data()),
            Context::Unknown { .. } | Context::Pcap { .. } => false,
        }
    }

    /// The parser wants more than the file has: because the block reaches beyond its end, or because
    /// something inside the block claims to reach beyond the block.
    fn incomplete(&self, offset: u64) -> Ending {
        if self.parser.data().is_empty() {
            return Ending::Complete;
        }
        let block_len = match &self.context {
            Context::PcapNg(sections) => sections.block_len(self.parser.data()),
            Context::Unknown { .. } | Context::Pcap { .. } => None,
        };
        match block_len {
            Some(len) if len <= self.parser.data().len() => Ending::Damaged { offset },
            _ => Ending::Cut { offset },
        }
    }

    fn consume(&mut self, len: usize) {
        self.parser.consume(len);
        self.offset += len as u64;
    }

    fn refill(&mut self) -> Result<(), Ending> {
        self.parser.refill().map_err(|_| Ending::Unreadable {
            offset: self.offset,
        })
    }

    fn make_room(&mut self) -> Result<(), Ending> {
        if self.buffer_bytes >= MAX_BUFFER_BYTES {
            return Err(Ending::Damaged {
                offset: self.offset,
            });
        }
        self.buffer_bytes *= 2;
        self.parser.grow(self.buffer_bytes);
        self.refill()
    }
}

impl Context {
    /// Takes notice of a block; says whether it was a packet. `None` if it makes no sense here.
    fn on_block(
        &mut self,
        block: &PcapBlockOwned<'_>,
        visit: &mut dyn FnMut(&FilePacket<'_>),
    ) -> Option<bool> {
        match (&mut *self, block) {
            (Self::Unknown { stem }, PcapBlockOwned::LegacyHeader(header)) => {
                // The upper half of the field says how long the frame check sequence is.
                let number = u16::try_from(header.network.0 & 0xffff).ok()?;
                let link_type = LinkType::from_number(number);
                *self = Self::Pcap {
                    interface: FileInterface {
                        name: Arc::clone(stem),
                        unsupported: link_type.is_none().then_some(number),
                        is_supported: link_type.is_some(),
                    },
                    link_type,
                    nanoseconds: header.is_nanosecond_precision(),
                };
                Some(false)
            }
            (
                Self::Pcap {
                    link_type,
                    nanoseconds,
                    ..
                },
                PcapBlockOwned::Legacy(packet),
            ) => {
                let unit_ns = if *nanoseconds { 1 } else { 1000 };
                let timestamp_ns = i128::from(packet.ts_sec) * 1_000_000_000
                    + i128::from(packet.ts_usec) * unit_ns;
                visit(&FilePacket {
                    interface: 0,
                    link_type: *link_type,
                    direction: None,
                    timestamp: Timestamp::from_nanosecond(timestamp_ns).ok(),
                    frame: frame(packet.data, packet.origlen),
                });
                Some(true)
            }
            (Self::PcapNg(sections), PcapBlockOwned::NG(block)) => sections.on_block(block, visit),
            _ => None,
        }
    }
}

/// A frame of `wire_len` bytes of which `bytes` were kept. Files that claim to have kept more than
/// there was are believed in what they hold.
pub(super) fn frame(bytes: &[u8], wire_len: u32) -> CapturedFrame<'_> {
    CapturedFrame {
        bytes,
        wire_len: bytes.len().max(wire_len as usize),
    }
}
