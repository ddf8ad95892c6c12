//! Comma-separated values with a header (RFC 4180): the fields of the schema.

use std::{
    io::{self, Write},
    time::Duration,
};

use super::{InterfaceFlows, RatedFlow};
use probe_flow::schema::live_fields;

pub(super) fn write(
    out: &mut impl Write,
    over: Option<Duration>,
    interfaces: &[InterfaceFlows],
) -> io::Result<()> {
    let mut csv = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(out);
    let header = match over {
        None => csv.write_record(live_fields().map(|field| field.name)),
        Some(_) => csv.write_record(RatedFlow::header()),
    };
    header.map_err(io_error)?;
    for interface in interfaces {
        for row in &interface.flows {
            let view = interface.view(row);
            let written = match over {
                None => csv.serialize(view.cells()),
                Some(over) => {
                    let flow = RatedFlow::new(&view.line(), &row.flow.counters, over)?;
                    csv.serialize(flow.cells())
                }
            };
            written.map_err(io_error)?;
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
