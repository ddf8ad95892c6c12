//! Packets of a capture file, whatever its format, one after the other in bounded memory.

use std::{fs::File, io, sync::Arc};

use jiff::Timestamp;
use probe_common::parse::CapturedFrame;

use super::{
    error::Ending,
    interfaces::FileInterface,
    link_type::{LinkType, Parts},
    pcap::{FILE_HEADER_LEN, FileHeader, HeaderError},
    pcapng::{BlockHead, Sections, Step},
    sniff::Format,
    window::Window,
};

/// The longest packet with its header, and the longest block with anything that is needed. libpcap
/// takes no packets above 256 KiB. It bounds what a hostile length can cost.
pub(super) const MAX_PACKET_BYTES: u64 = 4 << 20;

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

impl<'a> FilePacket<'a> {
    /// The packets that it is: one, or those of an A-MSDU of 802.11.
    pub(super) fn parts(&self) -> Parts<'a> {
        Parts::of(self.link_type, &self.frame)
    }
}

/// Reads packets; keeps what the file says about interfaces.
pub(super) struct PacketReader {
    window: Window,
    context: Context,
}

/// What it takes to understand a packet.
enum Context {
    Pcap {
        header: FileHeader,
        interface: FileInterface,
        link_type: Option<LinkType>,
    },
    PcapNg(Sections),
}

/// Why no packet can be read, not even the first.
pub(super) enum Unreadable {
    /// The system cannot read the file.
    Io(io::Error),
    /// The file header is not understood.
    Header(HeaderError),
}

impl PacketReader {
    /// Starts at the beginning of a file of so many bytes. `stem` names interfaces that the file does
    /// not name.
    pub(super) fn new(
        file: File,
        file_bytes: u64,
        format: Format,
        stem: Arc<str>,
    ) -> Result<Self, Unreadable> {
        let mut window = Window::new(file, file_bytes).map_err(Unreadable::Io)?;
        let context = match format {
            Format::Pcap => {
                let bytes = window.peek(FILE_HEADER_LEN).map_err(Unreadable::Io)?;
                let header = FileHeader::read(bytes).map_err(Unreadable::Header)?;
                window
                    .skip(FILE_HEADER_LEN as u64)
                    .map_err(Unreadable::Io)?;
                Context::of_pcap(header, stem)
            }
            Format::PcapNg => Context::PcapNg(first_section(&mut window, stem)?),
        };
        Ok(Self { window, context })
    }

    /// The interfaces met so far, in order of appearance.
    pub(super) fn interfaces(&self) -> &[FileInterface] {
        match &self.context {
            Context::Pcap { interface, .. } => std::slice::from_ref(interface),
            Context::PcapNg(sections) => sections.interfaces(),
        }
    }

    /// Position of the next packet or block in the file.
    pub(super) const fn offset(&self) -> u64 {
        self.window.offset()
    }

