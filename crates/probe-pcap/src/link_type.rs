//! Link types of capture files, and how each gets to the IP header.
//!
//! Numbers: <https://www.tcpdump.org/linktypes.html>.

mod names;
mod serial;
mod wireless;

use std::fmt;

use probe_common::{
    headers::{ETHER_TYPE_OFFSET, ETHERNET_LEN, ether_type},
    parse::{
        CapturedFrame, Packet, PacketBytes, ParseError,
        link::{parse_ether_type, parse_ethernet, parse_raw_ip},
        network::{parse_ipv4, parse_ipv6},
    },
    record::{EGRESS, INGRESS},
};

use self::wireless::DataFrame;
pub use self::wireless::Radio;
pub(crate) use self::{
    names::name,
    wireless::{Part, Parts},
};
use super::local::MacPair;

/// A link type that can be replayed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LinkType {
    /// Ethernet header, link type 1.
    Ethernet,
    /// IPv4 or IPv6 without link header (101; 12 and 14 in files from some BSDs).
    RawIp,
    /// IPv4 without link header (228).
    RawIpv4,
    /// IPv6 without link header (229).
    RawIpv6,
    /// Address family as 4 bytes: in the byte order of the capturing host (NULL, 0) or of the
    /// network (LOOP, 108).
    Loopback,
    /// Linux cooked capture (113), of the `any` device.
    LinuxSll,
    /// Linux cooked capture version 2 (276).
    LinuxSll2,
    /// PPP (9), with or without address and control fields.
    Ppp,
    /// PPP in HDLC-like framing (50), or Cisco HDLC: the address tells.
    PppHdlc,
    /// PPP behind an octet for the direction (204).
    PppDirected,
    /// PPP behind a direction in the place of the address field (166), as pppd writes it.
    Pppd,
    /// Header of a PPPoE session (51), without the Ethernet header.
    PppoeSession,
    /// Cisco HDLC (104, 112).
    CiscoHdlc,
    /// Cisco HDLC behind an octet for the direction (205).
    CiscoHdlcDirected,
    /// Frame Relay (107), with the encapsulation of RFC 2427 or of Cisco.
    FrameRelay,
    /// Frame Relay behind an octet for the direction (206).
    FrameRelayDirected,
    /// MPLS label stack (219).
    Mpls,
    /// Header of OpenBSD's IPsec device (109).
    Enc,
    /// IEEE 802.11 (105) behind what a radio tells (119, 127, 163, 192).
    Ieee80211(Radio),
    /// A part of an 802.11 frame that carries several. No file has it as its link type.
    Msdu,
}

/// What is supported, for error messages.
pub const SUPPORTED: &str = "Ethernet (1), raw IP (101, 12, 14, 228, 229), NULL (0), LOOP (108), \
                             Linux cooked SLL (113) and SLL2 (276), PPP (9, 50, 51, 166, 204), Cisco \
                             HDLC (104, 112, 205), Frame Relay (107, 206), 802.11 (105, 119, 127, 163, \
                             192), MPLS (219) and ENC (109)";

/// Where the network layer begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Network {
    /// At an offset, what this EtherType says.
    EtherType(usize, u16),
    /// IPv4 or IPv6 at an offset: its version tells.
    RawIp(usize),
    /// IPv4 at the beginning of the frame.
    Ipv4,
    /// IPv6 at the beginning of the frame.
    Ipv6,
}

const ETHERNET_SRC_OFFSET: usize = 6;

const SLL_LEN: usize = 16;
const SLL_PACKET_TYPE_OFFSET: usize = 0; // two bytes
const SLL_ADDRESS_LEN_OFFSET: usize = 4; // two bytes
const SLL_ADDRESS_OFFSET: usize = 6; // of the sender
const SLL_PROTOCOL_OFFSET: usize = 14;

const SLL2_LEN: usize = 20;
const SLL2_PROTOCOL_OFFSET: usize = 0;
const SLL2_PACKET_TYPE_OFFSET: usize = 10; // one byte
const SLL2_ADDRESS_LEN_OFFSET: usize = 11; // one byte
const SLL2_ADDRESS_OFFSET: usize = 12; // of the sender

/// Packet type `PACKET_OUTGOING` of linux/if_packet.h.
const SLL_OUTGOING: u8 = 4;

const LOOPBACK_LEN: usize = 4;

/// Address family, SPI and flags (`struct enchdr` of OpenBSD).
const ENC_LEN: usize = 12;

/// LLC of SNAP: both service access points, and unnumbered information (IEEE 802, section 9.2.3).
const LLC_SNAP: [u8; 3] = [0xaa, 0xaa, 0x03];
const LLC_SNAP_LEN: usize = 8;

