//! Sums over all rows, also over those that are not shown.

use datafusion::arrow::record_batch::RecordBatch;

use super::cell::Cell;
use crate::columns::Measure;

/// The number of all rows, and the sums over them.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Rows that there are.
    pub rows: u64,
    /// The sums, each with what it is of.
    pub sums: Vec<(Measure, u64)>,
}

impl Totals {
    /// No rows, and sums of nothing.
    pub fn new(measures: &[Measure]) -> Self {
        Self {
            rows: 0,
            sums: measures.iter().map(|measure| (*measure, 0)).collect(),
        }
    }

    /// Adds rows, whose first columns are those that they are made by.
    pub fn add(&mut self, batch: &RecordBatch, keys: usize) {
        self.rows += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        for ((_, sum), array) in self.sums.iter_mut().zip(batch.columns().iter().skip(keys)) {
            let numbers =
                (0..batch.num_rows()).filter_map(|row| Cell::of(array.as_ref(), row).number());
            *sum = numbers.fold(*sum, u64::saturating_add);
        }
    }
}
