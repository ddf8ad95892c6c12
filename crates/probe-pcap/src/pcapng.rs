//! The blocks of a pcapng file (draft-ietf-opsawg-pcapng).

use std::sync::Arc;

use jiff::Timestamp;
use pcap_parser::{
    Block, EnhancedPacketBlock, InterfaceDescriptionBlock, PcapNGOption, SimplePacketBlock,
    parse_block_be, parse_block_le, traits::PcapNGPacketBlock,
};
use probe_common::record::{EGRESS, INGRESS};

use super::{
    interfaces::{FileInterface, Interfaces},
    link_type::LinkType,
    pcap::{HeaderError, Order},
    reader::{FilePacket, frame},
};

/// Option of an enhanced packet block (section 4.3).
const EPB_FLAGS: u16 = 2;
/// Option of a packet block (appendix A).
const PACK_FLAGS: u16 = 2;
/// Option of an interface description block (section 4.2).
const IF_TSOFFSET: u16 = 14;
/// Types of blocks: section 4, and appendix A for the packet block that the enhanced one replaced.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
/// What a section header says of the byte order, behind its type and length.
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Where the body of a block begins.
const BLOCK_BODY: usize = 8;
/// Type, length, length again.
const MIN_BLOCK_LEN: u64 = 12;
/// Interfaces in one section at most: the obsolete packet block has 16 bits for the number.
const MAX_SECTION_INTERFACES: usize = 1 << 16;

/// Interfaces of the current section and of the whole file.
pub(super) struct Sections {
    stem: Arc<str>,
    interfaces: Interfaces,
    /// By the number that packets of this section use.
    section: Vec<SectionInterface>,
    order: Order,
}

/// What is to be done with a block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Its content is needed.
    Read,
    /// It begins a section; the rest of it is comments.
    BeginSection,
    /// Names, statistics, secrets, comments and what may come: nothing depends on it.
    PassOver,
}

/// The beginning of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockHead {
    block_type: u32,
    /// Length of the whole block in bytes.
    pub(super) len: u64,
    /// Byte order of its section.
    pub(super) order: Order,
    pub(super) step: Step,
}

impl BlockHead {
    /// Bytes that it takes: no block is shorter.
    pub(super) const LEN: usize = 12;
    /// Bytes of a section header without options.
    pub(super) const SECTION_LEN: usize = 28;

    /// Reads the first [`Self::LEN`] bytes of a block. `None` if there cannot be such a block.
    pub(super) fn read(bytes: &[u8], sections: &Sections) -> Option<Self> {
        // The type of a section header is the same in both byte orders.
        let order = if Order::Little.u32(bytes, 0)? == SECTION_HEADER {
            let mut orders = [Order::Little, Order::Big].into_iter();
            orders.find(|order| order.u32(bytes, BLOCK_BODY) == Some(BYTE_ORDER_MAGIC))?
        } else {
            sections.order
        };
        let block_type = order.u32(bytes, 0)?;
        let (step, least) = match block_type {
            SECTION_HEADER => (Step::BeginSection, Self::SECTION_LEN as u64),
            INTERFACE_DESCRIPTION | OBSOLETE_PACKET | SIMPLE_PACKET | ENHANCED_PACKET => {
                (Step::Read, MIN_BLOCK_LEN)
            }
            _ => (Step::PassOver, MIN_BLOCK_LEN),
        };
        let len = u64::from(order.u32(bytes, 4)?);
        (len >= least).then_some(Self {
            block_type,
            len,
            order,
            step,
        })
    }
}

struct SectionInterface {
    /// Index of the block's interface in `interfaces`.
    interface: usize,
    link_type: Option<LinkType>,
    /// Bytes kept of a packet; 0 for all. Simple packet blocks do not say it themselves.
    snap_len: u32,
    /// Time stamps per second.
    ticks_per_second: u128,
    offset_seconds: i64,
}

impl Sections {
    pub(super) fn new(stem: Arc<str>) -> Self {
        Self {
            stem,
            interfaces: Interfaces::default(),
            section: Vec::new(),
            order: Order::Little,
        }
    }

