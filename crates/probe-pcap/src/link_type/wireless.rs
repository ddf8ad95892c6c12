//! IEEE 802.11: what the radio tells, then a frame, in which an Ethernet payload follows a header of
//! LLC and SNAP.

use probe_common::parse::{CapturedFrame, PacketBytes, ParseError};

use super::{LinkType, Network, llc};
use crate::local::{MacAddress, MacPair};

/// What stands before the 802.11 header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Radio {
    /// Nothing: the frame begins with the 802.11 header, link type 105.
    Nothing,
    /// The little-endian header of radiotap (127), <https://www.radiotap.org/>.
    Radiotap,
    /// The header of Prism cards (119), or that of AVS, which their drivers write, too.
    Prism,
    /// The header of AVS (163), all in network order.
    Avs,
    /// Per-packet information (192), with 802.11 behind it.
    Ppi,
}

/// Fields of frame control (IEEE 802.11-2020, section 9.2.4.1), first octet.
const VERSION_AND_TYPE: u8 = 0x0f;
const DATA: u8 = 0x08;
const NO_DATA: u8 = 0x40;
const QOS: u8 = 0x80;
/// Fields of the second octet of frame control.
const TO_DS: u8 = 0x01;
const FROM_DS: u8 = 0x02;
const PROTECTED: u8 = 0x40;
const HAS_HT_CONTROL: u8 = 0x80;
/// QoS control, first octet: the body is an A-MSDU.
const IS_AGGREGATE: u8 = 0x80;

const ADDRESS_1: usize = 4;
const ADDRESS_2: usize = 10;
const ADDRESS_3: usize = 16;
const SEQUENCE_CONTROL: usize = 22;
const ADDRESS_4: usize = 24;
const HEADER_LEN: usize = 24;

/// Radiotap: bits of its first word, and of its field `Flags`.
const HAS_TSFT: u32 = 1;
const HAS_FLAGS: u32 = 1 << 1;
const HAS_MORE_WORDS: u32 = 1 << 31;
const FLAG_FCS: u8 = 0x10;
const FLAG_PADDED: u8 = 0x20;

/// Frame check sequence at the end of a frame.
const FCS_LEN: usize = 4;

/// Destination, source and length of an MSDU in an A-MSDU (section 9.3.2.2).
const SUBFRAME_HEADER_LEN: usize = 14;
/// An A-MSDU has 11,454 octets at most (section 9.2.4.7.1), so it has no more parts.
const MAX_SUBFRAMES: usize = 11_454 / SUBFRAME_HEADER_LEN;

/// What the radio header says.
struct Air {
    /// Where the 802.11 header begins.
    header: usize,
    has_fcs: bool,
    /// The header is padded to a multiple of 4 octets.
    is_padded: bool,
}

/// A data frame with a body.
pub(super) struct DataFrame<'a> {
    /// Without the frame check sequence.
    frame: CapturedFrame<'a>,
    header: usize,
    body: usize,
    flags: u8,
    is_aggregate: bool,
}

impl<'a> DataFrame<'a> {
    /// Reads the headers. Frames that are none of data, or have no body, are not IP.
    pub(super) fn read(radio: Radio, frame: &CapturedFrame<'a>) -> Result<Self, ParseError> {
        let air = radio.air(frame)?;
        let header = air.header;
        let [kind, flags] = frame.load(header)?;
        if kind & VERSION_AND_TYPE != DATA || kind & NO_DATA != 0 {
            return Err(ParseError::NonIp);
        }
        let mut len = HEADER_LEN;
        if flags & (TO_DS | FROM_DS) == TO_DS | FROM_DS {
            len += size_of::<MacAddress>();
        }
        let mut is_aggregate = false;
        if kind & QOS != 0 {
            is_aggregate = frame.load::<1>(header + len)?[0] & IS_AGGREGATE != 0;
            len += 2;
            if flags & HAS_HT_CONTROL != 0 {
                len += 4;
            }
        }
        if air.is_padded {
            len = len.next_multiple_of(4);
        }
        Ok(Self {
            frame: if air.has_fcs {
                without_fcs(frame)
            } else {
                *frame
            },
            header,
            body: header + len,
            flags,
            is_aggregate,
        })
    }

