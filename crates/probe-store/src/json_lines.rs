//! The JSON lines sink: one object per flow, and the ledger as the last line.

use std::{
    fs::File,
    io::{BufWriter, Write},
};

use crate::options::SinkFormat;

use super::{
    Interval,
    file_sink::{EncodeError, FileFormat},
};
use probe_flow::{flow_json::LedgerLine, schema::FlowView};

/// Files of [flow lines](FlowView::line) and one [`LedgerLine`].
#[derive(Clone, Copy, Debug)]
pub struct JsonLines;

impl FileFormat for JsonLines {
    const FORMAT: SinkFormat = SinkFormat::Json;
    const EXTENSION: &'static str = "jsonl";

    fn encode(&self, interval: &Interval, file: &mut File) -> Result<(), EncodeError> {
        let mut out = BufWriter::with_capacity(64 << 10, file);
        for row in interval.flows.rows() {
            write_line(&mut out, &FlowView::stored(interval, &row).line())?;
        }
        let bounds = Some(interval.bounds());
        let ledger =
            LedgerLine::new(&interval.iface, bounds, &interval.ledger).watched(&interval.watched);
        write_line(&mut out, &ledger)?;
        Ok(out.flush()?)
    }
}

fn write_line(out: &mut impl Write, line: &impl serde::Serialize) -> Result<(), EncodeError> {
    serde_json::to_writer(&mut *out, line).map_err(std::io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}
