//! What the user says of the capturing host: which addresses are its own.

use std::{fmt, net::IpAddr, str::FromStr};

use probe_common::{
    ephash::EpHash,
    parse::{Packet, ParseError},
    record::{EGRESS, INGRESS},
};
use probe_flow::{filter::Net, text::quoted};

/// An address of the data link layer: 48 bits, as Ethernet and 802.11 have them.
pub type MacAddress = [u8; 6];

/// Sender and receiver of a frame, as far as its link header names them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct MacPair {
    pub(super) src: Option<MacAddress>,
    pub(super) dst: Option<MacAddress>,
}

/// Addresses of the host that captured a file. What they send was sent, what is for them was received.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Local {
    /// An IP address, or a network of them.
    Net(Net),
    /// A MAC address, of Ethernet or 802.11.
    Mac(MacAddress),
}

/// A word that is neither an IP address, nor a network, nor a MAC address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{} is no address: give an IP address (192.0.2.1, fd00::1), a network (10.0.0.0/8) or a MAC \
     address (02:00:5e:10:00:01); names of hosts are not resolved",
    quoted(.0)
)]
pub struct LocalError(String);

impl FromStr for Local {
    type Err = LocalError;

    fn from_str(word: &str) -> Result<Self, LocalError> {
        let net = || word.parse().ok().map(Self::Net);
        mac_address(word)
            .map(Self::Mac)
            .or_else(net)
            .ok_or_else(|| LocalError(word.to_owned()))
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) if net.is_host() => write!(f, "{}", net.addr()),
            Self::Net(net) => write!(f, "{}/{}", net.addr(), net.prefix_len()),
            Self::Mac(address) => {
                let octets = address.map(|octet| format!("{octet:02x}"));
                f.write_str(&octets.join(":"))
            }
        }
    }
}

/// Six pairs of hexadecimal digits, with `:` or `-` between them.
fn mac_address(word: &str) -> Option<MacAddress> {
    let separator = if word.contains('-') { '-' } else { ':' };
    let mut parts = word.split(separator);
    let mut address = MacAddress::default();
    for octet in &mut address {
        let part = parts.next()?;
        let is_hex = part.len() == 2 && part.bytes().all(|it| it.is_ascii_hexdigit());
        *octet = u8::from_str_radix(part, 16).ok().filter(|_| is_hex)?;
    }
    parts.next().is_none().then_some(address)
}

/// The direction of a packet, where exactly one end of it is local: [`INGRESS`] or [`EGRESS`].
///
/// MAC addresses come first: a router forwards packets that are neither from its IP addresses nor for
/// them, but its link has sent or received them.
pub(super) fn direction(
    local: &[Local],
    mac_pair: MacPair,
    packet: &Result<Packet, ParseError>,
) -> Option<u8> {
    let is_own_mac = |address| local.contains(&Local::Mac(address));
    let is_own_ip = |address| {
        let nets = local.iter();
        nets.copied()
            .any(|it| matches!(it, Local::Net(net) if net.contains(address)))
    };
    one_end(mac_pair.src.map(is_own_mac), mac_pair.dst.map(is_own_mac)).or_else(|| {
        let [src, dst] = match packet {
            Ok(Packet::V4(it)) => ends(&it.key),
            Ok(Packet::V6(it)) => ends(&it.key),
            Err(_) => return None,
        };
        one_end(Some(is_own_ip(src)), Some(is_own_ip(dst)))
    })
}

fn ends<const N: usize>(key: &EpHash<N>) -> [IpAddr; 2]
where
    IpAddr: From<[u8; N]>,
{
    [key.src_addr.into(), key.dst_addr.into()]
}

/// Whether source and destination are local. An end that is not known is no evidence.
fn one_end(src: Option<bool>, dst: Option<bool>) -> Option<u8> {
    match (src, dst) {
        (Some(true), Some(false) | None) => Some(EGRESS),
        (Some(false) | None, Some(true)) => Some(INGRESS),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::Local;

    #[rstest]
    #[case("192.0.2.1", "192.0.2.1")]
    #[case("10/8", "10.0.0.0/8")]
    #[case("fd00::1", "fd00::1")]
    #[case("FD00::/8", "fd00::/8")]
    #[case("02-00-5E-10-00-01", "02:00:5e:10:00:01")]
    #[case("02:00:5e:10:00:01", "02:00:5e:10:00:01")]
    fn addresses_are_read(#[case] word: &str, #[case] shown: &str) {
        let local: Local = word.parse().unwrap();
        assert_eq!(local.to_string(), shown);
    }

    #[rstest]
    #[case("")]
    #[case("eth0")]
    #[case("10.0.0.0/33")]
    #[case("02:00:5e:10:00")]
    #[case("02:00:5e:10:00:01:02")]
    #[case("02:00:5e:10:00:+1")]
    #[case("2:0:5e:10:0:1")]
    fn other_words_are_refused_with_examples(#[case] word: &str) {
        let error = word.parse::<Local>().unwrap_err().to_string();
        assert!(
            error.contains(&format!("`{word}`")) && error.contains("10.0.0.0/8"),
            "{error}"
        );
    }
}
