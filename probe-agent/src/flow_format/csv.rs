//! Comma-separated values with a header (RFC 4180).

use std::io::{self, Write};

use super::{InterfaceFlows, fields::FlowFields};

/// The header, which must be there without a flow, too. A test compares it with the fields.
pub(super) const HEADER: [&str; 14] = [
    "iface",
    "sip",
    "sport",
    "dip",
    "dport",
    "proto",
    "packets_rcvd",
    "packets_sent",
    "bytes_rcvd",
    "bytes_sent",
    "direction",
    "direction_confidence",
    "tcp_flags",
    "overflow",
];

pub(super) fn write(out: &mut impl Write, interfaces: &[InterfaceFlows]) -> io::Result<()> {
    let mut csv = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(out);
    csv.write_record(HEADER)?;
    for InterfaceFlows { iface, flows, .. } in interfaces {
        for row in flows {
            csv.serialize(FlowFields::new(iface, row))?;
        }
    }
    csv.flush()
}
