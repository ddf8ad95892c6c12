//! IPv4 and IPv6 headers: where they end, how long the packet is and what comes next.

use super::{Observation, PacketBytes, ParseError, transport};
use crate::{
    ephash::EpHash,
    headers::{
        IPV4_FRAGMENT_OFFSET_MASK, IPV4_MIN_LEN, IPV4_MORE_FRAGMENTS, IPV6_FRAGMENT_LEN,
        IPV6_FRAGMENT_OFFSET_MASK, IPV6_LEN, IPV6_MAX_LEN, IPV6_MORE_FRAGMENTS,
        ip_protocol::{AH, DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ROUTING},
    },
    record::{FLAG_FIRST_FRAGMENT, FLAG_LATER_FRAGMENT, FRAGMENT_BEHIND_AH},
};

/// IPv6 extension headers followed before [`ParseError::TooManyHeaders`].
pub const MAX_EXTENSION_HEADERS: usize = 8;

/// How it is known that a header is one of IP. Not an enum: the verifier would walk the parser once for each.
#[derive(Clone, Copy)]
pub(super) struct Source {
    /// Not 0 behind MPLS labels, which do not say what follows them: what has the version is taken for an IP
    /// header if its lengths fit, and is [`ParseError::NonIp`] if not.
    pub(super) labels: usize,
}

impl Source {
    /// The header before says that it is one.
    const STATED: Self = Self { labels: 0 };

    #[inline(always)]
    const fn is_guess(self) -> bool {
        self.labels != 0
    }

    /// The error for a header with a length that cannot be.
    #[inline(always)]
    const fn error(self) -> ParseError {
        if self.is_guess() {
            ParseError::NonIp
        } else {
            ParseError::InvalidIpHeader
        }
    }
}

/// Parses the IPv4 packet at `offset`.
///
/// # Errors
///
/// [`ParseError::InvalidIpHeader`]: the version is not 4, or a length contradicts the header.
/// [`ParseError::Truncated`]: the frame ends inside the header or its options.
#[inline(always)]
pub fn parse_ipv4<P: PacketBytes + ?Sized>(
    frame: &P,
    offset: usize,
) -> Result<Observation<EpHash<4>>, ParseError> {
    parse_probable_ipv4(frame, offset, Source::STATED)
}

/// [`parse_ipv4`] where the header may be none.
#[inline(always)]
pub(super) fn parse_probable_ipv4<P: PacketBytes + ?Sized>(
    frame: &P,
    offset: usize,
    source: Source,
) -> Result<Observation<EpHash<4>>, ParseError> {
    let header = frame.load::<IPV4_MIN_LEN>(offset)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_len < IPV4_MIN_LEN {
        return Err(source.error());
    }
    let room = frame.wire_len().saturating_sub(offset);
    let stated = match usize::from(u16::from_be_bytes([header[2], header[3]])) {
        0 => room,
        total_len if total_len < header_len => return Err(source.error()),
        total_len => total_len,
    };
    if stated > room && source.is_guess() {
        return Err(source.error());
    }
    let octets = stated.min(room);
    if header_len > IPV4_MIN_LEN {
        // The options must be there up to their last word, although nothing in them is read.
        frame.load::<4>(offset + header_len - 4)?;
    }
    let [.., s0, s1, s2, s3, d0, d1, d2, d3] = header;
    let mut observation = Observation {
        key: EpHash {
            src_addr: [s0, s1, s2, s3],
            src_port: [0; 2],
            dst_addr: [d0, d1, d2, d3],
            dst_port: [0; 2],
            ip_protocol: header[9],
        },
        octets: wire_octets(octets),
        octets_beyond_frame: wire_octets(stated - octets),
        header_octets: wire_header_octets(header_len),
        tcp_flags: 0,
        aux: 0,
        flags: 0,
        fragment_id: 0,
    };
    let fragment = u16::from_be_bytes([header[6], header[7]])
        & (IPV4_FRAGMENT_OFFSET_MASK | IPV4_MORE_FRAGMENTS);
    if fragment != 0 {
        observation.fragment_id = u32::from(u16::from_be_bytes([header[4], header[5]]));
        if observation.key.ip_protocol == AH {
            observation.fragment_id |= FRAGMENT_BEHIND_AH;
        }
        if fragment & IPV4_FRAGMENT_OFFSET_MASK != 0 {
            observation.flags = FLAG_LATER_FRAGMENT;
            return Ok(observation);
        }
        observation.flags = FLAG_FIRST_FRAGMENT;
    }
    let packet_end = offset + octets;
    let mut end = offset + header_len;
    if observation.key.ip_protocol == AH {
        let (behind, next_header) = walk_authentication_header(frame, end, packet_end)?;
        end = behind;
        observation.key.ip_protocol = next_header;
        observation.header_octets = wire_header_octets(end - offset);
    }
    let end = frame.blur(end);
    Ok(transport::parse(frame, end, packet_end, observation))
}

