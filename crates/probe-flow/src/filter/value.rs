//! What stands behind a keyword: addresses, ports, protocols, numbers.
//!
//! Each function reads one word, and gives what it means or the end of the sentence that begins
//! with "expected".

use std::net::{IpAddr, Ipv4Addr};

use probe_common::classify::Evidence;

use super::ast::{EVIDENCE, FLAGS, IfacePattern, IpVersion, Net, Traffic};
use crate::{
    bounded_regex::{self, RegexBudget, RegexError},
    protocols as names, schema,
};

/// What the regexes of a filter may take: anybody who may ask may send some.
const REGEX_BUDGET: RegexBudget = RegexBudget {
    together_bytes: 4 << 20,
    cache_bytes: 128 << 10,
};

/// Lowest and highest port, both included.
pub(super) type PortRange = (u16, u16);

/// `192.0.2.1`, `fd00::1`, `10.0.0.0/8`, and as in tcpdump `10/8`, `192.168`.
pub(super) fn net(word: &str) -> Result<Net, String> {
    let (addr, prefix) = match word.split_once('/') {
        Some((addr, prefix)) => (addr, Some(prefix)),
        None => (word, None),
    };
    let (addr, own_prefix) = address(addr).ok_or_else(|| no_address(word))?;
    let prefix_len = match prefix {
        None => own_prefix,
        Some(prefix) => digits(prefix).ok_or_else(|| bad_prefix(addr))?,
    };
    Net::new(addr, prefix_len).ok_or_else(|| bad_prefix(addr))
}

/// With the length of the prefix that it has when none is written.
fn address(word: &str) -> Option<(IpAddr, u8)> {
    if let Ok(addr) = word.parse() {
        let net = Net::host(addr);
        return Some((addr, net.prefix_len()));
    }
    // The first octets of an IPv4 network.
    let mut octets = [0; 4];
    let mut count = 0;
    for part in word.split('.') {
        *octets.get_mut(usize::from(count))? = digits(part)?;
        count += 1;
    }
    Some((Ipv4Addr::from(octets).into(), count * 8))
}

/// Whether it can be nothing but an address, so that no keyword is needed before it.
pub(super) fn is_address(word: &str) -> bool {
    word.contains(['.', ':', '/']) && net(word).is_ok()
}

fn no_address(word: &str) -> String {
    let looks_like_a_name = word.contains('.') && word.contains(|char: char| char.is_alphabetic());
    if looks_like_a_name && !word.contains(':') {
        "an address such as 192.0.2.1 or fd00::/8 (names of hosts are not resolved)".to_owned()
    } else {
        "an address such as 192.0.2.1 or fd00::/8".to_owned()
    }
}

fn bad_prefix(addr: IpAddr) -> String {
    let most = Net::host(addr).prefix_len();
    format!("a prefix length from 0 to {most} behind the /")
}

/// `443`, `https`, `6000-6008`. A service may have several ports.
pub(super) fn ports(word: &str) -> Result<Vec<PortRange>, String> {
    let expected = || "a port from 0 to 65535, a range such as 6000-6008, or a service".to_owned();
    let name = word.to_ascii_lowercase();
    let of_service = names::service_ports(&name);
    if !of_service.is_empty() {
        return Ok(of_service.into_iter().map(|port| (port, port)).collect());
    }
    let (low, high) = name.split_once('-').unwrap_or((&name, &name));
    match (digits(low), digits(high)) {
        (Some(low), Some(high)) if low <= high => Ok(vec![(low, high)]),
        (Some(low), Some(high)) => Err(format!("the smaller port first: {high}-{low}")),
        _ => Err(with_suggestion(expected(), &name, names::services())),
    }
}

/// Reads an IP protocol, by name or number: `tcp`, `6`.
pub(super) fn protocol(word: &str) -> Result<u8, String> {
    let name = word.to_ascii_lowercase();
    let number = names::protocol_number(&name).or_else(|| digits(&name));
    number.ok_or_else(|| {
        let expected = "a protocol such as tcp, or its number from 0 to 255".to_owned();
        with_suggestion(expected, &name, names::protocols())
    })
}

/// Reads an IP version: `4` or `6`.
pub(super) fn version(word: &str) -> Result<IpVersion, String> {
    in_table(&IpVersion::ALL, word).ok_or_else(|| "4 or 6".to_owned())
}

/// `rcvd`, `sent`, `uni`, `bi`, and the words of goQuery and tcpdump for them.
pub(super) fn traffic(word: &str) -> Result<Traffic, String> {
    let name = match word.to_ascii_lowercase().as_str() {
        "in" | "inbound" => "rcvd".to_owned(),
        "out" | "outbound" => "sent".to_owned(),
        "unidirectional" => "uni".to_owned(),
        "bidirectional" => "bi".to_owned(),
        other => other.to_owned(),
    };
    in_table(&Traffic::ALL, &name)
        .ok_or_else(|| "rcvd, sent, uni (one way only) or bi (both ways)".to_owned())
}

