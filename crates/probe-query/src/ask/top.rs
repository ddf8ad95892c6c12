//! The first rows of many, without the others in memory.

use std::sync::Arc;

use datafusion::arrow::{
    array::{ArrayRef, AsArray, UInt64Array},
    compute::{SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch},
    datatypes::UInt64Type,
    error::ArrowError,
    record_batch::RecordBatch,
};

use super::rows::Key;

/// Rows that are gathered before those that are not wanted are let go.
const GATHERED: usize = 64 << 10;

/// The first rows by some keys.
pub(super) struct Top {
    limit: usize,
    keys: Vec<Key>,
    gathered: Vec<RecordBatch>,
    rows: usize,
}

impl Top {
    pub(super) const fn new(limit: usize, keys: Vec<Key>) -> Self {
        Self {
            limit,
            keys,
            gathered: Vec::new(),
            rows: 0,
        }
    }

    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<(), ArrowError> {
        self.rows += batch.num_rows();
        self.gathered.push(batch);
        if self.rows > GATHERED + 2 * self.limit {
            let first = self.first()?;
            self.rows = first.as_ref().map_or(0, RecordBatch::num_rows);
            self.gathered = first.into_iter().collect();
        }
        Ok(())
    }

    /// The rows in order; `None` if there are none.
    pub(super) fn finish(self) -> Result<Option<RecordBatch>, ArrowError> {
        self.first()
    }

    fn first(&self) -> Result<Option<RecordBatch>, ArrowError> {
        let Some(batch) = self.gathered.first() else {
            return Ok(None);
        };
        let all = concat_batches(&batch.schema(), &self.gathered)?;
        let keys = self.keys.iter().filter_map(|key| {
            Some(SortColumn {
                values: value(&all, &key.columns)?,
                options: Some(SortOptions {
                    descending: !key.is_ascending,
                    nulls_first: key.is_ascending,
                }),
            })
        });
        let order = lexsort_to_indices(&keys.collect::<Vec<_>>(), Some(self.limit))?;
        take_record_batch(&all, &order).map(Some)
    }
}

/// The column, or the sum of several.
fn value(batch: &RecordBatch, columns: &[usize]) -> Option<ArrayRef> {
    if let [one] = columns {
        return batch.columns().get(*one).cloned();
    }
    let mut sums = vec![0_u64; batch.num_rows()];
    for column in columns {
        let counts = batch
            .columns()
            .get(*column)?
            .as_primitive_opt::<UInt64Type>()?;
        for (sum, count) in sums.iter_mut().zip(counts.values()) {
            *sum = sum.saturating_add(*count);
        }
    }
    Some(Arc::new(UInt64Array::from(sums)))
}
