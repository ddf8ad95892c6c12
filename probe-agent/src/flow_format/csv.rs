//! Comma-separated values with a header (RFC 4180): the fields of the JSON lines.

use std::io::{self, Write};

use super::InterfaceFlows;
use crate::{flow::FlowRow, flow_json::confidence};

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
    csv.write_record(HEADER).map_err(io_error)?;
    for InterfaceFlows { iface, flows, .. } in interfaces {
        for row in flows {
            csv.serialize(fields(iface, row)).map_err(io_error)?;
        }
    }
    csv.flush()
}

/// Keeps the kind of an I/O error, such as a closed pipe, which csv's own conversion does not.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// In the order of the header.
fn fields<'a>(iface: &'a str, row: &FlowRow) -> impl serde::Serialize + use<'a> {
    let flow = row.flow;
    (
        (
            iface,
            row.src_addr,
            row.src_port,
            row.dst_addr,
            row.dst_port,
        ),
        row.ip_protocol,
        (flow.counters.packets_rcvd, flow.counters.packets_sent),
        (flow.counters.bytes_rcvd, flow.counters.bytes_sent),
        (flow.evidence.name(), confidence(flow.evidence)),
        (flow.tcp_flags, flow.is_overflow),
    )
}