/// `high`, `low`: the evidence that is worth so much.
pub(super) fn confidence(word: &str) -> Result<Vec<Evidence>, String> {
    let name = word.to_ascii_lowercase();
    let all = EVIDENCE.iter().map(|(_, evidence)| *evidence);
    let worth: Vec<_> = all.filter(|it| schema::confidence(*it) == name).collect();
    if worth.is_empty() {
        return Err("high or low".to_owned());
    }
    Ok(worth)
}

/// `handshake` and its like; `high` and `low` are several.
pub(super) fn evidence(word: &str) -> Result<Vec<Evidence>, String> {
    let name = word.to_ascii_lowercase();
    let one = in_table(&EVIDENCE, &name).map(|evidence| vec![evidence]);
    one.or_else(|| confidence(&name).ok()).ok_or_else(|| {
        let words = EVIDENCE.iter().map(|(word, _)| *word);
        let expected = format!(
            "{}, or high or low (how much it is worth)",
            words.clone().collect::<Vec<_>>().join(", ")
        );
        with_suggestion(expected, &name, words)
    })
}

/// `syn`, `syn+ack`, `0x12`, `none`.
pub(super) fn flags(word: &str) -> Result<u8, String> {
    let name = word.to_ascii_lowercase();
    if name == "none" {
        return Ok(0);
    }
    let number = name
        .strip_prefix("0x")
        .and_then(|hex| u8::from_str_radix(hex, 16).ok())
        .or_else(|| digits(&name));
    if let Some(number) = number {
        return Ok(number);
    }
    let bits = name.split('+').map(|flag| in_table(&FLAGS, flag));
    bits.sum_bits().ok_or_else(|| {
        let words: Vec<_> = FLAGS.iter().map(|(word, _)| *word).collect();
        let flags = words.join(", ");
        format!("flags of TCP ({flags}), several joined by +, a number, or none")
    })
}

trait SumBits {
    fn sum_bits(self) -> Option<u8>;
}

impl<I: Iterator<Item = Option<u8>>> SumBits for I {
    fn sum_bits(mut self) -> Option<u8> {
        self.try_fold(0, |mask, bit| Some(mask | bit?))
    }
}

/// A regex between slashes, one of so many in the filter.
pub(super) fn regex(pattern: &str, of: usize) -> Result<IfacePattern, String> {
    let built = bounded_regex::compile(pattern, REGEX_BUDGET, of);
    built.map(IfacePattern::Regex).map_err(|error| match error {
        RegexError::Syntax(reason) => format!("a regex ({reason})"),
        RegexError::TooLarge { .. } => format!("a smaller regex (this one {error})"),
    })
}

/// `1500`, `1.5M`, `10GiB`: k, M, G, T, P, E by thousands, with an i by 1024; a B may follow.
pub(super) fn count(word: &str) -> Result<u64, String> {
    let expected = "a number, with a unit if you like: 1500, 10k, 1.5M, 1GiB";
    let (number, unit) = match word.find(|char: char| !char.is_ascii_digit() && char != '.') {
        Some(end) => word.split_at(end),
        None => (word, ""),
    };
    let factor = factor(unit).ok_or_else(|| expected.to_owned())?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let scaled = || {
        let whole = digits::<u128>(whole)?.checked_mul(factor)?;
        let divisor = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let fraction = digits::<u128>(fraction)?.checked_mul(factor)? / divisor;
        u64::try_from(whole.checked_add(fraction)?).ok()
    };
    scaled().ok_or_else(|| {
        let is_number = [whole, fraction]
            .iter()
            .all(|part| !part.is_empty() && part.chars().all(|char| char.is_ascii_digit()));
        if is_number {
            format!("a number up to {}", u64::MAX)
        } else {
            expected.to_owned()
        }
    })
}

fn factor(unit: &str) -> Option<u128> {
    let unit = unit.to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let (prefix, base) = match unit.strip_suffix('i') {
        Some(prefix) => (prefix, 1024),
        None => (unit, 1000_u128),
    };
    let power = match (prefix, base) {
        ("", 1000) => 0,
        ("k", _) => 1,
        ("m", _) => 2,
        ("g", _) => 3,
        ("t", _) => 4,
        ("p", _) => 5,
        ("e", _) => 6,
        _ => return None,
    };
    Some(base.pow(power))
}

/// `str::parse` takes a leading `+`, too.
fn digits<T: std::str::FromStr>(word: &str) -> Option<T> {
    let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| word.parse().ok()).flatten()
}

fn in_table<T: Copy>(table: &[(&str, T)], word: &str) -> Option<T> {
    let found = table.iter().find(|(known, _)| *known == word);
    found.map(|(_, value)| *value)
}

/// `expected`, and what was probably meant.
fn with_suggestion<'a>(
    expected: String,
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> String {
    match nearest(word, known) {
        Some(near) => format!("{expected} (did you mean `{near}`?)"),
        None => expected,
    }
}

/// The word that was probably meant.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Distances to long words cost their square, and none is near.
    if word.len() > 24 {
        return None;
    }
    let allowed = (word.chars().count() / 3).clamp(1, 2);
    let near = known.into_iter().filter(|known| known.len() > 1);
    near.map(|known| (strsim::damerau_levenshtein(word, known), known))
        .filter(|(distance, known)| *distance <= allowed && *distance < known.len() - 1)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}
