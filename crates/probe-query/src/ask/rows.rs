//! Sums by columns.

use datafusion::{
    dataframe::DataFrame,
    error::DataFusionError,
    functions_aggregate::expr_fn::{count, sum},
    logical_expr::{Expr, ScalarUDF, SortExpr, lit},
    prelude::ident,
};

use super::{Prepared, Question, Sums, hand_over, next, stored, top::Top};
use crate::{
    columns::{By, Directions, Measure, Sort},
    completeness::Report,
    engine::{self, Bucket, FlowTable, ROWS, selected, session},
    error::QueryError,
    filter::{self, both},
    output::{Rates, Shape, Sink, Totals},
    progress::Progress,
    prune,
};

/// Columns of flows that are summed up.
const fn counts(directions: Directions) -> &'static [&'static str] {
    match directions {
        Directions::Both | Directions::Sum => {
            &["packets_rcvd", "packets_sent", "bytes_rcvd", "bytes_sent"]
        }
        Directions::Rcvd => &["packets_rcvd", "bytes_rcvd"],
        Directions::Sent => &["packets_sent", "bytes_sent"],
    }
}

/// Adds up, sorts, and hands the rows to the sink.
pub(super) async fn run(
    question: &Question,
    sums: &Sums,
    prepared: &Prepared,
    report: &Report,
    sink: &mut dyn Sink,
    progress: &Progress,
) -> Result<(), QueryError> {
    if let Some(groups) = sink.groups() {
        return super::series::run(question, sums, prepared, report, sink, groups, progress).await;
    }
    let buckets = buckets(question, sums, prepared)?;
    let added = added(question, sums, prepared, buckets.as_deref(), progress).await?;
    let rates = sums
        .is_rate
        .then(|| Rates::new(prepared.intervals(), buckets));
    let shape = Shape::of_sums(
        sums,
        added.schema().as_arrow(),
        rates,
        question.now.zone().clone(),
    );
    let mut totals = Totals::new(sums.directions.measures());
    if let Some(limit) = sums.limit {
        let mut top = Top::new(limit, keys(sums));
        let mut stream = added.execute_stream().await?;
        while let Some(batch) = next(&mut stream, progress).await? {
            totals.add(&batch, sums.by.len());
            top.push(batch).map_err(DataFusionError::from)?;
        }
        if let Some(batch) = top.finish().map_err(DataFusionError::from)? {
            hand_over(sink, &shape, &batch, progress)?;
        }
    } else {
        let mut stream = sorted(added, sums)?.execute_stream().await?;
        while let Some(batch) = next(&mut stream, progress).await? {
            totals.add(&batch, sums.by.len());
            hand_over(sink, &shape, &batch, progress)?;
        }
    }
    progress.clear();
    if !sink.has_begun() {
        sink.begin(&shape)?;
    }
    sink.end(&shape, Some(&totals), report)?;
    Ok(())
}

/// The sums of all groups, in no order.
pub(super) async fn added(
    question: &Question,
    sums: &Sums,
    prepared: &Prepared,
    buckets: Option<&[i64]>,
    progress: &Progress,
) -> Result<DataFrame, QueryError> {
    let context = session(question.limits)?;
    let (files, is_whole) = prepared.selected();
    let ifaces: Vec<_> = prepared
        .asked
        .ifaces
        .iter()
        .map(|(_, iface)| &**iface)
        .collect();
    let groups = groups(sums, buckets);
    let (mut added, mut read) = (None, files);
    if stored::suffice(sums, &ifaces) {
        let (with, without) = read
            .iter()
            .cloned()
            .partition::<Vec<_>, _>(stored::has_sums);
        if !with.is_empty() {
            let batch = stored::batch(&with, prepared.range, sums)?;
            let measures = measures(sums, &sum(ident(ROWS)));
            added = Some(
                context
                    .read_batch(batch)?
                    .aggregate(groups.clone(), measures)?,
            );
            read = without.into();
        }
    }
    let running = prepared.running_flows();
    let asked = prune::Asked {
        filter: &sums.filter,
        range: (!is_whole).then_some(prepared.range),
    };
    let parts = prune::parts(&read, asked, progress);
    progress.begin("reading flows", parts.len());
    if let (Some(added), true) = (&added, parts.is_empty() && running.is_none()) {
        return Ok(added.clone());
    }
    let stored = FlowTable::of_parts(parts, progress.clone());
    let mut flows = engine::flows(&context, stored, running)?;
    if !is_whole {
        flows = flows.filter(selected(prepared.range))?;
    }
    if let Some(expression) = filter::expression(&sums.filter, &ifaces) {
        flows = flows.filter(expression)?;
    }
    let names = || sums.by.iter().map(|column| ident(column.name()));
    // Time is the last that rows are sorted by.
    let flows = if sums.by.iter().any(|column| matches!(column, By::Time(_))) {
        flows.aggregate(groups, measures(sums, &count(lit(1))))?
    } else {
        let counts = counts(sums.directions).iter().map(|name| ident(*name));
        let rows = flows.select(groups.into_iter().chain(counts).collect::<Vec<_>>())?;
        let rows = engine::added_up(&context, rows, sums.by.len()).await?;
        rows.aggregate(names().collect(), measures(sums, &sum(ident(ROWS))))?
    };
    let Some(added) = added else { return Ok(flows) };
    let groups = names();
    let names = sums.directions.measures().iter().map(|it| it.name());
    let measures = names.map(|name| sum(ident(name)).alias(name));
    Ok(added
        .union(flows)?
        .aggregate(groups.collect(), measures.collect())?)
}

