//! Addresses as text, for the encoders: a file holds two of them for each flow.
//!
//! The text is that of [`Display`](std::fmt::Display), whose formatting machinery takes several
//! times as long.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Appends an address: IPv4 in decimal octets, IPv6 in the form of RFC 5952, sections 4 and 5.
pub(crate) fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => push_v4(out, address),
        IpAddr::V6(address) => push_v6(out, address),
    }
}

fn push_v4(out: &mut Vec<u8>, address: Ipv4Addr) {
    let mut digits = itoa::Buffer::new();
    for (position, octet) in address.octets().into_iter().enumerate() {
        if position > 0 {
            out.push(b'.');
        }
        out.extend_from_slice(digits.format(octet).as_bytes());
    }
}

fn push_v6(out: &mut Vec<u8>, address: Ipv6Addr) {
    if let Some(mapped) = address.to_ipv4_mapped() {
        out.extend_from_slice(b"::ffff:");
        return push_v4(out, mapped);
    }
    let groups = address.segments();
    let (before, after) = match longest_zeros(&groups) {
        Some((start, end)) => (&groups[..start], Some(&groups[end..])),
        None => (&groups[..], None),
    };
    push_groups(out, before);
    if let Some(after) = after {
        out.extend_from_slice(b"::");
        push_groups(out, after);
    }
}

/// Start and end of the longest run of two or more zeros, of equal ones the first.
fn longest_zeros(groups: &[u16; 8]) -> Option<(usize, usize)> {
    let mut longest: Option<(usize, usize)> = None;
    let mut start = 0;
    for (position, group) in groups.iter().enumerate() {
        let end = position + 1;
        if *group != 0 {
            start = end;
        } else if end - start > longest.map_or(1, |(start, end)| end - start) {
            longest = Some((start, end));
        }
    }
    longest
}

fn push_groups(out: &mut Vec<u8>, groups: &[u16]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (position, group) in groups.iter().enumerate() {
        if position > 0 {
            out.push(b':');
        }
        let digits = [12, 8, 4, 0].map(|shift| DIGITS[usize::from(group >> shift & 0xf)]);
        // Without leading zeros; the last digit stays.
        let leading = (group.leading_zeros() / 4).min(3);
        out.extend_from_slice(&digits[leading as usize..]);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::push_address;

    fn text(address: IpAddr) -> String {
        let mut out = Vec::new();
        push_address(&mut out, address);
        String::from_utf8(out).unwrap()
    }

    /// Groups of each length, zeros above all: what is shortened depends on them.
    fn group() -> impl Strategy<Value = u16> {
        prop_oneof![3 => Just(0), 1 => 0_u16..=0x1f, 1 => any::<u16>(), 1 => Just(0xffff)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn ipv6_reads_as_the_standard_library_writes_it(
            groups in prop::array::uniform8(group()),
        ) {
            let address = IpAddr::from(groups);
            prop_assert_eq!(text(address), address.to_string());
        }

        #[test]
        fn ipv4_reads_as_the_standard_library_writes_it(octets in any::<[u8; 4]>()) {
            let address = IpAddr::from(octets);
            prop_assert_eq!(text(address), address.to_string());
            let mapped = IpAddr::from(Ipv4Addr::from(octets).to_ipv6_mapped());
            prop_assert_eq!(text(mapped), mapped.to_string());
        }
    }
}