/// What follows the authentication header of an IPv4 packet, which is at `offset`. It is walked as those of IPv6
/// are; a second one is not, and the other extension headers are none in IPv4.
#[inline(always)]
fn walk_authentication_header<P: PacketBytes + ?Sized>(
    frame: &P,
    offset: usize,
    packet_end: usize,
) -> Result<(usize, u8), ParseError> {
    let [next_header, len, _, _] = frame.load::<4>(offset)?;
    let end = offset + authentication_len(len);
    if end > packet_end {
        return Err(ParseError::Truncated);
    }
    frame.load::<4>(end - 4)?; // its last word, so all of it is there
    Ok((end, next_header))
}

/// Octets of an authentication header with this number in its length field (RFC 4302, section 2.2).
#[inline(always)]
fn authentication_len(len: u8) -> usize {
    (usize::from(len) + 2) * 4
}

/// Parses the IPv6 packet at `offset`, through its extension headers.
///
/// # Errors
///
/// [`ParseError::InvalidIpHeader`]: the version is not 6. [`ParseError::Truncated`]: the frame or
/// the packet ends inside a header. [`ParseError::TooManyHeaders`]: more than
/// [`MAX_EXTENSION_HEADERS`] extension headers.
#[inline(always)]
pub fn parse_ipv6<P: PacketBytes + ?Sized>(
    frame: &P,
    offset: usize,
) -> Result<Observation<EpHash<16>>, ParseError> {
    parse_probable_ipv6(frame, offset, Source::STATED)
}

/// [`parse_ipv6`] where the header may be none.
#[inline(always)]
pub(super) fn parse_probable_ipv6<P: PacketBytes + ?Sized>(
    frame: &P,
    offset: usize,
    source: Source,
) -> Result<Observation<EpHash<16>>, ParseError> {
    let header = frame.load::<8>(offset)?;
    if header[0] >> 4 != 6 {
        return Err(ParseError::InvalidIpHeader);
    }
    let src_addr = frame.load::<16>(offset + 8)?;
    let dst_addr = frame.load::<16>(offset + 24)?;
    let next_header = header[6];
    let room = frame.wire_len().saturating_sub(offset);
    let stated = match usize::from(u16::from_be_bytes([header[4], header[5]])) {
        0 if room > IPV6_MAX_LEN => room,
        payload_len => payload_len + IPV6_LEN,
    };
    if stated > room && source.is_guess() {
        return Err(source.error());
    }
    let octets = stated.min(room);
    let end = offset + octets;
    let mut chain = walk_extension_headers(frame, offset + IPV6_LEN, end, next_header)?;
    chain.end = frame.blur(chain.end);
    chain.flags = frame.blur(chain.flags);
    let observation = Observation {
        key: EpHash {
            src_addr,
            src_port: [0; 2],
            dst_addr,
            dst_port: [0; 2],
            ip_protocol: chain.ip_protocol,
        },
        octets: wire_octets(octets),
        octets_beyond_frame: wire_octets(stated - octets),
        header_octets: wire_header_octets(chain.end - offset),
        tcp_flags: 0,
        aux: 0,
        flags: wire_flags(chain.flags),
        fragment_id: chain.fragment_id,
    };
    if observation.flags & FLAG_LATER_FRAGMENT != 0 {
        return Ok(observation);
    }
    Ok(transport::parse(frame, chain.end, end, observation))
}

