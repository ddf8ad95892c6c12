//! CSV, with the names of the columns first. The report goes elsewhere: it is no row.

use std::io::{self, Write};

use datafusion::arrow::record_batch::RecordBatch;

use super::{Shape, Sink, Totals, cell::Cell};
use crate::completeness::Report;

/// Lines of comma-separated values (RFC 4180).
pub struct Csv<W: Write> {
    out: csv::Writer<W>,
    has_begun: bool,
}

impl<W: Write> Csv<W> {
    /// Lines that go to `out`.
    pub fn new(out: W) -> Self {
        Self {
            out: csv::Writer::from_writer(out),
            has_begun: false,
        }
    }
}

impl<W: Write + Send> Sink for Csv<W> {
    fn has_begun(&self) -> bool {
        self.has_begun
    }

    fn begin(&mut self, shape: &Shape) -> io::Result<()> {
        self.has_begun = true;
        let names = shape.columns.iter().map(|column| &column.name);
        self.out.write_record(names).map_err(io::Error::from)
    }

    fn batch(&mut self, shape: &Shape, batch: &RecordBatch) -> io::Result<()> {
        for row in 0..batch.num_rows() {
            let cells = shape.row(batch, row);
            let cells = cells.iter().map(text);
            self.out.write_record(cells).map_err(io::Error::from)?;
        }
        Ok(())
    }

    fn end(&mut self, _: &Shape, _: Option<&Totals>, _: &Report) -> io::Result<()> {
        self.out.flush()
    }
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Bool(value) => value.to_string(),
        Cell::Number(value) => value.to_string(),
        Cell::Signed(value) => value.to_string(),
        Cell::Float(value) => value.to_string(),
        Cell::Time(value) => value.to_string(),
        Cell::Text(value) => value.clone(),
    }
}