impl LinkType {
    /// The link type with this number in a file, if it can be replayed.
    pub const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            0 | 108 => Self::Loopback,
            1 => Self::Ethernet,
            9 => Self::Ppp,
            12 | 14 | 101 => Self::RawIp,
            50 => Self::PppHdlc,
            51 => Self::PppoeSession,
            104 | 112 => Self::CiscoHdlc,
            105 => Self::Ieee80211(Radio::Nothing),
            107 => Self::FrameRelay,
            109 => Self::Enc,
            113 => Self::LinuxSll,
            119 => Self::Ieee80211(Radio::Prism),
            127 => Self::Ieee80211(Radio::Radiotap),
            163 => Self::Ieee80211(Radio::Avs),
            166 => Self::Pppd,
            192 => Self::Ieee80211(Radio::Ppi),
            204 => Self::PppDirected,
            205 => Self::CiscoHdlcDirected,
            206 => Self::FrameRelayDirected,
            219 => Self::Mpls,
            228 => Self::RawIpv4,
            229 => Self::RawIpv6,
            276 => Self::LinuxSll2,
            _ => return None,
        })
    }

    /// Parses a frame of this link type. Of an A-MSDU of 802.11 it reads nothing.
    ///
    /// # Errors
    ///
    /// The named loss of a frame that is no IP packet, or a damaged one.
    pub fn parse(self, frame: &CapturedFrame<'_>) -> Result<Packet, ParseError> {
        // Ethernet has a shorter way.
        if matches!(self, Self::Ethernet) {
            return parse_ethernet(frame);
        }
        if let Self::Ieee80211(radio) = self {
            let data = DataFrame::read(radio, frame)?;
            return parse_from(&data.frame(), data.network()?);
        }
        parse_from(frame, self.network(frame)?)
    }

    fn network(self, frame: &CapturedFrame<'_>) -> Result<Network, ParseError> {
        let ether_type = |offset| frame.load(offset).map(u16::from_be_bytes);
        Ok(match self {
            Self::Ethernet => Network::EtherType(ETHERNET_LEN, ether_type(ETHER_TYPE_OFFSET)?),
            Self::RawIp => Network::RawIp(0),
            Self::RawIpv4 => Network::Ipv4,
            Self::RawIpv6 => Network::Ipv6,
            Self::Loopback => {
                Network::EtherType(LOOPBACK_LEN, ether_type_of_family(frame.load(0)?)?)
            }
            Self::LinuxSll => Network::EtherType(SLL_LEN, ether_type(SLL_PROTOCOL_OFFSET)?),
            Self::LinuxSll2 => Network::EtherType(SLL2_LEN, ether_type(SLL2_PROTOCOL_OFFSET)?),
            Self::Ppp => return serial::ppp(frame, 0),
            Self::PppHdlc => return serial::ppp_or_hdlc(frame, 0),
            Self::PppDirected => return serial::ppp_or_hdlc(frame, 1),
            Self::Pppd => return serial::ppp_protocol(frame, 2),
            Self::PppoeSession => Network::EtherType(0, ether_type::PPPOE_SESSION),
            Self::CiscoHdlc => return serial::cisco_hdlc(frame, 0),
            Self::CiscoHdlcDirected => return serial::cisco_hdlc(frame, 1),
            Self::FrameRelay => return serial::frame_relay(frame, 0),
            Self::FrameRelayDirected => return serial::frame_relay(frame, 1),
            Self::Mpls => Network::EtherType(0, ether_type::MPLS),
            Self::Enc => Network::RawIp(ENC_LEN),
            Self::Ieee80211(radio) => return DataFrame::read(radio, frame)?.network(),
            Self::Msdu => return llc(frame, ETHERNET_LEN),
        })
    }

    /// [`INGRESS`] or [`EGRESS`], as far as the link header says so.
    pub fn direction(self, frame: &CapturedFrame<'_>) -> Option<u8> {
        let is_sent = match self {
            Self::LinuxSll => match frame.load(SLL_PACKET_TYPE_OFFSET).ok()? {
                [0, packet_type] => packet_type == SLL_OUTGOING,
                _ => return None,
            },
            Self::LinuxSll2 => frame.load(SLL2_PACKET_TYPE_OFFSET).ok()? == [SLL_OUTGOING],
            Self::Pppd | Self::PppDirected | Self::CiscoHdlcDirected | Self::FrameRelayDirected => {
                frame.load(0).ok()? != [0]
            }
            _ => return None,
        };
        Some(if is_sent { EGRESS } else { INGRESS })
    }

    /// The MAC addresses of the frame, as far as its link header has them.
    pub(super) fn mac_pair(self, frame: &CapturedFrame<'_>) -> MacPair {
        let address = |offset| frame.load(offset).ok();
        let sender = |has_mac: bool, offset| MacPair {
            src: has_mac.then(|| address(offset)).flatten(),
            dst: None,
        };
        match self {
            Self::Ethernet | Self::Msdu => MacPair {
                src: address(ETHERNET_SRC_OFFSET),
                dst: address(0),
            },
            Self::LinuxSll => {
                let has_mac = frame.load(SLL_ADDRESS_LEN_OFFSET) == Ok([0, 6]);
                sender(has_mac, SLL_ADDRESS_OFFSET)
            }
            Self::LinuxSll2 => {
                let has_mac = frame.load(SLL2_ADDRESS_LEN_OFFSET) == Ok([6]);
                sender(has_mac, SLL2_ADDRESS_OFFSET)
            }
            Self::Ieee80211(radio) => DataFrame::read(radio, frame)
                .map(|data| data.mac_pair())
                .unwrap_or_default(),
            _ => MacPair::default(),
        }
    }

    /// Whether the frame carries a VLAN tag (802.1Q, 802.1ad or the 9100 that preceded it).
    pub fn is_vlan_tagged(self, frame: &CapturedFrame<'_>) -> bool {
        matches!(
            self.network(frame),
            Ok(Network::EtherType(
                _,
                ether_type::C_TAG | ether_type::S_TAG | ether_type::OLD_S_TAG
            ))
        )
    }

    /// Whether the frame has data of 802.11 that cannot be read without a key.
    pub(super) fn is_encrypted(self, frame: &CapturedFrame<'_>) -> bool {
        match self {
            Self::Ieee80211(radio) => {
                DataFrame::read(radio, frame).is_ok_and(|data| data.is_encrypted())
            }
            _ => false,
        }
    }
}

