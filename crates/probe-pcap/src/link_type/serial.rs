//! Links between two routers: PPP, Cisco HDLC, Frame Relay.

use probe_common::{
    headers::{ETHER_TYPE_OFFSET, ETHERNET_LEN, ether_type, ppp_protocol},
    parse::{CapturedFrame, PacketBytes, ParseError},
};

use super::{Network, snap};

/// Address and control fields of HDLC-like framing (RFC 1662, section 3.1).
const ALL_ADDRESSES: u8 = 0xff;
const UNNUMBERED_INFORMATION: u8 = 0x03;

/// MPLS in PPP (RFC 3032, section 4.3).
const PPP_MPLS: u16 = 0x0281;
const PPP_MPLS_UPSTREAM: u16 = 0x0283;

/// Addresses of Cisco HDLC (RFC 1547, section 4.3.1): unicast, and broadcast.
const CISCO_ADDRESSES: [u8; 2] = [0x0f, 0x8f];

/// Network layer protocol identifiers (RFC 2427, section 4).
const NLPID_SNAP: u8 = 0x80;
const NLPID_IPV6: u8 = 0x8e;
const NLPID_IPV4: u8 = 0xcc;
/// PPP in Frame Relay (RFC 1973, section 3).
const NLPID_PPP: u8 = 0xcf;

/// Bridged frames behind a SNAP header, and those without a frame check sequence (RFC 2427,
/// section 4.2).
const OUI_BRIDGED: [u8; 3] = [0x00, 0x80, 0xc2];
const BRIDGED_ETHERNET: [u16; 2] = [0x0001, 0x0007];

/// PPP that begins with its protocol, or with address and control fields (RFC 1661, section 2).
pub(super) fn ppp(frame: &CapturedFrame<'_>, offset: usize) -> Result<Network, ParseError> {
    let [first] = frame.load(offset)?;
    if first == ALL_ADDRESSES {
        return ppp_protocol(frame, offset + 2);
    }
    ppp_protocol(frame, offset)
}

/// PPP, or Cisco HDLC, which has the same framing: the address tells.
pub(super) fn ppp_or_hdlc(frame: &CapturedFrame<'_>, offset: usize) -> Result<Network, ParseError> {
    let [first] = frame.load(offset)?;
    if CISCO_ADDRESSES.contains(&first) {
        return cisco_hdlc(frame, offset);
    }
    ppp(frame, offset)
}

/// From the protocol field on. Its first octet is left out where both sides have agreed on that: the
/// last octet of a protocol is odd, and no other (RFC 1661, section 6.5).
pub(super) fn ppp_protocol(
    frame: &CapturedFrame<'_>,
    offset: usize,
) -> Result<Network, ParseError> {
    let [first] = frame.load(offset)?;
    let (protocol, len) = if first & 1 == 1 {
        (u16::from(first), 1)
    } else {
        (u16::from_be_bytes(frame.load(offset)?), 2)
    };
    let ether_type = match protocol {
        ppp_protocol::IPV4 => ether_type::IPV4,
        ppp_protocol::IPV6 => ether_type::IPV6,
        PPP_MPLS => ether_type::MPLS,
        PPP_MPLS_UPSTREAM => ether_type::MPLS_UPSTREAM,
        _ => return Err(ParseError::NonIp),
    };
    Ok(Network::EtherType(offset + len, ether_type))
}

/// Address, control, EtherType (RFC 1547, section 4.3.1).
pub(super) fn cisco_hdlc(frame: &CapturedFrame<'_>, offset: usize) -> Result<Network, ParseError> {
    let ether_type = u16::from_be_bytes(frame.load(offset + 2)?);
    Ok(Network::EtherType(offset + 4, ether_type))
}

/// An address of 2 to 4 octets, then the network layer protocol (RFC 2427, section 3), or an EtherType
/// as Cisco has it.
pub(super) fn frame_relay(frame: &CapturedFrame<'_>, offset: usize) -> Result<Network, ParseError> {
    let mut at = offset;
    // The lowest bit marks the last octet of the address.
    while frame.load::<1>(at)?[0] & 1 == 0 {
        at += 1;
        if at - offset > 3 {
            return Err(ParseError::NonIp);
        }
    }
    at += 1;
    let [control] = frame.load(at)?;
    if control != UNNUMBERED_INFORMATION {
        let ether_type = u16::from_be_bytes(frame.load(at)?);
        return Ok(Network::EtherType(at + 2, ether_type));
    }
    at += 1;
    if frame.load::<1>(at)? == [0] {
        at += 1; // a pad octet
    }
    match frame.load::<1>(at)?[0] {
        NLPID_IPV4 => Ok(Network::EtherType(at + 1, ether_type::IPV4)),
        NLPID_IPV6 => Ok(Network::EtherType(at + 1, ether_type::IPV6)),
        NLPID_PPP => ppp_protocol(frame, at + 1),
        NLPID_SNAP => {
            let oui = frame.load::<3>(at + 1)?;
            let protocol = u16::from_be_bytes(frame.load(at + 4)?);
            if oui == OUI_BRIDGED && BRIDGED_ETHERNET.contains(&protocol) {
                let ether_type = u16::from_be_bytes(frame.load(at + 6 + ETHER_TYPE_OFFSET)?);
                return Ok(Network::EtherType(at + 6 + ETHERNET_LEN, ether_type));
            }
            snap(oui, protocol, at + 6)
        }
        _ => Err(ParseError::NonIp),
    }
}
