//! A question, from the files it is about to the rows and the report of its answer.

mod prepare;
mod rows;
mod series;
mod sql;
mod stored;
mod top;

use std::path::PathBuf;

use datafusion::{arrow::record_batch::RecordBatch, error::DataFusionError};
use jiff::Timestamp;
use probe_flow::filter::Filter;

use self::prepare::{Prepared, prepare, prepare_live};
use crate::{
    columns::{By, Directions, Sort},
    completeness::{self, Report},
    engine::Limits,
    error::QueryError,
    footer::{ReadFile, Skipped},
    live::State,
    output::{Shape, Sink},
    progress::Progress,
    time::Now,
};

/// How often a store is listed anew because files went away meanwhile.
const TRIES: usize = 3;

/// What is asked of which stores.
#[derive(Clone, Debug)]
pub struct Question {
    /// Directories of the stores.
    pub stores: Vec<PathBuf>,
    /// The start of the time; `None` for all that there is.
    pub since: Option<Timestamp>,
    /// The end of the time; `None` for now.
    pub until: Option<Timestamp>,
    /// The moment of the question, and the zone of its days.
    pub now: Now,
    /// Socket of the agent that is asked for its running interval, if the time ends now; `None` for no agent.
    pub live: Option<PathBuf>,
    /// What is wanted of these flows.
    pub what: What,
    /// What it may take.
    pub limits: Limits,
}

/// What is wanted of flows.
#[derive(Clone, Debug)]
pub enum What {
    /// Sums of flows by columns.
    Sums(Sums),
    /// Whatever a statement of SQL says, over the views `flows` and `ledgers`.
    Sql(String),
}

/// Sums of flows, a row for each combination of the values of columns.
#[derive(Clone, Debug)]
pub struct Sums {
    /// The columns, at least one.
    pub by: Vec<By>,
    /// Only flows that pass it.
    pub filter: Filter,
    /// Directions whose counts are wanted.
    pub directions: Directions,
    /// What rows are sorted by.
    pub sort: Sort,
    /// Rows with the smallest come first.
    pub is_ascending: bool,
    /// Most rows of the answer; `None` for all.
    pub limit: Option<usize>,
    /// Counts of a second instead of counts.
    pub is_rate: bool,
}

/// Answers a question: rows and report go to the sink. Returns the report.
///
/// # Errors
///
/// Any [`QueryError`]. The sink may have rows of an answer that is not whole only where writing failed.
pub async fn ask(
    question: &Question,
    sink: &mut dyn Sink,
    progress: &Progress,
) -> Result<Report, QueryError> {
    let mut damaged = Vec::new();
    let mut tries = 0;
    loop {
        tries += 1;
        let outcome = try_ask(question, &damaged, sink, progress).await;
        match outcome {
            Err(QueryError::Gone { .. }) if tries < TRIES => {}
            Err(QueryError::Engine(error)) if tries < TRIES && !sink.has_begun() => {
                if is_gone(&error) {
                    continue;
                }
                // Footers may be whole where pages are not.
                let found = find_damaged(question, &damaged, progress)?;
                if found.is_empty() {
                    return Err(told(error, question.limits));
                }
                damaged.extend(found);
            }
            Err(QueryError::Engine(error)) => return Err(told(error, question.limits)),
            outcome => return outcome,
        }
    }
}

async fn try_ask(
    question: &Question,
    damaged: &[Skipped],
    sink: &mut dyn Sink,
    progress: &Progress,
) -> Result<Report, QueryError> {
    let prepared = prepare_live(question, damaged, progress).await?;
    let report = completeness::report(&prepared.asked, &prepared.files, prepared.skipped.clone());
    match &question.what {
        What::Sums(sums) => rows::run(question, sums, &prepared, &report, sink, progress).await?,
        What::Sql(statement) => {
            sql::run(question, statement, &prepared, &report, sink, progress).await?;
        }
    }
    for told in prepared.ledgers() {
        sink.interval(&told)?;
    }
    Ok(report)
}

/// Whether a file went away while it was read.
fn is_gone(error: &DataFusionError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.kind() == std::io::ErrorKind::NotFound;
        }
        cause = error.source();
    }
    error.to_string().contains("No such file or directory")
}

fn told(error: DataFusionError, limits: Limits) -> QueryError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => QueryError::Memory {
            limit: format!("{} MiB", limits.memory_bytes >> 20),
            source: error,
        },
        _ => QueryError::Engine(error),
    }
}

/// Reads all files of the question in full, and gives those whose pages cannot be decoded.
fn find_damaged(
    question: &Question,
    known: &[Skipped],
    progress: &Progress,
) -> Result<Vec<Skipped>, QueryError> {
    use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    let prepared = prepare(question, (None, State::NotAsked), known, progress)?;
    progress.begin("looking for the damaged file", prepared.files.len());
    let why = |file: &ReadFile| {
        let handle = std::fs::File::open(&file.file.path).ok()?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(handle);
        let reader = reader.and_then(ParquetRecordBatchReaderBuilder::build);
        progress.step();
        match reader {
            Ok(mut batches) => batches.find_map(|batch| batch.err().map(|error| error.to_string())),
            Err(error) => Some(error.to_string()),
        }
    };
    let found = prepared.files.iter().filter_map(|file| {
        Some(Skipped {
            why: why(file)?,
            path: file.file.path.clone(),
        })
    });
    Ok(found.collect())
}

/// The next batch of an answer, unless nobody wants it any more.
async fn next(
    stream: &mut datafusion::execution::SendableRecordBatchStream,
    progress: &Progress,
) -> Result<Option<RecordBatch>, QueryError> {
    use futures_util::StreamExt;

    tokio::select! {
        biased;
        () = progress.cancelled() => Err(QueryError::Cancelled),
        batch = stream.next() => Ok(batch.transpose()?),
    }
}

/// Hands a batch to the sink; the first takes the line of progress away.
fn hand_over(
    sink: &mut dyn Sink,
    shape: &Shape,
    batch: &RecordBatch,
    progress: &Progress,
) -> Result<(), QueryError> {
    if !sink.has_begun() {
        progress.clear();
        sink.begin(shape)?;
    }
    sink.batch(shape, batch)?;
    Ok(())
}
