//! What an answer lacks, told by the ledgers of the intervals that it is made of.
//!
//! A row that is missing says nothing of itself. The ledgers do: which time has data, which packets
//! were lost by which name, where the programs did not see what the link moved. What no ledger covers
//! is a hole: of the agent, if no interface of the host has data then, else of the interface.

#[cfg(test)]
mod tests;
pub mod text;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    footer::{ReadFile, SCHEMA_VERSION, Skipped},
    ledger::{Losses, StoredLedger},
    live::{Live, State},
    spans::{self, Spans},
    time::Range,
};

/// Part of the time.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Span {
    /// The first moment of it.
    pub since: Timestamp,
    /// The first moment behind it.
    pub until: Timestamp,
}

/// Whether anything is missing in an answer, and what.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Nothing is missing in the asked time.
    pub complete: bool,
    /// The time that is asked.
    pub asked: Span,
    /// End of the last interval that is stored, of all that were asked: what came since is not yet
    /// written. `None` if nothing is stored.
    pub stored_until: Option<Timestamp>,
    /// End of the last interval of the answer, stored or running. `None` if there is none.
    pub data_until: Option<Timestamp>,
    /// The running interval: whether it is part of the answer, and what is missing of it.
    pub live: State,
    /// When no interface of a host has data: its agent was not running, or wrote nothing.
    pub outages: Vec<Outage>,
    /// Each interface that was asked.
    pub interfaces: Vec<IfaceReport>,
    /// Files that could not be read and were left out.
    pub skipped: Vec<Skipped>,
    /// Files of a newer schema: the columns that this program knows were read.
    pub newer_schema: Vec<PathBuf>,
}

/// Time without data of any interface of a host.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Outage {
    /// Number of the store, from 0, in the order in which they were given.
    pub store: usize,
    /// Name of the host; empty where no file told it.
    pub host: Arc<str>,
    /// From when until when.
    #[serde(flatten)]
    pub span: Span,
    /// Why there is no data.
    pub why: Why,
}

/// Why there is no data of a host.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Before the first interval that is stored: the agent came later, or retention deleted it.
    BeforeTheFirst,
    /// Between intervals: the agent was not running, or could not write.
    NotRunning,
    /// Behind the last interval: the agent is not running, or cannot write.
    AfterTheLast,
}

/// What the ledgers of one interface say.
#[derive(Clone, Debug, Default, Serialize)]
pub struct IfaceReport {
    /// Number of the store, from 0.
    pub store: usize,
    /// Name of the host; empty where no file told it.
    pub host: Arc<str>,
    /// Name of the interface.
    pub iface: Arc<str>,
    /// Intervals that the answer is made of.
    pub intervals: usize,
    /// Seconds of the asked time that have data.
    pub seconds: f64,
    /// When other interfaces of the host have data, and this one has none.
    pub holes: Vec<Span>,
    /// Packets that the programs were handed.
    pub seen: u64,
    /// Packets that are in flows.
    pub flows: u64,
    /// Packets in no flow, by name, without those of 0.
    pub losses: BTreeMap<String, u64>,
    /// Of those, packets that should be in flows: all but `non_ip` and `filtered`.
    pub missed: u64,
    /// Packets without an address: a defect of the agent.
    pub residue: i64,
    /// When less was seen than the link moved.
    pub blind: Vec<Blind>,
    /// Packets in flows that stand for many.
    pub overflow_packets: u64,
    /// Time that more than one interval covers: the clock was set back, or two agents write one store.
    pub overlaps: Vec<Span>,
    /// How often the clock was set.
    pub clock_steps: u64,
}

/// Time in which the programs saw less than the link moved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Blind {
    /// Bounds of the intervals.
    #[serde(flatten)]
    pub span: Span,
    /// Milliseconds without one of the hooks.
    pub detached_ms: u64,
    /// Share of the received packets that was seen; `None` if there were none.
    pub coverage_rcvd: Option<f64>,
    /// Share of the sent packets that was seen.
    pub coverage_sent: Option<f64>,
}

/// What is asked, as far as completeness goes.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The time that is asked.
    pub range: Range,
    /// The time begins where the store does: nothing is missing before.
    pub from_the_first: bool,
    /// The moment of the question: nothing is missing behind it.
    pub present: Timestamp,
    /// The time ends now: what came since the last interval is not yet written, unless that is long ago.
    pub until_now: bool,
    /// The running interval of one of the stores.
    pub live: Option<Live>,
    /// What became of the question for it.
    pub live_state: State,
    /// All interfaces of the asked stores that pass the filter, whether they have data or not.
    pub ifaces: Vec<(usize, Arc<str>)>,
}