/// Where a chain of extension headers ends.
struct Chain {
    /// Offset of the first byte behind it.
    end: usize,
    /// IP protocol of the header that starts there.
    ip_protocol: u8,
    /// [`FLAG_LATER_FRAGMENT`] if it ended in a fragment header with an offset, so no transport
    /// header follows; [`FLAG_FIRST_FRAGMENT`] if there was one without offset, but with more to
    /// come.
    flags: usize,
    /// Identification in that fragment header.
    fragment_id: u32,
}

#[inline(always)]
fn walk_extension_headers<P: PacketBytes + ?Sized>(
    frame: &P,
    mut offset: usize,
    packet_end: usize,
    mut next_header: u8,
) -> Result<Chain, ParseError> {
    // Blurred in each turn: otherwise the verifier walks the next turn once for each length, and the number of
    // ways through all of them is a power.
    let mut flags = frame.blur(0);
    let mut fragment_id = 0;
    for _ in 0..=MAX_EXTENSION_HEADERS {
        if !matches!(
            next_header,
            HOP_BY_HOP | ROUTING | FRAGMENT | AH | DESTINATION_OPTIONS
        ) {
            return Ok(Chain {
                end: offset,
                ip_protocol: next_header,
                flags,
                fragment_id,
            });
        }
        let [next, len, high, low] = frame.load::<4>(offset)?;
        let header_len = match next_header {
            FRAGMENT => IPV6_FRAGMENT_LEN,
            AH => authentication_len(len),
            _ => (usize::from(len) + 1) * 8,
        };
        let end = offset + header_len;
        if end > packet_end {
            return Err(ParseError::Truncated);
        }
        // Its last word, so all of it is there. Blurred, as below: of a register that is another one and a
        // constant, kernel 6.12 can believe two ranges that have nothing in common, and refuses the program.
        frame.load::<4>(frame.blur(end - 4))?;
        let fragment = u16::from_be_bytes([high, low]);
        // One with neither offset nor more to come is a whole packet: RFC 6946.
        if next_header == FRAGMENT
            && fragment & (IPV6_FRAGMENT_OFFSET_MASK | IPV6_MORE_FRAGMENTS) != 0
        {
            flags = frame.blur(usize::from(FLAG_FIRST_FRAGMENT));
            fragment_id = u32::from_be_bytes(frame.load::<4>(frame.blur(offset + 4))?);
            if fragment & IPV6_FRAGMENT_OFFSET_MASK != 0 {
                return Ok(Chain {
                    end,
                    ip_protocol: next,
                    flags: usize::from(FLAG_LATER_FRAGMENT),
                    fragment_id,
                });
            }
        }
        next_header = next;
        offset = frame.blur(end);
    }
    Err(ParseError::TooManyHeaders)
}

/// The octet count as it goes into the record. No frame reaches 4 GiB.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "bounded by the frame, which is below 4 GiB"
)]
const fn wire_octets(octets: usize) -> u32 {
    octets as u32
}

/// Header octets as they go into the observation: at most 40 + 9 extension headers of 2,048.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "at most 40 + 9 * 2,048, see above"
)]
pub(super) const fn wire_header_octets(octets: usize) -> u16 {
    octets as u16
}

/// The flags as they go into the observation.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "they were widened to be blurred"
)]
const fn wire_flags(flags: usize) -> u8 {
    flags as u8
}
