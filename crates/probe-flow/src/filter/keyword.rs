//! The words of the language, and what to tell people who use other ones.

use super::{
    ast::{IpVersion, Measure, Side},
    value,
};
use crate::{
    protocols as names,
    schema::{FIELDS, Field, Read},
};

/// What a word asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Keyword {
    Side(Side),
    Address(Side),
    Port(Side),
    Protocol,
    Version,
    Traffic,
    Iface,
    Evidence,
    Confidence,
    Flags,
    Count(Measure),
    Overflow,
    Idle,
    IsVersion(IpVersion),
    /// A protocol by its bare name.
    IsProtocol(u8),
}

/// A word with what it asks for.
struct Word {
    /// A field of the schema, or a word of the language.
    name: &'static str,
    /// The words of tcpdump and goQuery for the same: read, and never shown.
    aliases: &'static [&'static str],
    keyword: Keyword,
}

const fn word(name: &'static str, aliases: &'static [&'static str], keyword: Keyword) -> Word {
    Word {
        name,
        aliases,
        keyword,
    }
}

/// The word for networks at either end, as in tcpdump; `host` means the same.
pub(super) const NET: &str = "net";

/// All words but the counts: those are the fields that [`Measure`] knows.
const WORDS: [Word; 21] = [
    word("iface", &["interface"], Keyword::Iface),
    word("ip_version", &[], Keyword::Version),
    word("ip_protocol", &["proto", "protocol"], Keyword::Protocol),
    word("src_addr", &["sip", "snet"], Keyword::Address(Side::Src)),
    word("src_port", &["sport"], Keyword::Port(Side::Src)),
    word("dst_addr", &["dip", "dnet"], Keyword::Address(Side::Dst)),
    word("dst_port", &["dport"], Keyword::Port(Side::Dst)),
    word("tcp_flags", &["flags"], Keyword::Flags),
    word("direction_evidence", &["evidence"], Keyword::Evidence),
    word("direction_confidence", &[], Keyword::Confidence),
    word("overflow", &[], Keyword::Overflow),
    // Not fields.
    word("host", &[], Keyword::Address(Side::Either)),
    word(NET, &[], Keyword::Address(Side::Either)),
    word("src", &[], Keyword::Side(Side::Src)),
    word("dst", &[], Keyword::Side(Side::Dst)),
    word("port", &[], Keyword::Port(Side::Either)),
    word("portrange", &[], Keyword::Port(Side::Either)),
    word("dir", &["direction"], Keyword::Traffic),
    word("idle", &[], Keyword::Idle),
    word("ip", &["ip4", "ipv4"], Keyword::IsVersion(IpVersion::V4)),
    word("ip6", &["ipv6"], Keyword::IsVersion(IpVersion::V6)),
];

/// Every word with the one that is shown for it.
fn words() -> impl Iterator<Item = (&'static str, &'static str)> {
    let of_word = |word: &Word| {
        let name = word.name;
        let spellings = [name].into_iter().chain(word.aliases.iter().copied());
        spellings.map(move |spelling| (spelling, name))
    };
    let counts = Measure::all().map(|measure| (measure.name(), measure.name()));
    WORDS.iter().flat_map(of_word).chain(counts)
}

/// The word that asks for this, as people are shown it; empty for what has no single word.
pub(super) fn shown(keyword: Keyword) -> &'static str {
    let found = WORDS.iter().find(|word| word.keyword == keyword);
    found.map_or("", |word| word.name)
}

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
    let is_it = |known: &&Word| known.name == word || known.aliases.contains(&word.as_str());
    let found = WORDS.iter().find(is_it).map(|known| known.keyword);
    found
        .or_else(|| Measure::of_name(&word).map(Keyword::Count))
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
    let meant = match nearest(&name) {
        Some(near) => near.to_owned(),
        None if value::ports(&name).is_ok() => format!("port {name}"),
        None => return sentence,
    };
    format!("{sentence}; did you mean `{meant}`?")
}

/// The word of filters that a typing error may have been meant as, in lower case.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let protocols = names::protocols().filter(|name| bare_protocol(name).is_some());
    let spellings = words().map(|(spelling, _)| spelling);
    let near = value::nearest(name, spellings.chain(protocols))?;
    let word = words().find(|(spelling, _)| *spelling == near);
    Some(word.map_or(near, |(_, shown)| shown))
}

