//! Traffic over time by interface, with what each part of the time lacks: the chart of the page.

mod sink;

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use jiff::Timestamp;
use serde::Serialize;

use self::sink::{Parts, SeriesSink};
use super::{
    parameters::Parameters,
    problem::Problem,
    routes::{App, of_json},
};
use crate::{
    ask::{Question, What, ask},
    columns::By,
    completeness::{
        Report,
        text::{Text, TextStyle},
    },
    error::QueryError,
    store,
    time::{Range, Step},
};

/// Parts of the time are as short as these, of which the shortest gives at most [`MOST_PARTS`].
const STEPS: [(&str, i64); 11] = [
    ("1m", 60),
    ("5m", 300),
    ("10m", 600),
    ("15m", 900),
    ("30m", 1800),
    ("1h", 3600),
    ("2h", 7200),
    ("3h", 10_800),
    ("6h", 21_600),
    ("12h", 43_200),
    ("1d", 86_400),
];
/// Parts of the longest times, of years.
const LONGEST_STEP: (&str, i64) = ("1w", 604_800);
/// Parts of the time: about one for two dots of a wide screen.
const MOST_PARTS: i64 = 400;
/// Interfaces of an answer, those with most bytes.
const INTERFACES: usize = 8;
const MOST_INTERFACES: usize = 64;

/// The answer, as docs/PAGE.md describes it.
#[derive(Serialize)]
struct Series<'a> {
    /// Length of the parts, as `time=` has it.
    step: &'a str,
    step_seconds: i64,
    /// The longest interval: a part is at least that long.
    interval_seconds: f64,
    interfaces: Vec<sink::Lane>,
    /// Interfaces that are not among these, with less traffic.
    left_out: usize,
    completeness: &'a Report,
    text: Text,
}

/// Answers traffic over time.
pub(super) async fn answer(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    const KNOWN: [&str; 5] = ["since", "until", "filter", "zone", "interfaces"];
    let parameters = Parameters::read(query.as_deref().unwrap_or_default(), &KNOWN)?;
    let most = parameters.number("interfaces", MOST_INTERFACES, INTERFACES)?;
    let zone = parameters.zone()?;
    let words = ["--by=time,host,iface", "--rate", "--limit=0"].map(str::to_owned);
    let mut question = parameters.asked(&app.stores, &app.memory, &zone, words)?;
    let style = TextStyle {
        zone: zone.clone(),
        names_hosts: app.stores.len() > 1,
    };
    let answer = app.runner.run(move |threads, progress| {
        let range = range(&question)?;
        let seconds = range.until.duration_since(range.since).as_secs();
        let fits = |(_, length): &&(&str, i64)| seconds / length <= MOST_PARTS;
        let (word, step_seconds) = *STEPS.iter().find(fits).unwrap_or(&LONGEST_STEP);
        let step = Step::read(word).map_err(QueryError::Usage)?;
        let parts = Parts::new(&step, range, question.now.zone())?;
        let mut sink = SeriesSink::new(parts);
        if let What::Sums(sums) = &mut question.what
            && let Some(time) = sums.by.first_mut()
        {
            *time = By::Time(Some(step));
        }
        let report = threads.block_on(ask(&question, &mut sink, progress))?;
        let series = Series {
            step: word,
            step_seconds,
            interval_seconds: sink.longest().as_secs_f64(),
            left_out: sink.lanes().saturating_sub(most),
            interfaces: sink.finish(most),
            completeness: &report,
            text: report.text(&style),
        };
        serde_json::to_vec(&series).map_err(|error| QueryError::Write(error.into()))
    });
    Ok(of_json(answer.await?))
}

/// The time that is asked; of all that is stored, since the first interval.
fn range(question: &Question) -> Result<Range, QueryError> {
    let until = question
        .until
        .unwrap_or_else(|| question.now.zoned.timestamp());
    if let Some(since) = question.since {
        return Ok(Range { since, until });
    }
    // Lists the first and the last day only.
    let no_time = Range {
        since: Timestamp::MAX,
        until: Timestamp::MIN,
    };
    let mut since = until;
    for (number, root) in question.stores.iter().enumerate() {
        let found = store::discover(number, root, Some(no_time), &|_| true)?;
        since = found.extent.map_or(since, |extent| since.min(extent.since));
    }
    Ok(Range { since, until })
}
