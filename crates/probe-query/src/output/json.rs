//! JSON: one object with everything, or an object a line.

use std::io::{self, Write};

use datafusion::arrow::record_batch::RecordBatch;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{Shape, Sink, Totals, cell::Cell};
use crate::completeness::{Report, text::TextStyle};

/// All in one object: `{"rows":[…],"totals":{…},"completeness":{…}}`.
pub struct Json<W> {
    out: W,
    has_begun: bool,
    rows: u64,
    text: Option<TextStyle>,
}

impl<W: Write> Json<W> {
    /// Text that goes to `out`.
    pub const fn new(out: W) -> Self {
        Self {
            out,
            has_begun: false,
            rows: 0,
            text: None,
        }
    }

    /// With the report as text, too: `"text":{"head":"…","details":["…"]}`.
    #[must_use]
    pub fn with_text(self, style: TextStyle) -> Self {
        Self {
            text: Some(style),
            ..self
        }
    }
}

impl<W: Write + Send> Sink for Json<W> {
    fn has_begun(&self) -> bool {
        self.has_begun
    }

    fn begin(&mut self, _: &Shape) -> io::Result<()> {
        self.has_begun = true;
        self.out.write_all(b"{\"rows\":[")
    }

    fn batch(&mut self, shape: &Shape, batch: &RecordBatch) -> io::Result<()> {
        for row in 0..batch.num_rows() {
            let comma: &[u8] = if self.rows == 0 { b"\n" } else { b",\n" };
            self.out.write_all(comma)?;
            self.rows += 1;
            write(&mut self.out, &Row::new(shape, batch, row, None))?;
        }
        Ok(())
    }

    fn end(&mut self, _: &Shape, totals: Option<&Totals>, report: &Report) -> io::Result<()> {
        self.out.write_all(b"\n]")?;
        if let Some(totals) = totals {
            self.out.write_all(b",\n\"totals\":")?;
            write(&mut self.out, totals)?;
        }
        self.out.write_all(b",\n\"completeness\":")?;
        write(&mut self.out, report)?;
        if let Some(style) = &self.text {
            self.out.write_all(b",\n\"text\":")?;
            write(&mut self.out, &report.text(style))?;
        }
        self.out.write_all(b"}\n")?;
        self.out.flush()
    }
}

/// Lines: `{"type":"row",…}` for each row, at last `{"type":"totals",…}` and
/// `{"type":"completeness",…}`.
pub struct JsonLines<W> {
    out: W,
    has_begun: bool,
}

impl<W: Write> JsonLines<W> {
    /// Text that goes to `out`.
    pub const fn new(out: W) -> Self {
        Self {
            out,
            has_begun: false,
        }
    }

    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        write(&mut self.out, value)?;
        self.out.write_all(b"\n")
    }
}

impl<W: Write + Send> Sink for JsonLines<W> {
    fn has_begun(&self) -> bool {
        self.has_begun
    }

    fn begin(&mut self, _: &Shape) -> io::Result<()> {
        self.has_begun = true;
        Ok(())
    }

    fn batch(&mut self, shape: &Shape, batch: &RecordBatch) -> io::Result<()> {
        (0..batch.num_rows())
            .try_for_each(|row| self.line(&Row::new(shape, batch, row, Some("row"))))
    }

    fn end(&mut self, _: &Shape, totals: Option<&Totals>, report: &Report) -> io::Result<()> {
        if let Some(value) = totals {
            let kind = "totals";
            self.line(&Typed {
                r#type: kind,
                value,
            })?;
        }
        let kind = "completeness";
        self.line(&Typed {
            r#type: kind,
            value: report,
        })?;
        self.out.flush()
    }
}

fn write(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(out, value).map_err(io::Error::from)
}

#[derive(Serialize)]
struct Typed<'a, T> {
    r#type: &'static str,
    #[serde(flatten)]
    value: &'a T,
}

struct Row<'a> {
    shape: &'a Shape,
    cells: Vec<Cell>,
    kind: Option<&'static str>,
}

impl<'a> Row<'a> {
    fn new(shape: &'a Shape, batch: &RecordBatch, row: usize, kind: Option<&'static str>) -> Self {
        Self {
            cells: shape.row(batch, row),
            shape,
            kind,
        }
    }
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(kind) = self.kind {
            map.serialize_entry("type", kind)?;
        }
        for (column, cell) in self.shape.columns.iter().zip(&self.cells) {
            map.serialize_entry(&column.name, cell)?;
        }
        map.end()
    }
}

impl Serialize for Totals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("rows", &self.rows)?;
        for (measure, sum) in &self.sums {
            map.serialize_entry(measure.name(), sum)?;
        }
        map.end()
    }
}
