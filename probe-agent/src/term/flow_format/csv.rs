//! Comma-separated values with a header (RFC 4180): the fields of the schema.

use std::io::{self, Write};

use super::InterfaceFlows;
use probe_flow::schema::live_fields;

pub(super) fn write(out: &mut impl Write, interfaces: &[InterfaceFlows]) -> io::Result<()> {
    let mut csv = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(out);
    csv.write_record(live_fields().map(|field| field.name))
        .map_err(io_error)?;
    for interface in interfaces {
        for row in &interface.flows {
            csv.serialize(interface.view(row).cells())
                .map_err(io_error)?;
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
