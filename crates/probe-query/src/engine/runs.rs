//! Rows that follow each other and are of one group become one, before the engine finds their groups.
//!
//! Compacted files have the flows of a conversation side by side, so this takes most rows from the part of the
//! engine that costs most for each.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Int64Array, UInt64Array},
        compute::{partition, take},
        datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type},
        record_batch::RecordBatch,
    },
    catalog::streaming::StreamingTable,
    common::{Result, exec_err},
    dataframe::DataFrame,
    execution::{SendableRecordBatchStream, TaskContext, context::SessionContext},
    physical_plan::{stream::RecordBatchStreamAdapter, streaming::PartitionStream},
};
use futures_util::StreamExt;

/// Number of rows that became one.
pub(crate) const ROWS: &str = "rows";

/// The rows with those that follow each other added up: the first `groups` columns say which are alike, and the
/// others are summed up. Last comes [`ROWS`].
pub(crate) async fn added_up(
    context: &SessionContext,
    rows: DataFrame,
    groups: usize,
) -> Result<DataFrame> {
    let columns = rows.schema().as_arrow().fields().iter().cloned();
    let number = Arc::new(Field::new(ROWS, DataType::Int64, false));
    let columns: Vec<_> = columns.chain([number]).collect();
    let schema = Arc::new(Schema::new(columns));
    let streams = rows.execute_stream_partitioned().await?;
    let parts = streams.into_iter().map(|stream| {
        let part = Part {
            schema: Arc::clone(&schema),
            groups,
            stream: Mutex::new(Some(stream)),
        };
        Arc::new(part) as Arc<dyn PartitionStream>
    });
    let table = StreamingTable::try_new(Arc::clone(&schema), parts.collect())?;
    context.read_table(Arc::new(table))
}

/// The rows of one thread, which are read once.
struct Part {
    schema: SchemaRef,
    groups: usize,
    stream: Mutex<Option<SendableRecordBatchStream>>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let (schema, groups) = (Arc::clone(&self.schema), self.groups);
        let added = match stream.take() {
            Some(stream) => stream
                .map(move |batch| of_batch(&batch?, &schema, groups))
                .boxed(),
            None => futures_util::stream::once(async { exec_err!("rows were read twice") }).boxed(),
        };
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            added,
        ))
    }
}

fn of_batch(batch: &RecordBatch, schema: &SchemaRef, groups: usize) -> Result<RecordBatch> {
    let (keys, counts) = batch.columns().split_at(groups.min(batch.num_columns()));
    let runs = match batch.num_rows() {
        0 => Vec::new(),
        _ => partition(keys)?.ranges(),
    };
    let starts = UInt64Array::from_iter_values(runs.iter().map(|run| run.start as u64));
    let mut columns = Vec::with_capacity(batch.num_columns() + 1);
    for key in keys {
        columns.push(take(key, &starts, None)?);
    }
    for count in counts {
        let Some(values) = count.as_primitive_opt::<UInt64Type>() else {
            return exec_err!("counts are numbers, and got {}", count.data_type());
        };
        let values = values.values();
        // As the engine does with what does not fit.
        let sum = |run: &std::ops::Range<usize>| {
            let run = values.get(run.clone()).unwrap_or_default();
            run.iter()
                .fold(0_u64, |sum, value| sum.wrapping_add(*value))
        };
        let sums: ArrayRef = Arc::new(UInt64Array::from_iter_values(runs.iter().map(sum)));
        columns.push(sums);
    }
    let rows = runs
        .iter()
        .map(|run| i64::try_from(run.len()).unwrap_or(i64::MAX));
    columns.push(Arc::new(Int64Array::from_iter_values(rows)));
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
