//! The plain parser: what the standards say, step by step, over slices. It shares no code and no
//! constant with the one that it is compared with.

use std::ops::Range;

/// What a parser has to find out about a packet.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Expected {
    /// Source and destination, 4 or 16 octets.
    pub(super) addrs: [Vec<u8>; 2],
    pub(super) ports: [u16; 2],
    pub(super) ip_protocol: u8,
    pub(super) octets: usize,
    pub(super) octets_beyond_frame: usize,
    pub(super) header_octets: usize,
    pub(super) tcp_flags: u8,
    pub(super) aux: u8,
    pub(super) is_first_fragment: bool,
    pub(super) is_later_fragment: bool,
    pub(super) has_short_transport: bool,
    pub(super) fragment_id: u32,
}

type ParseResult = Result<Expected, &'static str>;

const NOT_IP: &str = "non_ip";
const INVALID: &str = "invalid_ip_header";
const TRUNCATED: &str = "truncated";
const TOO_MANY: &str = "too_many_headers";

/// Link headers and, apart from those, extension headers that are followed.
const MOST_HEADERS: usize = 8;

/// A frame of which `bytes` were captured.
#[derive(Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) wire_len: usize,
}

impl<'a> Frame<'a> {
    fn slice(self, range: Range<usize>) -> Result<&'a [u8], &'static str> {
        self.bytes.get(range).ok_or(TRUNCATED)
    }