/// Words of tcpdump for what flows do not have.
fn foreign(name: &str) -> Option<&'static str> {
    if name.contains('[') {
        return Some(
            "flows keep no headers to read; TCP flags are asked for as `tcp_flags syn+ack`",
        );
    }
    Some(match name {
        "ether" | "vlan" | "arp" | "rarp" | "llc" | "pppoed" | "pppoes" | "wlan" => {
            "flows begin at the IP header and keep nothing of the link layer"
        }
        "less" | "greater" | "len" | "length" => {
            "flows keep no lengths of packets; their octets are asked for as `bytes > 1M`"
        }
        "inbound" => "the way of the packets is asked for as `dir rcvd`",
        "outbound" => "the way of the packets is asked for as `dir sent`",
        "broadcast" | "multicast" => {
            "multicast is asked for as `dst_addr 224.0.0.0/4` or `dst_addr ff00::/8`"
        }
        "gateway" => "flows keep no addresses of the link layer, and so no gateway",
        _ => return None,
    })
}

/// The table of the fields that filters ask for, in Markdown.
pub fn markdown() -> String {
    let head = "| field | also | values | meaning |\n\
                | --- | --- | --- | --- |\n";
    // `host` is a word of another meaning.
    let is_field = |field: &&Field| !matches!(field.read, Read::Host);
    let rows = FIELDS.iter().filter(is_field).filter_map(|field| {
        let values = keyword(field.name)?.values();
        let Field { name, meaning, .. } = field;
        let aliases = WORDS.iter().find(|word| word.name == *name);
        let aliases = aliases.map_or(&[][..], |word| word.aliases);
        let aliases: Vec<_> = aliases.iter().map(|alias| format!("`{alias}`")).collect();
        let aliases = aliases.join(", ");
        Some(format!("| `{name}` | {aliases} | {values} | {meaning} |\n"))
    });
    [head.to_owned()].into_iter().chain(rows).collect()
}

impl Keyword {
    /// What may follow the word, for the manual.
    const fn values(self) -> &'static str {
        match self {
            Self::Address(_) | Self::Side(_) => "address or network",
            Self::Port(_) => "port, range or service",
            Self::Protocol => "name or number",
            Self::Version => "`4`, `6`",
            Self::Traffic => "`rcvd`, `sent`, `uni`, `bi`",
            Self::Iface => "name or `/REGEX/`",
            Self::Evidence => "one of the words, or `high`, `low`",
            Self::Confidence => "`high`, `low`",
            Self::Flags => "`syn`, `syn+ack`, a number, `none`",
            Self::Count(_) => "`>` N, or another comparison",
            Self::Overflow | Self::Idle | Self::IsVersion(_) | Self::IsProtocol(_) => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::keyword;
    use crate::schema::{FIELDS, Read};

    /// All but times, since a filter has no clock, and the name of the host: to a filter `host` is an
    /// address, as to tcpdump.
    #[test]
    fn every_field_but_times_is_a_word() {
        for field in FIELDS
            .iter()
            .filter(|field| !matches!(field.read, Read::Host))
        {
            let is_time = matches!(field.read, Read::Bound(_) | Read::Tick(_));
            assert_eq!(keyword(field.name).is_none(), is_time, "{}", field.name);
        }
    }

    /// Words that are read only must not come back in a message or in a filter that is shown.
    #[test]
    fn what_is_shown_is_no_alias() {
        for word in &super::WORDS {
            let shown = super::shown(word.keyword);
            assert_eq!(keyword(shown), Some(word.keyword), "{shown}");
            let is_alias = super::WORDS.iter().any(|it| it.aliases.contains(&shown));
            assert!(!is_alias, "{shown}");
        }
    }

    #[test]
    fn the_short_words_of_goprobe_mean_the_fields() {
        for (short, field) in [
            ("sip", "src_addr"),
            ("sport", "src_port"),
            ("dip", "dst_addr"),
            ("dport", "dst_port"),
            ("proto", "ip_protocol"),
        ] {
            assert!(keyword(short).is_some_and(|it| Some(it) == keyword(field)));
        }
    }
}
