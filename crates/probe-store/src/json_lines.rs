//! The JSON lines sink: one object per flow, and the ledger as the last line.

mod line;

use std::{
    fs::File,
    io::{self, Write},
};

use self::line::LineWriter;
use crate::{host, ledger::ledger_line, options::SinkFormat};

use super::{
    Interval,
    file_sink::{EncodeError, FileFormat},
};

/// Octets that are gathered for one write to the file.
const WRITE_SIZE: usize = 64 << 10;

/// Room for one more line behind them: names of interfaces are short.
const LINE_ROOM: usize = 2 << 10;

/// Files of [flow lines](probe_flow::schema::FlowView::line) and one [`LedgerLine`](probe_flow::flow_json::LedgerLine).
#[derive(Clone, Debug)]
pub struct JsonLines {
    host: String,
}

impl Default for JsonLines {
    fn default() -> Self {
        Self::new()
    }
}

impl JsonLines {
    /// The format, with this host's name for the lines.
    pub fn new() -> Self {
        Self { host: host::name() }
    }
}

impl FileFormat for JsonLines {
    const FORMAT: SinkFormat = SinkFormat::Json;
    const EXTENSION: &'static str = "jsonl";

    fn encode(&self, interval: &Interval, file: &mut File) -> Result<(), EncodeError> {
        let mut lines = LineWriter::new(interval, &self.host)?;
        let mut text = Vec::with_capacity(WRITE_SIZE + LINE_ROOM);
        for row in interval.flows.rows() {
            lines.push(&mut text, &row)?;
            if text.len() >= WRITE_SIZE {
                file.write_all(&text)?;
                text.clear();
            }
        }
        serde_json::to_writer(&mut text, &ledger_line(interval)).map_err(io::Error::from)?;
        text.push(b'\n');
        Ok(file.write_all(&text)?)
    }
}