    pub(super) fn interfaces(&self) -> &[FileInterface] {
        self.interfaces.list()
    }

    /// Begins a section with the first bytes of its header: its interfaces are none yet.
    pub(super) fn begin(&mut self, head: BlockHead, bytes: &[u8]) -> Result<(), HeaderError> {
        let half = |at| head.order.u16(bytes, at).ok_or(HeaderError::Bad);
        // 1.2 is what some writers called 1.0 (section 4.1).
        match (half(12)?, half(14)?) {
            (1, 0 | 2) => {}
            (major, minor) => return Err(HeaderError::Version { major, minor }),
        }
        self.section.clear();
        self.order = head.order;
        Ok(())
    }

    /// Takes notice of a whole block that is needed; says whether it was a packet. `None` if it makes no
    /// sense here.
    pub(super) fn on_block(
        &mut self,
        head: BlockHead,
        bytes: &[u8],
        visit: &mut dyn FnMut(&FilePacket<'_>),
    ) -> Option<bool> {
        if head.block_type == OBSOLETE_PACKET {
            let body = bytes.get(BLOCK_BODY..bytes.len() - 4)?;
            visit(&self.obsolete_packet(body)?);
            return Some(true);
        }
        let parse = match self.order {
            Order::Little => parse_block_le,
            Order::Big => parse_block_be,
        };
        match parse(bytes).ok()?.1 {
            Block::InterfaceDescription(block) => {
                self.on_interface(&block)?;
                Some(false)
            }
            Block::EnhancedPacket(block) => {
                visit(&self.enhanced_packet(&block)?);
                Some(true)
            }
            Block::SimplePacket(block) => {
                visit(&self.simple_packet(&block)?);
                Some(true)
            }
            _ => None,
        }
    }

    fn on_interface(&mut self, block: &InterfaceDescriptionBlock<'_>) -> Option<()> {
        if self.section.len() >= MAX_SECTION_INTERFACES {
            return None;
        }
        let number = u16::try_from(block.linktype.0).ok()?;
        let link_type = LinkType::from_number(number);
        let interface = match block.if_name() {
            Some(Ok(name)) if !name.is_empty() => self.interfaces.named(name),
            _ => self.interfaces.unnamed(self.section.len(), &self.stem),
        };
        let entry = self.interfaces.get_mut(interface);
        match link_type {
            Some(_) => entry.is_supported = true,
            None => entry.unsupported = Some(number),
        }
        let offset_seconds =
            option_bytes(&block.options, IF_TSOFFSET).map_or(0, |bytes| match self.order {
                Order::Little => i64::from_le_bytes(bytes),
                Order::Big => i64::from_be_bytes(bytes),
            });
        self.section.push(SectionInterface {
            interface,
            link_type,
            snap_len: block.snaplen,
            ticks_per_second: ticks_per_second(block.if_tsresol),
            offset_seconds,
        });
        Some(())
    }

    fn enhanced_packet<'a>(&self, block: &'a EnhancedPacketBlock<'_>) -> Option<FilePacket<'a>> {
        let interface = self.section.get(usize::try_from(block.if_id).ok()?)?;
        let ticks = u64::from(block.ts_high) << 32 | u64::from(block.ts_low);
        Some(FilePacket {
            interface: interface.interface,
            link_type: interface.link_type,
            direction: self.direction(&block.options),
            timestamp: interface.timestamp(ticks),
            frame: frame(block.packet_data(), block.origlen),
        })
    }

    fn simple_packet<'a>(&self, block: &'a SimplePacketBlock<'_>) -> Option<FilePacket<'a>> {
        let interface = self.section.first()?;
        let data = block.packet_data();
        // What is kept is not said: it is the packet, or as much of it as the snapshot length.
        let kept = match usize::try_from(interface.snap_len).ok()? {
            0 => data,
            snap_len => &data[..data.len().min(snap_len)],
        };
        Some(FilePacket {
            interface: interface.interface,
            link_type: interface.link_type,
            direction: None,
            timestamp: None,
            frame: frame(kept, block.origlen),
        })
    }

    /// Interface and drop count in 16 bits each, then as in an enhanced packet block.
    fn obsolete_packet<'a>(&self, body: &'a [u8]) -> Option<FilePacket<'a>> {
        let (head, rest) = body.split_first_chunk::<20>()?;
        let number = self.order.u16(head, 0)?;
        let interface = self.section.get(usize::from(number))?;
        let word = |at| self.order.u32(head, at);
        let kept = usize::try_from(word(12)?).ok()?;
        let data = rest.get(..kept)?;
        let options = rest.get(kept.next_multiple_of(4)..).unwrap_or_default();
        let ticks = u64::from(word(4)?) << 32 | u64::from(word(8)?);
        Some(FilePacket {
            interface: interface.interface,
            link_type: interface.link_type,
            direction: self.direction_of(self.raw_option(options, PACK_FLAGS)),
            timestamp: interface.timestamp(ticks),
            frame: frame(data, word(16)?),
        })
    }

    /// Direction from the option `epb_flags` (section 4.3.1).
    fn direction(&self, options: &[PcapNGOption<'_>]) -> Option<u8> {
        self.direction_of(option_bytes(options, EPB_FLAGS))
    }

    /// Direction from the value of `epb_flags`, or of `pack_flags`, which has the same bits.
    fn direction_of(&self, bytes: Option<[u8; 4]>) -> Option<u8> {
        let bytes = bytes?;
        let flags = self.order.u32(&bytes, 0)?;
        match flags & 0b11 {
            0b01 => Some(INGRESS),
            0b10 => Some(EGRESS),
            _ => None,
        }
    }
}

