//! Comma-separated values with a header (RFC 4180): the fields of the JSON lines.

use std::io::{self, Write};

use super::InterfaceFlows;
use probe_flow::{flow::FlowRow, flow_json::confidence, ticks::TickClock};

pub(super) const HEADER: [&str; 16] = [
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
    "first_seen",
    "last_seen",
];

pub(super) fn write(out: &mut impl Write, interfaces: &[InterfaceFlows]) -> io::Result<()> {
    let mut csv = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(out);
    csv.write_record(HEADER).map_err(io_error)?;
    for interface in interfaces {
        for row in &interface.flows {
            let fields = fields(&interface.iface, row, &interface.tick_clock);
            csv.serialize(fields).map_err(io_error)?;
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
fn fields<'a>(
    iface: &'a str,
    row: &FlowRow,
    tick_clock: &TickClock,
) -> impl serde::Serialize + use<'a> {
    let flow = row.flow;
    let seen = |tick| format!("{:.3}", tick_clock.time_of(tick));
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
        (seen(flow.first), seen(flow.last)),
    )
}
