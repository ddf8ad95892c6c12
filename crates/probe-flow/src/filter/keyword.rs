//! The words of the language, and what to tell people who use other ones.

use super::{
    ast::{Field, IpVersion, Side},
    value,
};
use crate::protocols as names;

/// What a word asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Keyword {
    Side(Side),
    Address(Side),
    Port(Side),
    Protocol,
    Traffic,
    Iface,
    Evidence,
    Flags,
    Count(Field),
    Overflow,
    Idle,
    IsVersion(IpVersion),
    /// A protocol by its bare name.
    IsProtocol(u8),
}

/// The first of each kind is the one of the manual, the others are those of tcpdump and goQuery.
const KEYWORDS: &[(&str, Keyword)] = &[
    ("host", Keyword::Address(Side::Either)),
    ("net", Keyword::Address(Side::Either)),
    ("src", Keyword::Side(Side::Src)),
    ("sip", Keyword::Address(Side::Src)),
    ("snet", Keyword::Address(Side::Src)),
    ("dst", Keyword::Side(Side::Dst)),
    ("dip", Keyword::Address(Side::Dst)),
    ("dnet", Keyword::Address(Side::Dst)),
    ("port", Keyword::Port(Side::Either)),
    ("portrange", Keyword::Port(Side::Either)),
    ("sport", Keyword::Port(Side::Src)),
    ("dport", Keyword::Port(Side::Dst)),
    ("proto", Keyword::Protocol),
    ("protocol", Keyword::Protocol),
    ("dir", Keyword::Traffic),
    ("direction", Keyword::Traffic),
    ("iface", Keyword::Iface),
    ("interface", Keyword::Iface),
    ("evidence", Keyword::Evidence),
    ("flags", Keyword::Flags),
    ("bytes", Keyword::Count(Field::Bytes)),
    ("bytes_rcvd", Keyword::Count(Field::BytesRcvd)),
    ("bytes_sent", Keyword::Count(Field::BytesSent)),
    ("packets", Keyword::Count(Field::Packets)),
    ("packets_rcvd", Keyword::Count(Field::PacketsRcvd)),
    ("packets_sent", Keyword::Count(Field::PacketsSent)),
    ("overflow", Keyword::Overflow),
    ("idle", Keyword::Idle),
    ("ip", Keyword::IsVersion(IpVersion::V4)),
    ("ip4", Keyword::IsVersion(IpVersion::V4)),
    ("ipv4", Keyword::IsVersion(IpVersion::V4)),
    ("ip6", Keyword::IsVersion(IpVersion::V6)),
    ("ipv6", Keyword::IsVersion(IpVersion::V6)),
];

/// The protocols that read as such without `proto` before them.
fn bare_protocol(word: &str) -> Option<u8> {
    match word {
        "none" | "hopopt" => None,
        _ => names::protocol_number(word),
    }
}

/// What the word asks for, if it is a keyword.
pub(super) fn keyword(word: &str) -> Option<Keyword> {
    let word = word.to_ascii_lowercase();
    let found = KEYWORDS.iter().find(|(known, _)| *known == word);
    found
        .map(|(_, keyword)| *keyword)
        .or_else(|| bare_protocol(&word).map(Keyword::IsProtocol))
}

/// Why a word in the place of a test is none.
pub(super) fn unknown(word: &str) -> String {
    let name = word.to_ascii_lowercase();
    if let Some(reason) = foreign(&name) {
        return reason.to_owned();
    }
    let shown: String = crate::text::printable(word).chars().take(40).collect();
    let sentence = format!("expected a test such as `host 192.0.2.1` or `tcp`, found `{shown}`");
    let keywords = KEYWORDS.iter().map(|(word, _)| *word);
    let protocols = names::protocols().filter(|name| bare_protocol(name).is_some());
    let meant = match value::nearest(&name, keywords.chain(protocols)) {
        Some(near) => near.to_owned(),
        None if value::ports(&name).is_ok() => format!("port {name}"),
        None => return sentence,
    };
    format!("{sentence}; did you mean `{meant}`?")
}

/// Words of tcpdump for what flows do not have.
fn foreign(name: &str) -> Option<&'static str> {
    if name.contains('[') {
        return Some(
            "flows keep no headers to look into; TCP flags are asked for as `flags syn+ack`",
        );
    }
    Some(match name {
        "ether" | "vlan" | "arp" | "rarp" | "llc" | "pppoed" | "pppoes" | "wlan" => {
            "flows begin at the IP header and keep nothing of the link layer"
        }
        "less" | "greater" | "len" | "length" => {
            "flows keep no lengths of packets; their octets are asked for as `bytes > 1M`"
        }
        "inbound" => "the way of the packets is asked for as `dir in`",
        "outbound" => "the way of the packets is asked for as `dir out`",
        "broadcast" | "multicast" => {
            "multicast is asked for as `dst net 224.0.0.0/4` or `dst net ff00::/8`"
        }
        "gateway" => "flows keep no addresses of the link layer, and so no gateway",
        _ => return None,
    })
}