    /// Reads up to the next packet and shows it to `visit`; an error is the end.
    pub(super) fn read_packet(
        &mut self,
        visit: &mut dyn FnMut(&FilePacket<'_>),
    ) -> Result<(), Ending> {
        let Self { window, context } = self;
        match context {
            Context::Pcap {
                header, link_type, ..
            } => read_record(window, *header, *link_type, visit),
            Context::PcapNg(sections) => loop {
                if read_block(window, sections, visit)? {
                    return Ok(());
                }
            },
        }
    }
}

impl Context {
    fn of_pcap(header: FileHeader, stem: Arc<str>) -> Self {
        let number = header.link_type;
        let link_type = LinkType::from_number(number);
        Self::Pcap {
            header,
            interface: FileInterface {
                unsupported: link_type.is_none().then_some(number),
                is_supported: link_type.is_some(),
                ..FileInterface::new(stem)
            },
            link_type,
        }
    }
}

fn read_record(
    window: &mut Window,
    header: FileHeader,
    link_type: Option<LinkType>,
    visit: &mut dyn FnMut(&FilePacket<'_>),
) -> Result<(), Ending> {
    let offset = window.offset();
    let header_len = header.record_header_len();
    let bytes = peek(window, header_len)?;
    if bytes.is_empty() {
        return Err(Ending::Complete);
    }
    let record = Some(bytes).filter(|bytes| bytes.len() == header_len);
    let record = record
        .and_then(|bytes| header.record(bytes))
        .ok_or(Ending::Cut { offset })?;
    let bytes = peek_whole(window, header_len as u64 + u64::from(record.kept))?;
    let len = bytes.len() as u64;
    visit(&FilePacket {
        interface: 0,
        link_type,
        direction: None,
        timestamp: record.timestamp,
        frame: frame(&bytes[header_len..], record.wire_len),
    });
    skip(window, len)
}

/// The section header that a pcapng file begins with.
fn first_section(window: &mut Window, stem: Arc<str>) -> Result<Sections, Unreadable> {
    let mut sections = Sections::new(stem);
    let bytes = window.peek(BlockHead::LEN).map_err(Unreadable::Io)?;
    let head = BlockHead::read(bytes, &sections);
    let Some(head) = head.filter(|head| head.len <= window.remaining()) else {
        return Err(Unreadable::Header(HeaderError::Bad));
    };
    match read_step(window, &mut sections, head, &mut |_| {}) {
        Ok(_) => Ok(sections),
        Err(Ending::Unsupported { major, minor, .. }) => {
            Err(Unreadable::Header(HeaderError::Version { major, minor }))
        }
        Err(_) => Err(Unreadable::Header(HeaderError::Bad)),
    }
}

/// Reads a block; says whether it was a packet.
fn read_block(
    window: &mut Window,
    sections: &mut Sections,
    visit: &mut dyn FnMut(&FilePacket<'_>),
) -> Result<bool, Ending> {
    let offset = window.offset();
    let bytes = peek(window, BlockHead::LEN)?;
    match bytes.len() {
        0 => return Err(Ending::Complete),
        len if len < BlockHead::LEN => return Err(Ending::Cut { offset }),
        _ => {}
    }
    let head = BlockHead::read(bytes, sections).ok_or(Ending::Damaged { offset })?;
    read_step(window, sections, head, visit)
}

fn read_step(
    window: &mut Window,
    sections: &mut Sections,
    head: BlockHead,
    visit: &mut dyn FnMut(&FilePacket<'_>),
) -> Result<bool, Ending> {
    let offset = window.offset();
    if head.len > window.remaining() {
        return Err(Ending::Cut { offset });
    }
    match head.step {
        Step::Read => {
            let block = peek_whole(window, head.len)?;
            let was_packet = sections
                .on_block(head, block, visit)
                .ok_or(Ending::Damaged { offset })?;
            skip(window, head.len)?;
            Ok(was_packet)
        }
        Step::BeginSection => {
            let bytes = peek(window, BlockHead::SECTION_LEN)?;
            sections.begin(head, bytes).map_err(|error| match error {
                HeaderError::Bad => Ending::Damaged { offset },
                HeaderError::Version { major, minor } => Ending::Unsupported {
                    offset,
                    major,
                    minor,
                },
            })?;
            pass_over(window, head).map(|()| false)
        }
        Step::PassOver => pass_over(window, head).map(|()| false),
    }
}

/// Leaves out a block, however long it is. It ends with its length, as it begins.
fn pass_over(window: &mut Window, head: BlockHead) -> Result<(), Ending> {
    const LENGTH_LEN: usize = 4;
    let offset = window.offset();
    skip(window, head.len - LENGTH_LEN as u64)?;
    let repeated = head.order.u32(peek(window, LENGTH_LEN)?, 0);
    if repeated.map(u64::from) != Some(head.len) {
        return Err(Ending::Damaged { offset });
    }
    skip(window, LENGTH_LEN as u64)
}

/// All of a packet or block of so many bytes.
fn peek_whole(window: &mut Window, len: u64) -> Result<&[u8], Ending> {
    let offset = window.offset();
    if len > MAX_PACKET_BYTES {
        return Err(Ending::TooLarge { offset, bytes: len });
    }
    let wanted = usize::try_from(len).unwrap_or_default();
    let bytes = peek(window, wanted)?;
    if bytes.len() < wanted {
        return Err(Ending::Cut { offset });
    }
    Ok(bytes)
}

fn peek(window: &mut Window, len: usize) -> Result<&[u8], Ending> {
    let offset = window.offset();
    window.peek(len).map_err(|_| Ending::Unreadable { offset })
}

fn skip(window: &mut Window, len: u64) -> Result<(), Ending> {
    let offset = window.offset();
    window.skip(len).map_err(|_| Ending::Unreadable { offset })
}

/// A frame of `wire_len` bytes of which `bytes` were kept. Files that claim to have kept more than
/// there was are believed in what they hold.
pub(super) fn frame(bytes: &[u8], wire_len: u32) -> CapturedFrame<'_> {
    CapturedFrame {
        bytes,
        wire_len: bytes.len().max(wire_len as usize),
    }
}
