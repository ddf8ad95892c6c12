//! The schema of flows: every field with its name, type, unit and meaning, once.
//!
//! Whatever shows a flow walks [`FIELDS`] and keeps its names and its order: JSON lines, CSV, the
//! Parquet columns, the answers of the API, the words of filters, the headings of text tables and the
//! tables of the manuals. A field is added by one entry here. Tests compare what is typed by hand
//! (the API's `LiveFlow`).
//!
//! Two pairs of words mean the same everywhere. *rcvd* packets entered the host through the
//! interface, *sent* packets left through it, whichever end is the client. *bytes* are IP octets on
//! the wire: the IPv4 total length or the IPv6 payload length + 40, without link header or padding.

mod markdown;
mod view;

use std::net::IpAddr;

use jiff::Timestamp;
use probe_common::classify::Evidence;

pub use self::{
    markdown::markdown,
    view::{FlowCells, FlowLine, FlowView, rfc3339_millis},
};
use crate::{flow::FlowRow, interval::Bounds};

/// A field of a flow. In stored and in live flows no field is ever null. In the replay of a capture
/// file times are, where its packets have none.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Name of the key, the column and the filter word.
    pub name: &'static str,
    /// What stands above it in a table of text: short, and the same in both directions, whose unit
    /// stands above that.
    pub heading: &'static str,
    /// Unit of the value; empty for names, addresses and numbers without one.
    pub unit: &'static str,
    /// Meaning, as the manuals have it.
    pub meaning: &'static str,
    /// Type, and where the value comes from.
    pub read: Read,
}

/// Type of a field, and how its value is read.
#[derive(Clone, Copy, Debug)]
pub enum Read {
    /// Name of the host, the same in all flows that a host stores; only stored flows have it.
    Host,
    /// Name of the interface. The same in all flows of an interface; in Parquet it is in the path.
    Iface,
    /// A bound of the interval, the same in all flows of an interval; only stored flows have it.
    Bound(fn(&Bounds) -> Timestamp),
    /// A tick of the flow, shown as its time.
    Tick(fn(&FlowRow) -> u32),
    /// An address, as text: every reader prints and compares it.
    Address(fn(&FlowRow) -> IpAddr),
    /// One of a few names.
    Name(fn(&FlowRow) -> &'static str),
    /// Unsigned integer of 8 bits.
    U8(fn(&FlowRow) -> u8),
    /// Unsigned integer of 16 bits.
    U16(fn(&FlowRow) -> u16),
    /// Unsigned, 64 bits: a count, which filters compare.
    U64(fn(&FlowRow) -> u64),
    /// Boolean: true or false.
    Bool(fn(&FlowRow) -> bool),
}

impl Field {
    const fn new(
        name: &'static str,
        heading: &'static str,
        unit: &'static str,
        meaning: &'static str,
        read: Read,
    ) -> Self {
        Self {
            name,
            heading,
            unit,
            meaning,
            read,
        }
    }

    /// Whether flows that are not stored lack the field: their interval still runs, and who asks for
    /// them knows the host.
    pub const fn is_only_stored(&self) -> bool {
        matches!(self.read, Read::Bound(_) | Read::Host)
    }