impl Sections {
    /// The first 4 bytes of an option, from options as they lie in the file.
    fn raw_option(&self, mut options: &[u8], code: u16) -> Option<[u8; 4]> {
        loop {
            let (head, rest) = options.split_first_chunk::<4>()?;
            let len = usize::from(self.order.u16(head, 2)?);
            let value = rest.get(..len)?;
            match self.order.u16(head, 0)? {
                0 => return None, // the end of options
                found if found == code => return value.first_chunk().copied(),
                _ => options = rest.get(len.next_multiple_of(4)..)?,
            }
        }
    }
}

impl SectionInterface {
    fn timestamp(&self, ticks: u64) -> Option<Timestamp> {
        // Both factors are below 2^64, so the product fits.
        let since_offset_ns = u128::from(ticks) * 1_000_000_000 / self.ticks_per_second;
        let offset_ns = i128::from(self.offset_seconds) * 1_000_000_000;
        let since_epoch_ns = offset_ns.checked_add(i128::try_from(since_offset_ns).ok()?)?;
        Timestamp::from_nanosecond(since_epoch_ns).ok()
    }
}

/// Ticks per second from the option `if_tsresol` (section 4.2): a power of 10, or of 2 where the
/// highest bit is set. A resolution beyond all clocks is read as the finest that can be computed.
fn ticks_per_second(if_tsresol: u8) -> u128 {
    let exponent = u32::from(if_tsresol & 0x7f);
    if if_tsresol & 0x80 == 0 {
        10u128.pow(exponent.min(38))
    } else {
        1 << exponent
    }
}

/// The first `N` bytes of an option; the parser reads numbers as little-endian in every section.
fn option_bytes<const N: usize>(options: &[PcapNGOption<'_>], code: u16) -> Option<[u8; N]> {
    let option = options.iter().find(|option| option.code.0 == code)?;
    option.value().first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::{BlockHead, Sections};

    #[test]
    fn a_block_shorter_than_any_is_impossible_whatever_its_type() {
        let sections = Sections::new("x".into());
        for block_type in [6_u32, 0x0a0d_0d0a, 0x8000_0001] {
            let says = |len: u32| {
                let words = [block_type, len, 0x1a2b_3c4d].map(u32::to_le_bytes);
                BlockHead::read(&words.concat(), &sections).is_some()
            };
            assert!(!says(0) && !says(8) && !says(11), "{block_type:#x}");
            assert!(says(28) && says(u32::MAX), "{block_type:#x}");
        }
        assert!(BlockHead::read(&[6, 0, 0, 0], &sections).is_none());
    }
}
