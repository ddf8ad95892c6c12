//! Statements of SQL over the views `flows` and `ledgers`, which read and never write.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{
            ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray,
            TimestampMicrosecondArray, UInt64Array,
        },
        record_batch::RecordBatch,
    },
    error::DataFusionError,
    execution::context::SQLOptions,
};

use super::{Prepared, Question, hand_over, next};
use crate::{
    completeness::{Report, Told},
    engine::{self, FlowTable, selected, session},
    error::QueryError,
    ledger::StoredLedger,
    output::{Shape, Sink},
    progress::Progress,
};

/// Runs a statement, and hands its rows to the sink.
pub(super) async fn run(
    question: &Question,
    statement: &str,
    prepared: &Prepared,
    report: &Report,
    sink: &mut dyn Sink,
    progress: &Progress,
) -> Result<(), QueryError> {
    let context = session(question.limits)?;
    let (files, is_whole) = prepared.selected();
    progress.begin("reading flows", files.len());
    let ledgers = ledgers(prepared)?;
    let stored = FlowTable::new(files, progress.clone());
    let mut flows = engine::flows(&context, stored, prepared.running_flows())?;
    if !is_whole {
        flows = flows.filter(selected(prepared.range))?;
    }
    context.register_table("flows", flows.into_view())?;
    context.register_batch("ledgers", ledgers)?;
    let only_reads = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    let rows = context
        .sql_with_options(statement, only_reads)
        .await
        .map_err(wrong)?;
    let shape = Shape::of_schema(rows.schema().as_arrow(), question.now.zone().clone());
    let mut stream = rows.execute_stream().await.map_err(wrong)?;
    while let Some(batch) = next(&mut stream, progress).await? {
        hand_over(sink, &shape, &batch, progress)?;
    }
    progress.clear();
    if !sink.has_begun() {
        sink.begin(&shape)?;
    }
    sink.end(&shape, None, report)?;
    Ok(())
}

/// Errors of the statement are the asker's, others are not.
fn wrong(error: DataFusionError) -> QueryError {
    match error.find_root() {
        DataFusionError::Plan(_)
        | DataFusionError::SQL(..)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Diagnostic(..) => QueryError::Sql(format!(
            "the statement cannot be run: {}; there are the views `flows` and `ledgers`, whose columns \
             `--sql 'SHOW COLUMNS FROM flows'` tells; nothing can be written",
            error.strip_backtrace()
        )),
        _ => QueryError::Engine(error),
    }
}

/// The ledgers of all intervals as rows.
fn ledgers(prepared: &Prepared) -> Result<RecordBatch, QueryError> {
    let rows: Vec<Told<'_>> = prepared.ledgers().collect();
    let rows = rows.as_slice();
    let losses = |ledger: &StoredLedger| {
        let all = ledger.losses.0.iter();
        let all = all.map(|(name, packets)| (name.clone().into_owned(), (*packets).into()));
        serde_json::Value::Object(all.collect()).to_string()
    };
    let lost = |ledger: &StoredLedger| ledger.losses.0.iter().map(|(_, packets)| packets).sum();
    let ratio = |sent: bool| {
        move |ledger: &StoredLedger| {
            let coverage = ledger.coverage?;
            if sent {
                coverage.sent.ratio
            } else {
                coverage.rcvd.ratio
            }
        }
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("host", text(rows, |told| told.host.to_string())),
        ("iface", text(rows, |told| told.iface.to_string())),
        ("interval_start", time(rows, |ledger| ledger.start)),
        ("interval_end", time(rows, |ledger| ledger.end)),
        ("seen", number(rows, |ledger| ledger.seen)),
        ("flows", number(rows, |ledger| ledger.flows)),
        ("lost", number(rows, lost)),
        ("missed", number(rows, StoredLedger::missed)),
        ("losses", text(rows, |told| losses(told.ledger))),
        ("residue", signed(rows, |ledger| ledger.residue)),
        (
            "overflow_packets",
            number(rows, |ledger| ledger.overflow_packets),
        ),
        ("reattached", number(rows, |ledger| ledger.reattached)),
        ("detached_ms", number(rows, |ledger| ledger.detached_ms)),
        ("coverage_rcvd", share(rows, ratio(false))),
        ("coverage_sent", share(rows, ratio(true))),
        ("clock_steps", number(rows, |ledger| ledger.clock_steps)),
        (
            "clock_stepped_ms",
            signed(rows, |ledger| ledger.clock_stepped_ms),
        ),
        (
            "running",
            Arc::new(BooleanArray::from(
                rows.iter().map(|told| told.is_running).collect::<Vec<_>>(),
            )),
        ),
    ];
    Ok(RecordBatch::try_from_iter(columns).map_err(DataFusionError::from)?)
}

type Rows<'a> = &'a [Told<'a>];

fn text(rows: Rows<'_>, value: impl Fn(&Told<'_>) -> String) -> ArrayRef {
    let values = rows.iter().map(|told| Some(value(told)));
    Arc::new(values.collect::<StringArray>())
}

fn number(rows: Rows<'_>, value: impl Fn(&StoredLedger) -> u64) -> ArrayRef {
    let values = rows.iter().map(|told| value(told.ledger));
    Arc::new(values.collect::<UInt64Array>())
}

fn signed(rows: Rows<'_>, value: impl Fn(&StoredLedger) -> i64) -> ArrayRef {
    let values = rows.iter().map(|told| value(told.ledger));
    Arc::new(values.collect::<Int64Array>())
}

fn share(rows: Rows<'_>, value: impl Fn(&StoredLedger) -> Option<f64>) -> ArrayRef {
    let values = rows.iter().map(|told| value(told.ledger));
    Arc::new(values.collect::<Float64Array>())
}

fn time(rows: Rows<'_>, value: impl Fn(&StoredLedger) -> jiff::Timestamp) -> ArrayRef {
    let values = rows.iter().map(|told| value(told.ledger).as_microsecond());
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}
