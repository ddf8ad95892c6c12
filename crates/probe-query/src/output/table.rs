//! The table for people: columns aligned, numbers to the right, no line longer than the terminal.
//!
//! Where lines are too long, counts are scaled first, then the widest texts give way in the middle.

use std::io::{self, Write};

use datafusion::arrow::record_batch::RecordBatch;
use jiff::tz::TimeZone;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{
    Shape, Sink, Totals,
    cell::Cell,
    human::short,
    shape::{Column, Kind, protocol},
};
use crate::{
    columns::Measure,
    completeness::{Report, text::TextStyle},
};

/// Rows by which the widths of the columns are chosen; what follows is written as it comes.
const ROWS_OF_LAYOUT: usize = 1000;
/// Characters that a text keeps at least.
const LEAST: usize = 7;

/// How tables are written.
#[derive(Clone, Debug)]
pub struct TableStyle {
    /// Columns of the terminal; `None` where lines are as long as they are.
    pub width: Option<usize>,
    /// Whether reports name hosts.
    pub names_hosts: bool,
}

/// A table, its totals and the report below it.
pub struct Table<W> {
    out: W,
    style: TableStyle,
    has_begun: bool,
    rows: Vec<Vec<Cell>>,
    layout: Option<Layout>,
    shown: u64,
}

struct Layout {
    widths: Vec<usize>,
    is_right: Vec<bool>,
    is_short: bool,
}

impl<W: Write> Table<W> {
    /// Text that goes to `out`.
    pub const fn new(out: W, style: TableStyle) -> Self {
        Self {
            out,
            style,
            has_begun: false,
            rows: Vec::new(),
            layout: None,
            shown: 0,
        }
    }

    /// Writes the rows that were gathered, once it is known how wide they are.
    fn flush_rows(&mut self, shape: &Shape) -> io::Result<()> {
        let layout = match self.layout.take() {
            Some(layout) => layout,
            None => self.begin_table(shape)?,
        };
        for row in std::mem::take(&mut self.rows) {
            let cells = row.iter().zip(&shape.columns);
            let cells = cells.map(|(cell, column)| shown(cell, column, shape, layout.is_short));
            writeln!(self.out, "{}", layout.line(&cells.collect::<Vec<_>>()))?;
        }
        self.layout = Some(layout);
        Ok(())
    }

    fn begin_table(&mut self, shape: &Shape) -> io::Result<Layout> {
        let layout = Layout::new(shape, &self.rows, self.style.width);
        let headings: Vec<_> = shape
            .columns
            .iter()
            .map(|column| column.heading.clone())
            .collect();
        writeln!(self.out, "{}", layout.line(&headings))?;
        Ok(layout)
    }

    fn write_totals(&mut self, totals: &Totals) -> io::Result<()> {
        let of = |measure: &Measure, sum: u64| match measure {
            Measure::Flows => format!("{sum} flows"),
            measure if measure.is_bytes() => {
                let words = measure.name().replace('_', " ").replacen("bytes", "", 1);
                format!("{}B{}", short(exact(sum), 1024.0, "i"), words.trim_end())
            }
            measure => format!(
                "{} {}",
                short(exact(sum), 1000.0, ""),
                measure.name().replace('_', " ")
            ),
        };
        let sums: Vec<_> = totals
            .sums
            .iter()
            .map(|(measure, sum)| of(measure, *sum))
            .collect();
        let rows = if self.shown < totals.rows {
            format!("{} of {} rows", self.shown, totals.rows)
        } else {
            format!("{} rows", totals.rows)
        };
        writeln!(
            self.out,
            "{}",
            self.fit(&format!("{rows}; in all {}", sums.join(", ")))
        )
    }

    /// Lines of the report are cut where the terminal ends, as all lines are.
    fn fit(&self, line: &str) -> String {
        self.style
            .width
            .map_or_else(|| line.to_owned(), |width| cut(line, width))
    }
}

impl<W: Write + Send> Sink for Table<W> {
    fn has_begun(&self) -> bool {
        self.has_begun
    }

    fn begin(&mut self, _: &Shape) -> io::Result<()> {
        self.has_begun = true;
        Ok(())
    }

