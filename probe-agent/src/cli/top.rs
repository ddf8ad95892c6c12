//! `probe-agent top`: interfaces, flows and talkers, as they change.

use std::{
    io::IsTerminal,
    process::ExitCode,
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Args;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyEventKind},
};

use super::{connect::ConnectArgs, flows::selected, select::SelectArgs};
use probe_api::{
    client::{Client, ClientError},
    v1::flows::FlowsQuery,
};
use probe_flow::filter::Filter;

mod draw;
mod keys;
mod model;

use model::{Order, Reading, Top};

/// Flows that are asked for: those with the most octets of the interval. Rates are computed for
/// these, and more would be more work for the agent than a check is worth.
const FLOWS: u32 = 1000;
/// An agent that takes longer than this and than the time between two refreshes is told of.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks for an answer.
const POLL: Duration = Duration::from_millis(50);

/// Watch interfaces, flows and talkers change
///
/// Rates are those since the last refresh. They are of up to 1000 flows, those with the most bytes,
/// unless --limit and --sort say otherwise. `?` lists the keys, `q` ends it.
#[derive(Args, Debug)]
pub(super) struct TopArgs {
    /// Only flows of these interfaces; from the first other word on a filter, as by --filter
    #[arg(value_name = "IFACE|FILTER")]
    words: Vec<String>,
    /// Time between two refreshes
    #[arg(short, long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    interval: Duration,
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

fn interval(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_millis(200)..=Duration::from_hours(1);
    let parsed = humantime::parse_duration(text).ok();
    parsed
        .filter(|parsed| bounds.contains(parsed))
        .ok_or_else(|| "must be a time from 200ms to 1h with its unit, such as 2s".to_owned())
}

/// Runs until the user has seen enough.
pub(super) fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    if !std::io::stdout().is_terminal() {
        bail!("`top` needs a terminal; `probe-agent flows` and `status` write anywhere");
    }
    let client = args.connect.client()?;
    let (ifaces, filter) = selected(&client, &args.words, &args.select)?;
    let query = FlowsQuery {
        iface: ifaces,
        filter: filter.clone(),
        sort: Some(args.select.sort.unwrap_or_default()),
        limit: Some(usize::try_from(args.select.limit.unwrap_or(FLOWS))?),
        ..FlowsQuery::default()
    };
    let mut top = Top::new(args.interval, filter);
    top.order = args.select.sort.map_or(top.order, Order::of_sort);
    // Before the terminal changes, so that an agent that does not answer is told as elsewhere.
    top.on_reading(read(&client, &query)?);
    let reader = Reader::spawn(client, query);
    // Also restores the terminal when something panics.
    let mut terminal = ratatui::try_init().context("cannot take over the terminal")?;
    let ended = watch(&mut terminal, &reader, args.interval, &mut top);
    ratatui::restore();
    ended?;
    Ok(ExitCode::SUCCESS)
}

fn watch(
    terminal: &mut DefaultTerminal,
    reader: &Reader,
    interval: Duration,
    top: &mut Top,
) -> anyhow::Result<()> {
    // The second reading comes soon: rates need two.
    let mut next = Instant::now() + Duration::from_millis(500).min(interval);
    let mut asked: Option<Instant> = None;
    while !top.has_ended() {
        if let Some(answer) = reader.answer() {
            asked = None;
            match answer {
                Ok(reading) => top.on_reading(reading),
                Err(error) => top.on_failure(error.to_string()),
            }
        } else if asked.is_some_and(|asked| asked.elapsed() > interval.max(PATIENCE)) {
            top.on_failure("the agent takes long to answer; is it busy or stopped?".to_owned());
        }
        terminal.draw(|frame| draw::draw(frame, top))?;
        let wait = match asked {
            Some(_) => POLL,
            None => next.saturating_duration_since(Instant::now()),
        };
        // What is no key, such as a new size, just draws again.
        if event::poll(wait)?
            && let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            top.on_key(key);
        }
        if asked.is_none() {
            let is_due = Instant::now() >= next;
            if top.takes_refresh() || (is_due && !top.is_paused()) {
                asked = Some(Instant::now());
                reader.ask(top.filter());
            }
            if is_due || asked.is_some() {
                next = Instant::now() + interval;
            }
        }
    }
    Ok(())
}

/// Asks the agent on a thread of its own, so that keys are heard while it does not answer.
struct Reader {
    questions: Sender<Filter>,
    answers: Receiver<Result<Reading, ClientError>>,
}

impl Reader {
    fn spawn(client: Client, mut query: FlowsQuery) -> Self {
        let (questions, asked) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        thread::spawn(move || {
            for filter in asked {
                query.filter = filter;
                if answer.send(read(&client, &query)).is_err() {
                    return;
                }
            }
        });
        Self { questions, answers }
    }

    fn ask(&self, filter: &Filter) {
        // The thread lives as long as this.
        let _ = self.questions.send(filter.clone());
    }

    fn answer(&self) -> Option<Result<Reading, ClientError>> {
        self.answers.try_recv().ok()
    }
}

fn read(client: &Client, query: &FlowsQuery) -> Result<Reading, ClientError> {
    Ok(Reading {
        filter: query.filter.clone(),
        status: client.status(&query.iface)?,
        flows: client.flows(query)?,
    })
}