/// Ledgers of the hosts of all stores, by interface.
type Groups<'a> = BTreeMap<(usize, Arc<str>), BTreeMap<Arc<str>, Vec<&'a StoredLedger>>>;

/// A ledger that an answer is made of, with whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Number of the store.
    pub store: usize,
    /// Name of the host; empty where no file told it.
    pub host: &'a Arc<str>,
    /// Name of the interface.
    pub iface: &'a Arc<str>,
    /// The ledger, as it is stored or as the agent told it.
    pub ledger: &'a StoredLedger,
    /// Its interval has not ended.
    pub is_running: bool,
}

/// All ledgers of files, and of the running interval.
pub fn told<'a>(files: &'a [ReadFile], live: Option<&'a Live>) -> impl Iterator<Item = Told<'a>> {
    let stored = files.iter().flat_map(|file| {
        file.ledgers.iter().map(|ledger| Told {
            store: file.file.store,
            host: &file.host,
            iface: &file.file.iface,
            ledger,
            is_running: false,
        })
    });
    let running = live.into_iter().flat_map(|live| {
        live.running.iter().map(|running| Told {
            store: live.store,
            host: &live.host,
            iface: &running.iface,
            ledger: &running.ledger,
            is_running: true,
        })
    });
    stored.chain(running)
}

/// The report over the files of a question, and the running interval.
pub fn report(asked: &Asked, files: &[ReadFile], skipped: Vec<Skipped>) -> Report {
    let mut groups = Groups::new();
    let live = asked.live.as_ref();
    for told in told(files, live) {
        let group = groups
            .entry((told.store, Arc::clone(told.host)))
            .or_default();
        let ledgers = group.entry(Arc::clone(told.iface)).or_default();
        let range = asked.range;
        ledgers.extend(Some(told.ledger).filter(|ledger| range.selects(ledger.start, ledger.end)));
    }
    add_silent(asked, &mut groups);
    let mut report = Report {
        complete: true,
        asked: Span {
            since: asked.range.since,
            until: asked.range.until,
        },
        stored_until: None,
        data_until: None,
        live: asked.live_state.clone(),
        outages: Vec::new(),
        interfaces: Vec::new(),
        skipped,
        newer_schema: files
            .iter()
            .filter(|file| file.schema_version > SCHEMA_VERSION)
            .map(|file| file.file.path.clone())
            .collect(),
    };
    for ((store, host), ifaces) in groups {
        of_host(&mut report, asked, (store, &host), ifaces);
    }
    let is_well = |iface: &IfaceReport| {
        iface.holes.is_empty()
            && iface.missed == 0
            && iface.residue == 0
            && iface.blind.is_empty()
            && iface.overflow_packets == 0
            && iface.overlaps.is_empty()
    };
    report.complete = report.outages.is_empty()
        && report.skipped.is_empty()
        && report.interfaces.iter().all(is_well)
        && report.live.is_whole()
        && report.data_until.is_some();
    report.stored_until = files
        .iter()
        .flat_map(|file| file.ledgers.iter())
        .filter(|ledger| asked.range.selects(ledger.start, ledger.end))
        .map(|ledger| ledger.end)
        .max();
    report
}

/// Interfaces without a file in the asked time belong to the host of the store, if it is of one.
fn add_silent(asked: &Asked, groups: &mut Groups<'_>) {
    for (store, iface) in &asked.ifaces {
        let mut of_store = groups.iter().filter(|((number, _), _)| number == store);
        if of_store
            .clone()
            .any(|(_, ifaces)| ifaces.contains_key(iface))
        {
            continue;
        }
        let first = of_store.next().map(|((_, host), _)| Arc::clone(host));
        let host = first
            .filter(|_| of_store.next().is_none())
            .unwrap_or_default();
        groups
            .entry((*store, host))
            .or_default()
            .entry(Arc::clone(iface))
            .or_default();
    }
}

