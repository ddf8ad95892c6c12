//! Time series for pictures: the groups with most over all the time, and the rest as one.

use jiff::Timestamp;

use super::{
    Prepared, Question, Sums, next,
    rows::{added, buckets, keys},
    top::Top,
};
use crate::{
    columns::{By, Sort},
    completeness::Report,
    error::QueryError,
    output::{Rates, Shape, Sink, Totals},
    plot::Timeline,
    progress::Progress,
    time::Step,
};
use datafusion::{arrow::record_batch::RecordBatch, error::DataFusionError};

/// Parts of the time that a picture has at most: a month of five minutes.
const MOST_PARTS: usize = 10_000;
/// Parts that are wanted at most where nobody says how long they are.
const WANTED_PARTS: i64 = 150;
/// Lengths of parts, where nobody says any, in minutes.
const LENGTHS: [(i64, &str); 10] = [
    (1, "1m"),
    (5, "5m"),
    (10, "10m"),
    (15, "15m"),
    (30, "30m"),
    (60, "1h"),
    (180, "3h"),
    (360, "6h"),
    (1440, "1d"),
    (10_080, "1w"),
];

/// Reads the flows once, or where groups are wanted twice: which of them have most is only known behind
/// the last flow, and the rows of all others need not be kept.
pub(super) async fn run(
    question: &Question,
    sums: &Sums,
    prepared: &Prepared,
    report: &Report,
    sink: &mut dyn Sink,
    groups: usize,
    progress: &Progress,
) -> Result<(), QueryError> {
    let sums = &with_step(sums, prepared);
    let starts = buckets(question, sums, prepared)?.unwrap_or_default();
    let bounds: Vec<_> = starts
        .iter()
        .filter_map(|start| Timestamp::from_microsecond(*start).ok())
        .collect();
    let timeline = Timeline::new(
        &bounds,
        prepared.range,
        prepared.ledgers().map(|told| told.ledger),
        report,
    );
    if timeline.parts.len() > MOST_PARTS {
        return Err(QueryError::Usage(format!(
            "--plot: {} parts of the time are more than {MOST_PARTS}: ask for longer ones (`--by time=1h`), \
             or for less time",
            timeline.parts.len()
        )));
    }
    let leaders = leaders(question, sums, prepared, groups, progress).await?;
    let rates = sums
        .is_rate
        .then(|| Rates::new(prepared.intervals(), Some(starts.clone())));
    let rows = added(question, sums, prepared, Some(&starts), progress).await?;
    let zone = question.now.zone().clone();
    let shape = Shape::of_sums(sums, rows.schema().as_arrow(), rates, zone);
    let mut totals = Totals::new(sums.directions.measures());
    sink.series(&shape, timeline, leaders.as_ref())?;
    let mut stream = rows.execute_stream().await?;
    while let Some(batch) = next(&mut stream, progress).await? {
        totals.add(&batch, sums.by.len());
        sink.batch(&shape, &batch)?;
    }
    progress.clear();
    sink.begin(&shape)?;
    sink.end(&shape, Some(&totals), report)?;
    Ok(())
}

/// The groups with most over all the time, if rows are made by more than the time.
async fn leaders(
    question: &Question,
    sums: &Sums,
    prepared: &Prepared,
    groups: usize,
    progress: &Progress,
) -> Result<Option<RecordBatch>, QueryError> {
    let mut over_all = sums.clone();
    over_all.by.retain(|column| !matches!(column, By::Time(_)));
    if over_all.by.is_empty() {
        return Ok(None);
    }
    over_all.is_ascending = false;
    if matches!(over_all.sort, Sort::Column(_)) {
        over_all.sort = Sort::Bytes;
    }
    let mut top = Top::new(groups, keys(&over_all));
    let rows = added(question, &over_all, prepared, None, progress).await?;
    let mut stream = rows.execute_stream().await?;
    while let Some(batch) = next(&mut stream, progress).await? {
        top.push(batch).map_err(DataFusionError::from)?;
    }
    Ok(top.finish().map_err(DataFusionError::from)?)
}

/// The sums with a length of the parts of the time: where none is said, one that is not shorter than
/// intervals usually are, and makes a picture that is not crowded.
fn with_step(sums: &Sums, prepared: &Prepared) -> Sums {
    let mut lengths: Vec<_> = prepared
        .intervals()
        .map(|(start, end)| end.duration_since(start).as_secs() / 60)
        .collect();
    lengths.sort_unstable();
    let usual = lengths.get(lengths.len() / 2).copied().unwrap_or(0);
    let minutes = prepared
        .range
        .until
        .duration_since(prepared.range.since)
        .as_mins();
    let fits = |length: i64| length >= usual && minutes / length <= WANTED_PARTS;
    let (_, word) = LENGTHS
        .into_iter()
        .find(|(length, _)| fits(*length))
        .unwrap_or(LENGTHS[LENGTHS.len() - 1]);
    let mut sums = sums.clone();
    for column in &mut sums.by {
        if let By::Time(None) = column {
            *column = By::Time(Step::read(word).ok());
        }
    }
    sums
}