    fn byte(self, at: usize) -> Result<u8, &'static str> {
        Ok(self.slice(at..at + 1)?[0])
    }

    fn number(self, at: usize) -> Result<u16, &'static str> {
        let octets = self.slice(at..at + 2)?;
        Ok(u16::from(octets[0]) << 8 | u16::from(octets[1]))
    }

    /// IEEE 802.3, 802.1Q and 802.1ad; MPLS by RFC 3032; PPPoE by RFC 2516.
    pub(super) fn ethernet(self) -> ParseResult {
        let mut ether_type = self.number(12)?;
        let mut at = 14;
        let mut followed = 0;
        let mut is_guess = false;
        loop {
            match ether_type {
                0x0800 if is_guess && !self.has_possible_lengths(at, 4)? => return Err(NOT_IP),
                0x86dd if is_guess && !self.has_possible_lengths(at, 6)? => return Err(NOT_IP),
                0x0800 => return self.ipv4(at),
                0x86dd => return self.ipv6(at),
                0x8100 | 0x88a8 | 0x9100 => {
                    let tag = self.slice(at..at + 4)?;
                    ether_type = u16::from(tag[2]) << 8 | u16::from(tag[3]);
                    at += 4;
                }
                0x8847 | 0x8848 => {
                    let label = self.slice(at..at + 4)?;
                    at += 4;
                    if label[2] % 2 == 1 {
                        // The last label, and no word about what follows (RFC 4928, section 2).
                        ether_type = match self.byte(at)? / 16 {
                            4 => 0x0800,
                            6 => 0x86dd,
                            _ => return Err(NOT_IP),
                        };
                        is_guess = true;
                    }
                }
                0x8864 => {
                    let header = self.slice(at..at + 8)?;
                    at += 8;
                    // An odd octet is the last one of the protocol (RFC 1661, section 2).
                    let (ip, octets_of_ip) = match header[6..] {
                        [0x00, 0x21] => (0x0800, 0),
                        [0x00, 0x57] => (0x86dd, 0),
                        [0x21, _] => (0x0800, 1),
                        [0x57, _] => (0x86dd, 1),
                        _ => return Err(NOT_IP),
                    };
                    ether_type = ip;
                    at -= octets_of_ip;
                }
                _ => return Err(NOT_IP),
            }
            followed += 1;
            if followed > MOST_HEADERS {
                return Err(TOO_MANY);
            }
        }
    }

    /// Whether lengths at the start of an IP header are such that it can be one.
    fn has_possible_lengths(self, at: usize, version: u8) -> Result<bool, &'static str> {
        let room = self.wire_len - at;
        if version == 6 {
            self.slice(at..at + 40)?;
            return Ok(usize::from(self.number(at + 4)?) + 40 <= room);
        }
        let header_octets = usize::from(self.slice(at..at + 20)?[0] % 16) * 4;
        let total_length = usize::from(self.number(at + 2)?);
        let has_no_length = total_length == 0;
        Ok(
            header_octets >= 20
                && (has_no_length || (header_octets..=room).contains(&total_length)),
        )
    }

    /// An IP packet without link header: the version says which.
    pub(super) fn ip(self, at: usize) -> ParseResult {
        match self.byte(at)? / 16 {
            4 => self.ipv4(at),
            6 => self.ipv6(at),
            _ => Err(INVALID),
        }
    }

    /// RFC 791, section 3.1.
    fn ipv4(self, at: usize) -> ParseResult {
        let header = self.slice(at..at + 20)?;
        let header_octets = usize::from(header[0] % 16) * 4;
        if header[0] / 16 != 4 || header_octets < 20 {
            return Err(INVALID);
        }
        let total_length = usize::from(self.number(at + 2)?);
        // What the frame has behind the link header bounds what the packet has on the wire.
        let room = self.wire_len - at;
        let (octets, octets_beyond_frame) = if total_length == 0 {
            // TSO: the frame says how long it is.
            (room, 0)
        } else if total_length < header_octets {
            return Err(INVALID);
        } else if total_length > room {
            (room, total_length - room)
        } else {
            (total_length, 0)
        };
        self.slice(at..at + header_octets)?;

        let mut packet = Expected {
            addrs: [header[12..16].to_vec(), header[16..20].to_vec()],
            ip_protocol: header[9],
            octets,
            octets_beyond_frame,
            header_octets,
            ..Expected::default()
        };
        let more_fragments = header[6] & 0b0010_0000 != 0;
        let fragment_offset = self.number(at + 6)? % 0x2000;
        if more_fragments || fragment_offset > 0 {
            // Above the identification: whether the key may have another protocol than the header.
            let is_behind_ah = header[9] == 51;
            packet.fragment_id =
                u32::from(self.number(at + 4)?) + if is_behind_ah { 0x1_0000 } else { 0 };
            packet.is_first_fragment = fragment_offset == 0;
            packet.is_later_fragment = fragment_offset > 0;
        }
        if !packet.is_later_fragment {
            let end = self.authentication(at + header_octets, at + octets, &mut packet)?;
            packet.header_octets = end - at;
            self.transport(end, at + octets, &mut packet);
        }
        Ok(packet)
    }

    /// Skips the authentication header of an IPv4 packet (RFC 4302), if it has one. Returns where it ends.
    fn authentication(
        self,
        at: usize,
        packet_end: usize,
        packet: &mut Expected,
    ) -> Result<usize, &'static str> {
        if packet.ip_protocol != 51 {
            return Ok(at);
        }
        let start = self.slice(at..at + 4)?;
        let len = 4 * (2 + usize::from(start[1])); // section 2.2
        if at + len > packet_end {
            return Err(TRUNCATED);
        }
        self.slice(at..at + len)?;
        packet.ip_protocol = start[0];
        Ok(at + len)
    }

    /// RFC 8200, sections 3 and 4.
    fn ipv6(self, at: usize) -> ParseResult {
        // The version counts before the addresses are there.
        let header = self.slice(at..at + 8)?;
        if header[0] / 16 != 6 {
            return Err(INVALID);
        }
        let addrs = self.slice(at + 8..at + 40)?;
        let payload_length = usize::from(self.number(at + 4)?);
        let room = self.wire_len - at;
        let stated = if payload_length == 0 && room > 40 + 65_535 {
            // BIG TCP and jumbograms (RFC 2675): the frame says how long it is.
            room
        } else {
            40 + payload_length
        };
        let octets = room.min(stated);
        let mut packet = Expected {
            addrs: [addrs[..16].to_vec(), addrs[16..].to_vec()],
            octets,
            octets_beyond_frame: stated - octets,
            ..Expected::default()
        };
        let packet_end = at + octets;
        let end = self.extension_headers(at + 40, packet_end, header[6], &mut packet)?;
        packet.header_octets = end - at;
        if !packet.is_later_fragment {
            self.transport(end, packet_end, &mut packet);
        }
        Ok(packet)
    }

    /// Follows the chain and returns where it ends.
    fn extension_headers(
        self,
        mut at: usize,
        packet_end: usize,
        mut next_header: u8,
        packet: &mut Expected,
    ) -> Result<usize, &'static str> {
        let mut followed = 0;
        // Hop-by-hop, routing, fragment, authentication, destination options.
        while [0, 43, 44, 51, 60].contains(&next_header) {
            let start = self.slice(at..at + 4)?;
            let len = match next_header {
                44 => 8,                               // section 4.5
                51 => (usize::from(start[1]) + 2) * 4, // RFC 4302, section 2.2
                _ => (usize::from(start[1]) + 1) * 8,
            };
            if at + len > packet_end {
                return Err(TRUNCATED);
            }
            let header = self.slice(at..at + len)?;
            let is_fragment_header = next_header == 44;
            next_header = header[0];
            at += len;
            let fragment_offset = self.number(at - len + 2)? / 8;
            let more_fragments = header[3] % 2 == 1;
            if is_fragment_header && (fragment_offset > 0 || more_fragments) {
                let id = header[4..8].iter();
                packet.fragment_id = id.fold(0, |id, octet| id << 8 | u32::from(*octet));
                packet.is_first_fragment = fragment_offset == 0;
                packet.is_later_fragment = fragment_offset > 0;
                if packet.is_later_fragment {
                    break;
                }
            }
            followed += 1;
            if followed > MOST_HEADERS {
                return Err(TOO_MANY);
            }
        }
        packet.ip_protocol = next_header;
        Ok(at)
    }

    /// What the transport header between `at` and `end` says. Behind `end` is padding.
    fn transport(self, at: usize, end: usize, packet: &mut Expected) {
        let end = end.min(self.bytes.len());
        let header = self.bytes.get(at..end).unwrap_or_default();
        let ports = match header {
            [a, b, c, d, ..] => Some([[*a, *b], [*c, *d]].map(u16::from_be_bytes)),
            _ => None,
        };
        match packet.ip_protocol {
            // RFC 9293, section 3.1: the flags are octet 13.
            6 => {
                packet.ports = ports.unwrap_or_default();
                if let Some(flags) = header.get(13) {
                    packet.tcp_flags = *flags;
                    packet.aux = *flags;
                    packet.header_octets += usize::from(header[12] / 16) * 4;
                } else {
                    packet.has_short_transport = true;
                }
            }
            // UDP (RFC 768) and SCTP (RFC 9260, section 3.1).
            17 | 132 => {
                packet.has_short_transport = ports.is_none();
                packet.ports = ports.unwrap_or_default();
                if packet.ip_protocol == 17 {
                    packet.header_octets += 8;
                }
            }
            // ICMP (RFC 792) and ICMPv6 (RFC 4443, section 2.1).
            1 | 58 => {
                packet.has_short_transport = header.is_empty();
                packet.aux = header.first().copied().unwrap_or(0);
            }
            _ => {}
        }
    }
}