fn of_host(
    report: &mut Report,
    asked: &Asked,
    (store, host): (usize, &Arc<str>),
    ifaces: BTreeMap<Arc<str>, Vec<&StoredLedger>>,
) {
    let unwritten = asked.live_state.unwritten_of(store);
    let of_all = ifaces.values().flatten();
    let of_all = of_all.map(|ledger| (ledger.start, ledger.end));
    let waiting = unwritten.iter().map(|it| (it.span.since, it.span.until));
    let all = Spans::of(of_all.chain(waiting));
    let mut range = asked.range;
    range.until = range.until.min(asked.present);
    if let Some(first) = all.first().filter(|_| asked.from_the_first) {
        range.since = range.since.max(first);
    }
    if let Some(last) = all.last() {
        report.data_until = report.data_until.max(Some(last));
        let lengths = ifaces.values().flatten().map(|ledger| ledger.longest());
        let longest = lengths.max().unwrap_or_default();
        if asked.until_now && range.until.duration_since(last) < longest * 2 {
            range.until = range.until.min(last);
        }
    }
    for span in all.holes(range) {
        let why = match (all.first(), all.last()) {
            (Some(first), _) if span.until <= first => Why::BeforeTheFirst,
            (_, Some(last)) if span.since >= last => Why::AfterTheLast,
            _ => Why::NotRunning,
        };
        report.outages.push(Outage {
            store,
            host: Arc::clone(host),
            span,
            why,
        });
    }
    for (iface, ledgers) in ifaces {
        let mut found = of_iface(&ledgers);
        let own = ledgers.iter().map(|ledger| (ledger.start, ledger.end));
        let waiting = unwritten.iter().filter(|it| it.iface == iface);
        // Of these it is told that they wait.
        let own = Spans::of(own.chain(waiting.map(|it| (it.span.since, it.span.until))));
        found.seconds = own.seconds_in(range);
        found.holes = all.without(&own, range);
        report.interfaces.push(IfaceReport {
            store,
            host: Arc::clone(host),
            iface,
            ..found
        });
    }
}

/// Sums over the ledgers of an interface.
fn of_iface(ledgers: &[&StoredLedger]) -> IfaceReport {
    let mut ledgers = ledgers.to_vec();
    ledgers.sort_by_key(|ledger| (ledger.start, ledger.end));
    let mut report = IfaceReport {
        intervals: ledgers.iter().map(|ledger| ledger.intervals).sum(),
        overlaps: spans::overlaps(ledgers.iter().map(|ledger| (ledger.start, ledger.end))),
        blind: blind(&ledgers),
        ..IfaceReport::default()
    };
    let mut losses = Losses::default();
    for ledger in ledgers {
        report.seen += ledger.seen;
        report.flows += ledger.flows;
        report.missed += ledger.missed();
        report.residue += ledger.residue;
        report.overflow_packets += ledger.overflow_packets;
        report.clock_steps += ledger.clock_steps;
        losses.add(&ledger.losses);
    }
    report.losses = losses
        .0
        .into_iter()
        .map(|(name, packets)| (name.into_owned(), packets))
        .collect();
    report
}

/// Intervals that follow each other, and in which less was seen than the link moved.
fn blind(ledgers: &[&StoredLedger]) -> Vec<Blind> {
    let mut found = Vec::<(Blind, [Weighted; 2])>::new();
    for ledger in ledgers {
        let coverage = ledger.coverage.unwrap_or_default();
        let shares = [coverage.rcvd, coverage.sent];
        let is_less = shares
            .iter()
            .any(|share| share.ratio.is_some_and(|ratio| ratio < 1.0));
        if !is_less && ledger.detached_ms == 0 {
            continue;
        }
        let goes_on = found
            .last()
            .is_some_and(|(last, _)| spans::is_gapless(last.span.until, ledger.start));
        if !goes_on {
            let span = Span {
                since: ledger.start,
                until: ledger.end,
            };
            let begun = Blind {
                span,
                detached_ms: 0,
                coverage_rcvd: None,
                coverage_sent: None,
            };
            found.push((begun, <[Weighted; 2]>::default()));
        }
        if let Some((last, sums)) = found.last_mut() {
            last.span.until = last.span.until.max(ledger.end);
            last.detached_ms += ledger.detached_ms;
            for (sum, share) in sums.iter_mut().zip(shares) {
                sum.add(share.link, share.ratio);
            }
        }
    }
    let told = |(blind, [rcvd, sent]): (Blind, [Weighted; 2])| Blind {
        coverage_rcvd: rcvd.ratio(),
        coverage_sent: sent.ratio(),
        ..blind
    };
    found.into_iter().map(told).collect()
}

/// A share over several intervals, each by the packets of its link.
#[derive(Clone, Copy, Debug, Default)]
struct Weighted {
    link: f64,
    seen: f64,
}

impl Weighted {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a ratio, good to more digits than it is read with"
    )]
    fn add(&mut self, link: u64, ratio: Option<f64>) {
        if let Some(ratio) = ratio {
            self.link += link as f64;
            self.seen += link as f64 * ratio;
        }
    }

    fn ratio(self) -> Option<f64> {
        (self.link > 0.0).then(|| self.seen / self.link)
    }
}
