//! What a filter is made of.

use std::net::IpAddr;

use probe_common::classify::Evidence;
use regex::Regex;

use crate::{
    flow::FlowRow,
    schema::{FIELDS, Read},
};

/// A filter as a tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// All of these, two or more.
    And(Vec<Self>),
    /// One of these, two or more.
    Or(Vec<Self>),
    /// True where this expression is false.
    Not(Box<Self>),
    /// One question about a flow.
    Test(Test),
}

/// One question about a flow. Lists mean any of theirs, and are never empty.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// An end's address lies in a network.
    Address(Side, Vec<Net>),
    /// An end's port lies in a range, both ends included; only of protocols that have ports.
    Port(Side, Vec<(u16, u16)>),
    /// The protocol, by its number.
    Protocol(Vec<u8>),
    /// The version of IP.
    Version(Vec<IpVersion>),
    /// Which ways packets went.
    Traffic(Vec<Traffic>),
    /// The name of the flow's interface matches one of these.
    Iface(Vec<IfacePattern>),
    /// What the flow's direction rests on.
    Evidence(Vec<Evidence>),
    /// TCP, and all flags of the mask were seen; for the mask 0: none were.
    Flags(Vec<u8>),
    /// A count, compared with a number.
    Count(Measure, Comparison, u64),
    /// The flow stands for many.
    Overflow,
    /// No packet since the last rotation.
    Idle,
}

/// Which end of a flow is meant.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Side {
    /// Source or destination: one of both must match.
    #[default]
    Either,
    /// The client, as far as the evidence goes.
    Src,
    /// The destination, that is, the server.
    Dst,
}

/// Addresses with a prefix in common. The bits behind it are 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Net {
    addr: IpAddr,
    prefix_len: u8,
}

impl Net {
    /// The network of an address; `None` if the prefix is longer than the address.
    pub fn new(addr: IpAddr, prefix_len: u8) -> Option<Self> {
        if prefix_len > Self::bits(addr) {
            return None;
        }
        Some(Self {
            addr: masked(addr, prefix_len),
            prefix_len,
        })
    }

    /// The network of nothing but this address.
    pub const fn host(addr: IpAddr) -> Self {
        Self {
            addr,
            prefix_len: Self::bits(addr),
        }
    }

    /// The first address of the network.
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    /// Bits that all its addresses have in common.
    pub const fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// Whether it is a single address.
    pub const fn is_host(&self) -> bool {
        self.prefix_len == Self::bits(self.addr)
    }

    /// Whether the address lies in it.
    pub fn contains(&self, addr: IpAddr) -> bool {
        addr.is_ipv4() == self.addr.is_ipv4() && masked(addr, self.prefix_len) == self.addr
    }

    const fn bits(addr: IpAddr) -> u8 {
        match addr {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        }
    }
}

fn masked(addr: IpAddr, prefix_len: u8) -> IpAddr {
    match addr {
        IpAddr::V4(addr) => {
            let host_bits = 32 - u32::from(prefix_len);
            let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
            IpAddr::V4((addr.to_bits() & mask).into())
        }
        IpAddr::V6(addr) => {
            let host_bits = 128 - u32::from(prefix_len);
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            IpAddr::V6((addr.to_bits() & mask).into())
        }
    }
}

/// A version of IP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IpVersion {
    /// IPv4 only, the word `ip`.
    V4,
    /// IPv6 only, the word `ip6`.
    V6,
}

/// Which ways packets of a flow went, seen from the interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Traffic {
    /// Flows with received packets only.
    Rcvd,
    /// Flows with sent packets only.
    Sent,
    /// Only received, or only sent.
    Uni,
    /// Flows with received and sent packets.
    Bi,
}

impl IpVersion {
    /// All of them with their numbers.
    pub(super) const ALL: [(&'static str, Self); 2] = [("4", Self::V4), ("6", Self::V6)];
}

impl Traffic {
    /// All of them with their words.
    pub(super) const ALL: [(&'static str, Self); 4] = [
        ("rcvd", Self::Rcvd),
        ("sent", Self::Sent),
        ("uni", Self::Uni),
        ("bi", Self::Bi),
    ];
}

/// Interfaces by name or regex.
#[derive(Clone, Debug)]
pub enum IfacePattern {
    /// The whole name of an interface.
    Name(String),
    /// A match anywhere in the name.
    Regex(Regex),
}

impl PartialEq for IfacePattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(left), Self::Name(right)) => left == right,
            (Self::Regex(left), Self::Regex(right)) => left.as_str() == right.as_str(),
            _ => false,
        }
    }
}

/// A count of a flow: a field of the schema, or the sum of both directions.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    name: &'static str,
    read: fn(&FlowRow) -> u64,
}

impl PartialEq for Measure {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Measure {
    const SUMS: [Self; 2] = [
        Self {
            name: "bytes",
            read: |row| row.flow.counters.bytes(),
        },
        Self {
            name: "packets",
            read: |row| row.flow.counters.packets(),
        },
    ];

    /// The sums, and all counts of the schema.
    pub fn all() -> impl Iterator<Item = Self> {
        let counts = FIELDS.iter().filter_map(|field| match field.read {
            Read::U64(read) => Some(Self {
                name: field.name,
                read,
            }),
            _ => None,
        });
        Self::SUMS.into_iter().chain(counts)
    }

    /// The count of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::all().find(|measure| measure.name == name)
    }

    /// Name of the field, or `bytes` or `packets`.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The count of a flow, in packets or bytes.
    pub fn value(self, row: &FlowRow) -> u64 {
        (self.read)(row)
    }
}

/// How a count is compared. `!=` is the `not` of `=`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Comparison {
    /// Equal to the number: `=`.
    Equal,
    /// Less than the number: `<`.
    Less,
    /// At most the number: `<=`.
    AtMost,
    /// Greater than the number: `>`.
    Greater,
    /// At least the number: `>=`.
    AtLeast,
}

impl Comparison {
    /// All of them with their signs.
    pub(super) const ALL: [(&'static str, Self); 5] = [
        ("=", Self::Equal),
        ("<", Self::Less),
        ("<=", Self::AtMost),
        (">", Self::Greater),
        (">=", Self::AtLeast),
    ];
}

/// The words of the evidence.
pub(super) const EVIDENCE: [(&str, Evidence); 5] = [
    (Evidence::None.name(), Evidence::None),
    (Evidence::Ports.name(), Evidence::Ports),
    (Evidence::Multicast.name(), Evidence::Multicast),
    (Evidence::IcmpType.name(), Evidence::IcmpType),
    (Evidence::Handshake.name(), Evidence::Handshake),
];

/// The flags of TCP (RFC 9293, section 3.1; RFC 3168, section 23.2).
pub(super) const FLAGS: [(&str, u8); 8] = [
    ("fin", 0x01),
    ("syn", 0x02),
    ("rst", 0x04),
    ("psh", 0x08),
    ("ack", 0x10),
    ("urg", 0x20),
    ("ece", 0x40),
    ("cwr", 0x80),
];

/// The word of a value in one of these tables.
pub(super) fn word_of<T: PartialEq>(
    table: &[(&'static str, T)],
    value: &T,
) -> Option<&'static str> {
    let found = table.iter().find(|(_, known)| known == value);
    found.map(|(word, _)| *word)
}