fn groups(sums: &Sums, buckets: Option<&[i64]>) -> Vec<Expr> {
    let groups = sums.by.iter().map(|column| match (column, buckets) {
        (By::Field(field), _) => ident(field.name),
        (By::Time(_), None) => ident("interval_start").alias("time"),
        (By::Time(_), Some(starts)) => ScalarUDF::new_from_impl(Bucket::new(starts.to_vec()))
            .call(vec![ident("interval_start")])
            .alias("time"),
    });
    groups.collect()
}

/// Sums that are wanted; `flows` is what counts flows.
fn measures(sums: &Sums, flows: &Expr) -> Vec<Expr> {
    let of_measure = |measure: &Measure| {
        let added = match measure {
            Measure::Flows => flows.clone(),
            Measure::Bytes => sum(both("bytes")),
            Measure::Packets => sum(both("packets")),
            one => sum(ident(one.name())),
        };
        added.alias(measure.name())
    };
    sums.directions.measures().iter().map(of_measure).collect()
}

/// Starts of the buckets in microseconds; `None` without buckets.
pub(super) fn buckets(
    question: &Question,
    sums: &Sums,
    prepared: &Prepared,
) -> Result<Option<Vec<i64>>, QueryError> {
    let step = sums.by.iter().find_map(|column| match column {
        By::Time(step) => step.as_ref(),
        By::Field(_) => None,
    });
    let Some(step) = step else { return Ok(None) };
    // An interval may begin before the asked time.
    let first = prepared.intervals().map(|(start, _)| start).min();
    let first = first.unwrap_or(prepared.range.since);
    let last = prepared.range.until.max(first);
    let bounds = step
        .bounds(first, last, question.now.zone())
        .ok_or_else(|| {
            QueryError::Usage(format!(
                "too many parts of {step} in the asked time: ask for longer ones"
            ))
        })?;
    Ok(Some(
        bounds.iter().map(|bound| bound.as_microsecond()).collect(),
    ))
}

/// What rows are sorted by: the sum of some columns, by their numbers.
pub(super) struct Key {
    pub(super) columns: Vec<usize>,
    pub(super) is_ascending: bool,
}

pub(super) fn keys(sums: &Sums) -> Vec<Key> {
    let measures = sums.directions.measures();
    let of = |wanted: fn(Measure) -> bool| {
        let all = measures
            .iter()
            .enumerate()
            .filter(|(_, measure)| wanted(**measure));
        all.map(|(place, _)| sums.by.len() + place)
            .collect::<Vec<_>>()
    };
    let columns = match sums.sort {
        Sort::Bytes => of(Measure::is_bytes),
        Sort::Packets => of(|measure| !measure.is_bytes() && measure != Measure::Flows),
        Sort::Flows => of(|measure| measure == Measure::Flows),
        Sort::Column(place) => vec![place],
    };
    let first = Key {
        columns,
        is_ascending: sums.is_ascending,
    };
    // Of equal ones the order is always the same.
    let others = (0..sums.by.len()).map(|place| Key {
        columns: vec![place],
        is_ascending: true,
    });
    [first].into_iter().chain(others).collect()
}

fn sorted(rows: DataFrame, sums: &Sums) -> Result<DataFrame, QueryError> {
    let fields = rows.schema().fields().iter();
    let names: Vec<String> = fields.map(|field| field.name().clone()).collect();
    let of_key = |key: Key| -> Option<SortExpr> {
        let columns = key.columns.iter().filter_map(|place| names.get(*place));
        let value = columns.map(ident).reduce(|left, right| left + right)?;
        Some(value.sort(key.is_ascending, key.is_ascending))
    };
    let keys = keys(sums).into_iter().filter_map(of_key).collect();
    Ok(rows.sort(keys)?)
}