    /// Whether its body cannot be read without a key.
    pub(super) const fn is_encrypted(&self) -> bool {
        self.flags & PROTECTED != 0
    }

    /// The first of several fragments has the IP header; the others continue it.
    fn is_later_fragment(&self) -> Result<bool, ParseError> {
        let [low] = self.frame.load(self.header + SEQUENCE_CONTROL)?;
        Ok(low & 0x0f != 0)
    }

    pub(super) fn network(&self) -> Result<Network, ParseError> {
        if self.is_encrypted() || self.is_later_fragment()? {
            return Err(ParseError::NonIp);
        }
        llc(&self.frame, self.body)
    }

    /// The frame without its frame check sequence.
    pub(super) const fn frame(&self) -> CapturedFrame<'a> {
        self.frame
    }

    /// Sender and receiver, as the two bits say which address is whose (section 9.3.2.1).
    pub(super) fn mac_pair(&self) -> MacPair {
        let [src, dst] = match (self.flags & TO_DS != 0, self.flags & FROM_DS != 0) {
            (false, false) => [ADDRESS_2, ADDRESS_1],
            (false, true) => [ADDRESS_3, ADDRESS_1],
            (true, false) => [ADDRESS_2, ADDRESS_3],
            (true, true) => [ADDRESS_4, ADDRESS_3],
        }
        .map(|offset| self.frame.load(self.header + offset).ok());
        MacPair { src, dst }
    }
}

fn without_fcs<'a>(frame: &CapturedFrame<'a>) -> CapturedFrame<'a> {
    let wire_len = frame.wire_len.saturating_sub(FCS_LEN);
    CapturedFrame {
        bytes: &frame.bytes[..frame.bytes.len().min(wire_len)],
        wire_len,
    }
}

impl Radio {
    fn air(self, frame: &CapturedFrame<'_>) -> Result<Air, ParseError> {
        let plain = |header| Air {
            header,
            has_fcs: false,
            is_padded: false,
        };
        match self {
            Self::Nothing => Ok(plain(0)),
            Self::Radiotap => radiotap(frame),
            Self::Avs => avs(frame).map(plain),
            Self::Prism => prism(frame).map(plain),
            Self::Ppi => {
                let [_, _, low, high] = frame.load(0)?;
                match u32::from_le_bytes(frame.load(4)?) {
                    105 => Ok(plain(usize::from(u16::from_le_bytes([low, high])))),
                    _ => Err(ParseError::NonIp),
                }
            }
        }
        // Each has at least the two words that were read; a length that says less is none.
        .and_then(|air| match self {
            Self::Nothing => Ok(air),
            _ if air.header < 8 => Err(ParseError::NonIp),
            _ => Ok(air),
        })
    }
}

/// Message code and length, 4 octets each; or the header of AVS, which its version tells.
fn prism(frame: &CapturedFrame<'_>) -> Result<usize, ParseError> {
    if let [0x80, 0x21, 0x10, _] = frame.load(0)? {
        return avs(frame);
    }
    // In the byte order of the capturing host. No header is long, so the wrong order shows.
    let len = frame.load::<4>(4)?;
    let len = u32::from_le_bytes(len).min(u32::from_be_bytes(len));
    Ok(usize::try_from(len).unwrap_or(usize::MAX))
}

/// Version and length, 4 octets each, in network order.
fn avs(frame: &CapturedFrame<'_>) -> Result<usize, ParseError> {
    let len = u32::from_be_bytes(frame.load(4)?);
    Ok(usize::try_from(len).unwrap_or(usize::MAX))
}

