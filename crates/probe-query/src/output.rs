//! How answers are written: a table that fits the terminal, JSON, JSON lines, CSV, Parquet.
//!
//! A [`Sink`] gets the rows batch by batch, and the report at last. Times are RFC 3339 in UTC in all
//! but the table, which has them in the zone of the question.

mod cell;
mod csv;
pub mod human;
mod json;
mod parquet;
mod rates;
mod shape;
mod table;
mod totals;

use std::io;

use datafusion::arrow::record_batch::RecordBatch;

pub(crate) use self::{
    cell::Cell,
    table::{cut, shortened, shown, start_of},
};
pub use self::{
    csv::Csv,
    json::{Json, JsonLines},
    parquet::ParquetFile,
    rates::Rates,
    shape::Shape,
    table::{Table, TableStyle},
    totals::Totals,
};
use crate::{
    completeness::{Report, Told},
    plot::Timeline,
};

/// Takes the rows of an answer, and the report.
pub trait Sink: Send {
    /// Whether anything was written: another try would write it twice.
    fn has_begun(&self) -> bool;

    /// How many groups of a time series it wants apart from all others: it then gets [`Self::series`]
    /// first, and rows in no order. `None` for sinks that take the rows as they were asked for.
    fn groups(&self) -> Option<usize> {
        None
    }

    /// Called before the rows of such a time series, again if the question has to be asked anew: the
    /// parts of the time, and the groups with most, where rows are made by more than the time.
    ///
    /// # Errors
    ///
    /// Those of the columns.
    fn series(&mut self, _: &Shape, _: Timeline, _: Option<&RecordBatch>) -> io::Result<()> {
        Ok(())
    }

    /// Called once, before the first rows.
    ///
    /// # Errors
    ///
    /// Those of writing.
    fn begin(&mut self, shape: &Shape) -> io::Result<()>;

    /// Rows, in their order.
    ///
    /// # Errors
    ///
    /// Those of writing.
    fn batch(&mut self, shape: &Shape, batch: &RecordBatch) -> io::Result<()>;

    /// Called once, behind the last rows. There are no totals where nobody knows what columns mean.
    ///
    /// # Errors
    ///
    /// Those of writing.
    fn end(&mut self, shape: &Shape, totals: Option<&Totals>, report: &Report) -> io::Result<()>;

    /// Called for the ledger of each interval of the answer, behind the end, in no order across files. Of
    /// use to whom the report is too coarse. Answers without times may have the sum of a day for its ledgers.
    ///
    /// # Errors
    ///
    /// Those of writing.
    fn interval(&mut self, _told: &Told<'_>) -> io::Result<()> {
        Ok(())
    }
}
