//! What is answered at which path.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

use axum::{
    Router,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use probe_flow::protocols;
use serde_json::json;

use super::{
    MOST_ROWS,
    access::{self, Access},
    page,
    parameters::Parameters,
    problem::Problem,
    runner::Runner,
    series,
};
use crate::{
    ask::{What, ask},
    columns::{By, LISTS},
    completeness::text::TextStyle,
    output::{Csv, Json, JsonLines, Sink},
};

/// Octets of an answer: as many rows as may be asked for have far less.
const MOST_OCTETS: usize = 64 << 20;

/// What all requests share.
pub(super) struct App {
    pub(super) stores: Vec<PathBuf>,
    pub(super) memory: String,
    pub(super) runner: Runner,
}

impl App {
    pub(super) const fn new(stores: Vec<PathBuf>, memory: String, runner: Runner) -> Self {
        Self {
            stores,
            memory,
            runner,
        }
    }
}

/// All paths, behind the check of who asks.
pub(super) fn router(app: Arc<App>, access: Access) -> Router {
    Router::new()
        .route("/api/v1/query", get(rows))
        .route("/api/v1/query/series", get(series::answer))
        .route("/api/v1/query/words", get(words))
        .with_state(app)
        .route("/", get(page::index))
        .route("/page/{name}", get(page::file))
        .fallback(nothing)
        .layer(middleware::from_fn_with_state(access, access::check))
}

pub(super) async fn nothing() -> Problem {
    let detail =
        "there is nothing at this path; the page is at `/`, answers are at `/api/v1/query`";
    Problem::new(StatusCode::NOT_FOUND, detail)
}

/// An answer as JSON.
pub(super) fn of_json(octets: impl Into<Body>) -> Response {
    with_kind(octets, "application/json")
}

/// An answer of this media type.
pub(super) fn with_kind(octets: impl Into<Body>, kind: &'static str) -> Response {
    let mut response = Response::new(octets.into());
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The rows of a question, in the formats of the command line.
async fn rows(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    const KNOWN: [&str; 10] = [
        "since",
        "until",
        "by",
        "filter",
        "sort",
        "order",
        "limit",
        "directions",
        "rate",
        "zone",
    ];
    let known = [&KNOWN[..], &["format"]].concat();
    let parameters = Parameters::read(query.as_deref().unwrap_or_default(), &known)?;
    let zone = parameters.zone()?;
    let format = parameters.one_of("format", &["json", "ndjson", "csv"])?;
    let mut question = parameters.question(&app.stores, &app.memory, &zone)?;
    if let What::Sums(sums) = &mut question.what {
        // All of a time series, as far as there may be rows.
        sums.limit = Some(sums.limit.unwrap_or(MOST_ROWS));
    }
    let style = TextStyle {
        zone,
        names_hosts: app.stores.len() > 1,
    };
    let answer = app.runner.run(move |threads, progress| {
        let mut out = Bounded(Vec::new());
        let mut sink: Box<dyn Sink + '_> = match format {
            "csv" => Box::new(Csv::new(&mut out)),
            "ndjson" => Box::new(JsonLines::new(&mut out)),
            _ => Box::new(Json::new(&mut out).with_text(style)),
        };
        threads.block_on(ask(&question, &mut *sink, progress))?;
        drop(sink);
        Ok(out.0)
    });
    let kind = match format {
        "csv" => "text/csv; charset=utf-8",
        "ndjson" => "application/x-ndjson",
        _ => "application/json",
    };
    Ok(with_kind(answer.await?, kind))
}

/// Memory for an answer, of which there is an end.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.0.len() + octets.len() > MOST_OCTETS {
            return Err(io::Error::other(format!(
                "it has more than {} MiB; ask for fewer rows or columns",
                MOST_OCTETS >> 20
            )));
        }
        self.0.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The words that questions are made of, for the fields of the page.
async fn words(State(app): State<Arc<App>>) -> Response {
    let lists = LISTS.map(|(name, columns)| json!({ "name": name, "columns": columns }));
    let named = (0..=u8::MAX).map(|number| {
        let name = protocols::protocol_or_number(number);
        (number.to_string(), name.into())
    });
    let protocols: serde_json::Map<String, serde_json::Value> = named.collect();
    let answer = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "stores": app.stores.iter().map(|store| store.display().to_string()).collect::<Vec<_>>(),
        "lists": lists,
        "columns": By::words(),
        "protocols": protocols,
        "most_rows": MOST_ROWS,
    });
    of_json(answer.to_string()).into_response()
}