    fn batch(&mut self, shape: &Shape, batch: &RecordBatch) -> io::Result<()> {
        for row in 0..batch.num_rows() {
            self.shown += 1;
            self.rows.push(shape.row(batch, row));
            if self.rows.len() >= ROWS_OF_LAYOUT {
                self.flush_rows(shape)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, shape: &Shape, totals: Option<&Totals>, report: &Report) -> io::Result<()> {
        if self.shown > 0 {
            self.flush_rows(shape)?;
        } else {
            writeln!(self.out, "no flows")?;
        }
        if let Some(totals) = totals.filter(|totals| totals.rows > 0) {
            self.write_totals(totals)?;
        }
        let style = TextStyle {
            zone: shape.zone.clone(),
            names_hosts: self.style.names_hosts,
        };
        for line in report.lines(&style) {
            let line = self.fit(&line);
            writeln!(self.out, "{line}")?;
        }
        self.out.flush()
    }
}

impl Layout {
    fn new(shape: &Shape, rows: &[Vec<Cell>], width: Option<usize>) -> Self {
        let is_right: Vec<_> = (0..shape.columns.len())
            .map(|place| is_number(rows, place))
            .collect();
        let natural = |is_short: bool| -> Vec<usize> {
            let of_column = |(place, column): (usize, &Column)| {
                let cells = rows.iter().filter_map(|row| row.get(place));
                let widths = cells.map(|cell| shown(cell, column, shape, is_short).width());
                widths.max().unwrap_or(0).max(column.heading.width())
            };
            shape.columns.iter().enumerate().map(of_column).collect()
        };
        let line = |widths: &[usize]| widths.iter().sum::<usize>() + widths.len().saturating_sub(1);
        let most = width.unwrap_or(usize::MAX);
        let mut widths = natural(shape.is_rate());
        let is_short = shape.is_rate() || line(&widths) > most;
        if is_short {
            widths = natural(true);
        }
        while line(&widths) > most {
            let texts = widths.iter_mut().zip(&is_right);
            let texts = texts.filter(|(width, is_right)| !**is_right && **width > LEAST);
            match texts.map(|(width, _)| width).max_by_key(|width| **width) {
                Some(widest) => *widest -= 1,
                None => break,
            }
        }
        Self {
            widths,
            is_right,
            is_short,
        }
    }

    fn line(&self, cells: &[String]) -> String {
        let columns = cells.iter().zip(self.widths.iter().zip(&self.is_right));
        let cells = columns.map(|(cell, (width, is_right))| {
            let cell = shortened(cell, *width);
            let gap = " ".repeat(width.saturating_sub(cell.width()));
            if *is_right { gap + &cell } else { cell + &gap }
        });
        cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    }
}

fn is_number(rows: &[Vec<Cell>], place: usize) -> bool {
    let cells = rows.iter().filter_map(|row| row.get(place));
    let mut cells = cells.filter(|cell| **cell != Cell::Null);
    cells.all(|cell| matches!(cell, Cell::Number(_) | Cell::Signed(_) | Cell::Float(_)))
}

pub(crate) fn shown(cell: &Cell, column: &Column, shape: &Shape, is_short: bool) -> String {
    match (column.kind, cell) {
        (Kind::Protocol, cell) => protocol(cell).unwrap_or_default(),
        (Kind::Sum(_), Cell::Float(rate)) => short(*rate, 1000.0, ""),
        (Kind::Sum(measure), cell) if is_short => {
            let number = exact(cell.number().unwrap_or(0));
            if measure.is_bytes() {
                short(number, 1024.0, "i")
            } else {
                short(number, 1000.0, "")
            }
        }
        (_, Cell::Null) => "-".to_owned(),
        (_, Cell::Bool(value)) => (if *value { "yes" } else { "no" }).to_owned(),
        (_, Cell::Number(value)) => value.to_string(),
        (_, Cell::Signed(value)) => value.to_string(),
        (_, Cell::Float(value)) => format!("{value:.3}"),
        (_, Cell::Time(value)) => time(*value, &shape.zone),
        (_, Cell::Text(value)) => probe_flow::text::printable(value),
    }
}

fn time(time: jiff::Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

#[expect(clippy::cast_precision_loss, reason = "shown with two or three digits")]
const fn exact(number: u64) -> f64 {
    number as f64
}

/// At most `width` columns: the middle gives way to an ellipsis.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let head = start_of(text, kept.div_ceil(2));
    let mut end = String::new();
    for char in text.chars().rev() {
        if end.width() + char.width().unwrap_or(0) > kept / 2 {
            break;
        }
        end.insert(0, char);
    }
    format!("{head}…{end}")
}

/// At most `width` columns: the end gives way to an ellipsis.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    format!("{}…", start_of(text, width.saturating_sub(1)))
}

/// As much of the start as fits into so many columns.
pub(crate) fn start_of(text: &str, width: usize) -> String {
    let mut taken = 0;
    let fits = text.chars().take_while(|char| {
        taken += char.width().unwrap_or(0);
        taken <= width
    });
    fits.collect()
}