    /// Whether the field is a column of a Parquet file. The interface is in the path instead.
    pub const fn is_column(&self) -> bool {
        !matches!(self.read, Read::Iface)
    }
}

/// All fields, in the order of all that shows a flow.
#[rustfmt::skip]
pub const FIELDS: [Field; 20] = [
    Field::new("iface", "iface", "",
        "name of the interface",
        Read::Iface),
    Field::new("interval_start", "from", "",
        "start of the interval",
        Read::Bound(|bounds| bounds.start)),
    Field::new("interval_end", "until", "",
        "end of the interval",
        Read::Bound(|bounds| bounds.end)),
    Field::new("ip_version", "ip", "",
        "4 or 6",
        Read::U8(|row| if row.src_addr.is_ipv4() { 4 } else { 6 })),
    Field::new("ip_protocol", "proto", "",
        "IANA number: 6 TCP, 17 UDP, 1 ICMP, 58 ICMPv6 …",
        Read::U8(|row| row.ip_protocol)),
    Field::new("src_addr", "source", "",
        "client, as far as the evidence goes; IPv6 in the form of RFC 5952",
        Read::Address(|row| row.src_addr)),
    Field::new("src_port", "src port", "",
        "port of the client; 0 without a port, or with an aggregated port",
        Read::U16(|row| row.src_port)),
    Field::new("dst_addr", "destination", "",
        "server, as far as the evidence goes",
        Read::Address(|row| row.dst_addr)),
    Field::new("dst_port", "dst port", "",
        "port of the server; 0 like `src_port`",
        Read::U16(|row| row.dst_port)),
    Field::new("packets_rcvd", "rcvd", "packets",
        "packets on the wire that entered the host through the interface",
        Read::U64(|row| row.flow.counters.packets_rcvd)),
    Field::new("packets_sent", "sent", "packets",
        "packets on the wire that left the host through the interface",
        Read::U64(|row| row.flow.counters.packets_sent)),
    Field::new("bytes_rcvd", "rcvd", "bytes",
        "IP octets on the wire of the received packets: no link header, no padding",
        Read::U64(|row| row.flow.counters.bytes_rcvd)),
    Field::new("bytes_sent", "sent", "bytes",
        "IP octets on the wire of the sent packets",
        Read::U64(|row| row.flow.counters.bytes_sent)),
    Field::new("tcp_flags", "flags", "bits",
        "TCP flags of all packets of both directions, combined by OR; 0 for other protocols",
        Read::U8(|row| row.flow.tcp_flags)),
    Field::new("direction_evidence", "evidence", "",
        "what tells client and server apart: `handshake`, `icmp-type`, `multicast`, `ports` or `none`",
        Read::Name(|row| row.flow.evidence.name())),
    Field::new("direction_confidence", "confidence", "",
        "`high` (`handshake`, `icmp-type`, `multicast`) or `low` (`ports`, `none`)",
        Read::Name(|row| confidence(row.flow.evidence))),
    Field::new("overflow", "overflow", "",
        "the flow stands for many flows beyond `capture.max_flows` or `capture.max_flows_total`. \
         `src_addr` and `src_port` are zero, `dst_addr` is a network (/24 or /48), `dst_port` is kept; \
         beyond 4,096 such flows only `ip_protocol` is kept",
        Read::Bool(|row| row.flow.is_overflow)),
    Field::new("first_seen", "first", "",
        "time of the flow's first packet in the interval, of either direction, to a tick of the \
         kernel (1 to 10 ms)",
        Read::Tick(|row| row.flow.first)),
    Field::new("last_seen", "last", "",
        "time of the flow's last packet in the interval, like `first_seen`",
        Read::Tick(|row| row.flow.last)),
    Field::new("host", "host", "",
        "name of the host that captured the flow (`uname -n`)",
        Read::Host),
];

/// The field of this name.
///
/// # Panics
///
/// There is no such field. In a constant, the compiler says so.
pub const fn field(name: &str) -> &'static Field {
    const ALL: &[Field] = &FIELDS;
    let mut rest = ALL;
    while let [first, others @ ..] = rest {
        if is_same(first.name.as_bytes(), name.as_bytes()) {
            return first;
        }
        rest = others;
    }
    panic!("the schema has no such field");
}

/// `==` of text is not for constants yet.
const fn is_same(mut left: &[u8], mut right: &[u8]) -> bool {
    while let ([a, left_rest @ ..], [b, right_rest @ ..]) = (left, right) {
        if *a != *b {
            return false;
        }
        (left, right) = (left_rest, right_rest);
    }
    left.is_empty() && right.is_empty()
}

/// The fields of a flow whose interval still runs, or whose reader knows the interval: all but the
/// bounds of the interval and the host.
pub fn live_fields() -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(|field| !field.is_only_stored())
}

/// The word for [`Evidence::is_high_confidence`]: `high` or `low`.
pub const fn confidence(evidence: Evidence) -> &'static str {
    if evidence.is_high_confidence() {
        "high"
    } else {
        "low"
    }
}

#[cfg(test)]
mod tests;