fn parse_from(frame: &CapturedFrame<'_>, network: Network) -> Result<Packet, ParseError> {
    match network {
        Network::EtherType(offset, ether_type) => parse_ether_type(frame, offset, ether_type),
        Network::RawIp(offset) => parse_raw_ip(frame, offset),
        Network::Ipv4 => parse_ipv4(frame, 0).map(Packet::V4),
        Network::Ipv6 => parse_ipv6(frame, 0).map(Packet::V6),
    }
}

/// Behind a header of LLC and SNAP, as 802.11 has it (RFC 1042).
fn llc(frame: &CapturedFrame<'_>, offset: usize) -> Result<Network, ParseError> {
    let [dsap, ssap, control, oui @ .., high, low] = frame.load::<LLC_SNAP_LEN>(offset)?;
    if [dsap, ssap, control] != LLC_SNAP {
        return Err(ParseError::NonIp);
    }
    let protocol = u16::from_be_bytes([high, low]);
    snap(oui, protocol, offset + LLC_SNAP_LEN)
}

/// An EtherType has the organisation 0, or that of IEEE 802.1H, which bridges use.
fn snap(oui: [u8; 3], protocol: u16, offset: usize) -> Result<Network, ParseError> {
    match oui {
        [0, 0, 0 | 0xf8] => Ok(Network::EtherType(offset, protocol)),
        _ => Err(ParseError::NonIp),
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ethernet => "Ethernet",
            Self::RawIp => "raw IP",
            Self::RawIpv4 => "raw IPv4",
            Self::RawIpv6 => "raw IPv6",
            Self::Loopback => "NULL/LOOP",
            Self::LinuxSll => "Linux cooked SLL",
            Self::LinuxSll2 => "Linux cooked SLL2",
            Self::Ppp | Self::PppHdlc | Self::PppDirected | Self::Pppd => "PPP",
            Self::PppoeSession => "PPPoE session",
            Self::CiscoHdlc | Self::CiscoHdlcDirected => "Cisco HDLC",
            Self::FrameRelay | Self::FrameRelayDirected => "Frame Relay",
            Self::Mpls => "MPLS",
            Self::Enc => "ENC",
            Self::Ieee80211(_) => "802.11",
            Self::Msdu => "a part of an A-MSDU",
        })
    }
}

/// EtherType of an address family. Its byte order is that of an unknown host, but the
/// families are small numbers, so the wrong order shows.
fn ether_type_of_family(bytes: [u8; 4]) -> Result<u16, ParseError> {
    let family = u32::from_be_bytes(bytes).min(u32::from_le_bytes(bytes));
    match family {
        2 => Ok(ether_type::IPV4),
        // AF_INET6 of Linux; NetBSD, OpenBSD; FreeBSD; macOS.
        10 | 24 | 28 | 30 => Ok(ether_type::IPV6),
        _ => Err(ParseError::NonIp),
    }
}

#[cfg(test)]
mod tests;