/// All numbers are little-endian, and aligned to their size from the start of the header.
fn radiotap(frame: &CapturedFrame<'_>) -> Result<Air, ParseError> {
    let [version, _, low, high] = frame.load(0)?;
    if version != 0 {
        return Err(ParseError::NonIp);
    }
    let len = usize::from(u16::from_le_bytes([low, high]));
    let first = u32::from_le_bytes(frame.load(4)?);
    let (mut word, mut fields) = (first, 8);
    while word & HAS_MORE_WORDS != 0 && fields < len {
        word = u32::from_le_bytes(frame.load(fields)?);
        fields += 4;
    }
    let flags_at = if first & HAS_TSFT == 0 {
        fields
    } else {
        fields.next_multiple_of(8) + 8
    };
    let flags = if first & HAS_FLAGS != 0 && flags_at < len {
        frame.load::<1>(flags_at)?[0]
    } else {
        0
    };
    Ok(Air {
        header: len,
        has_fcs: flags & FLAG_FCS != 0,
        is_padded: flags & FLAG_PADDED != 0,
    })
}

/// A frame as the parser takes it, which is one packet.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    /// `None` for one that is not supported.
    pub(crate) link_type: Option<LinkType>,
    pub(crate) frame: CapturedFrame<'a>,
    /// Its share of the frame in the file.
    pub(crate) wire_bytes: usize,
}

/// The packets of a frame: one, or those of an A-MSDU.
pub(crate) enum Parts<'a> {
    Whole(Option<Part<'a>>),
    Aggregate(Subframes<'a>),
}

/// Walks an A-MSDU, one MSDU at a time.
pub(crate) struct Subframes<'a> {
    frame: CapturedFrame<'a>,
    /// Where the next one begins.
    next: usize,
    /// Octets of the frame in the file that have no part yet.
    unaccounted: usize,
    left: usize,
}

impl Part<'_> {
    /// Whether it has data of 802.11 that cannot be read without a key.
    pub(crate) fn is_encrypted(&self) -> bool {
        let link_type = self.link_type;
        link_type.is_some_and(|link_type| link_type.is_encrypted(&self.frame))
    }
}

impl<'a> Parts<'a> {
    pub(crate) fn of(link_type: Option<LinkType>, frame: &CapturedFrame<'a>) -> Self {
        if let Some(LinkType::Ieee80211(radio)) = link_type
            && let Ok(data) = DataFrame::read(radio, frame)
            && data.is_aggregate
            && !data.is_encrypted()
            && data.body + SUBFRAME_HEADER_LEN <= data.frame.wire_len
        {
            return Self::Aggregate(Subframes {
                frame: data.frame,
                next: data.body,
                unaccounted: frame.wire_len,
                left: MAX_SUBFRAMES,
            });
        }
        Self::Whole(Some(Part {
            link_type,
            frame: *frame,
            wire_bytes: frame.wire_len,
        }))
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        match self {
            Self::Whole(part) => part.take(),
            Self::Aggregate(subframes) => subframes.next(),
        }
    }
}

impl Subframes<'_> {
    fn has_room(&self) -> bool {
        self.left > 0 && self.next + SUBFRAME_HEADER_LEN <= self.frame.wire_len
    }
}

impl<'a> Iterator for Subframes<'a> {
    type Item = Part<'a>;

    /// The headers before the first one, and what stands behind the last one, belong to the last.
    fn next(&mut self) -> Option<Part<'a>> {
        if !self.has_room() {
            return None;
        }
        let begin = self.next;
        let rest = self.frame.wire_len - begin;
        let length = self.frame.load(begin + SUBFRAME_HEADER_LEN - 2);
        // Where the capture was cut before it, the rest is one packet that nobody can tell.
        let len = length.map_or(rest, |length| {
            rest.min(SUBFRAME_HEADER_LEN + usize::from(u16::from_be_bytes(length)))
        });
        self.next = begin + len.next_multiple_of(4);
        self.left -= 1;
        let bytes = self.frame.bytes.get(begin..).unwrap_or_default();
        let wire_bytes = if self.has_room() {
            len
        } else {
            self.unaccounted
        };
        self.unaccounted -= wire_bytes;
        Some(Part {
            link_type: Some(LinkType::Msdu),
            frame: CapturedFrame {
                bytes: &bytes[..bytes.len().min(len)],
                wire_len: len,
            },
            wire_bytes,
        })
    }
}
