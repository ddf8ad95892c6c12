//! What a question needs before its first row: the files with their footers, and the running interval.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use datafusion::arrow::record_batch::RecordBatch;
use jiff::Timestamp;
use probe_flow::filter::Filter;

use super::{Question, What};
use crate::{
    columns::By,
    completeness::{self, Asked, Told},
    error::QueryError,
    filter,
    footer::{self, ReadFile, Skipped, WantedLedgers},
    live::{self, Live, State},
    progress::Progress,
    store,
    time::Range,
};

/// Files of a question, with all that their footers say.
pub(super) struct Prepared {
    pub(super) files: Arc<[ReadFile]>,
    pub(super) range: Range,
    pub(super) asked: Asked,
    pub(super) skipped: Vec<Skipped>,
}

/// As [`prepare`], with the running interval where the time ends now.
///
/// The agent is asked before the store is listed ([`live`]). What has begun with the running interval or later
/// has been stored since, or else the clock was set back: what is on the disk before the agent is asked
/// again has ended in any case.
pub(super) async fn prepare_live(
    question: &Question,
    damaged: &[Skipped],
    progress: &Progress,
) -> Result<Prepared, QueryError> {
    let range = range(question)?;
    let now = question.now.zoned.timestamp();
    let Some(socket) = question.live.as_deref().filter(|_| range.until >= now) else {
        return prepare(question, (None, State::NotAsked), damaged, progress);
    };
    let all = Filter::default();
    let wanted = live::Wanted {
        socket,
        stores: &question.stores,
        filter: question.filter().unwrap_or(&all),
        range,
    };
    let mut known = HashSet::new();
    loop {
        let live = live::ask(&wanted, progress).await?;
        let live = live.map_or_else(
            |state| (None, state),
            |live| {
                let state = live.state.clone();
                (Some(live), state)
            },
        );
        let mut prepared = prepare(question, live, damaged, progress)?;
        let newer = prepared.newer();
        if known.is_empty() && !newer.is_empty() {
            known = newer;
            continue;
        }
        prepared.leave_out(|path| newer.contains(path) && !known.contains(path));
        return Ok(prepared);
    }
}

/// The asked time, checked: it must not end before it begins.
fn range(question: &Question) -> Result<Range, QueryError> {
    let range = Range {
        since: question.since.unwrap_or(Timestamp::MIN),
        until: question
            .until
            .unwrap_or_else(|| question.now.zoned.timestamp()),
    };
    if range.since >= range.until {
        let hint = if question.until.is_some() {
            ""
        } else {
            ", which is now"
        };
        return Err(QueryError::Usage(format!(
            "an impossible time range: it begins at {} and ends at {}{hint}; the end is not part of it",
            range.since, range.until
        )));
    }
    Ok(range)
}

/// Finds the files, and reads their footers.
pub(super) fn prepare(
    question: &Question,
    (live, live_state): (Option<Live>, State),
    damaged: &[Skipped],
    progress: &Progress,
) -> Result<Prepared, QueryError> {
    let now = question.now.zoned.timestamp();
    let mut range = range(question)?;
    // The agent has answered a little later.
    if let Some(live) = &live {
        range.until = range.until.max(live.at);
    }
    let all = Filter::default();
    let wanted = question.filter().unwrap_or(&all);
    let (mut files, mut ifaces, mut skipped) = (Vec::new(), Vec::new(), damaged.to_vec());
    let mut first = None;
    for (number, root) in question.stores.iter().enumerate() {
        let is_wanted = |iface: &str| filter::may_pass(wanted, iface);
        let of_agent = live.as_ref().filter(|live| live.store == number);
        let found = match store::discover(number, root, Some(range), &is_wanted) {
            // Its first interval runs.
            Err(QueryError::NoStore { .. }) if of_agent.is_some() => store::Found::default(),
            found => found?,
        };
        let running = of_agent.into_iter().flat_map(|live| &live.running);
        let unstored = running.filter(|it| !found.ifaces.contains(&it.iface));
        ifaces.extend(unstored.map(|it| (number, Arc::clone(&it.iface))));
        let names = found.ifaces.into_iter().filter(|iface| is_wanted(iface));
        ifaces.extend(names.map(|iface| (number, iface)));
        files.extend(found.files);
        skipped.extend(found.foreign.into_iter().map(|path| Skipped {
            path,
            why: "its name is none of a stored interval".to_owned(),
        }));
        let since = found.extent.map(|extent| extent.since);
        first = first.into_iter().chain(since).min();
    }
    let running = live.iter().flat_map(|live| &live.running);
    first = running.map(|it| it.ledger.start).chain(first).min();
    files.retain(|file| damaged.iter().all(|skipped| skipped.path != file.path));
    if question.since.is_none() {
        range.since = first.unwrap_or(range.until);
    }
    let footers = footer::read_all(&files, question.wanted_ledgers(range), progress)?;
    skipped.extend(footers.skipped);
    let asked = Asked {
        range,
        from_the_first: question.since.is_none(),
        present: live.as_ref().map_or(now, |live| now.max(live.at)),
        until_now: question.until.is_none_or(|until| until >= now),
        live,
        live_state,
        ifaces,
    };
    Ok(Prepared {
        files: footers.read.into(),
        range,
        asked,
        skipped,
    })
}

impl Question {
    /// Who does not ask for times needs no interval of its own.
    fn wanted_ledgers(&self, range: Range) -> WantedLedgers {
        match &self.what {
            What::Sums(sums) if !sums.by.iter().any(|it| matches!(it, By::Time(_))) => {
                WantedLedgers::Sum(range)
            }
            _ => WantedLedgers::Each,
        }
    }

    /// What flows have to pass, if they have to.
    fn filter(&self) -> Option<&Filter> {
        match &self.what {
            What::Sums(sums) => Some(&sums.filter),
            What::Sql(_) => None,
        }
    }
}

impl Prepared {
    /// Flows of the running interval.
    pub(super) fn running_flows(&self) -> Option<&RecordBatch> {
        self.asked.live.as_ref().map(|live| &live.flows)
    }

    /// Files of the agent's store whose intervals all began with the running one or later.
    fn newer(&self) -> HashSet<PathBuf> {
        let live = self.asked.live.as_ref();
        let newer = self.files.iter().filter(|file| {
            let iface = &file.file.iface;
            live.is_some_and(|live| {
                live.store == file.file.store
                    && file
                        .ledgers
                        .iter()
                        .all(|ledger| live.is_newer(iface, ledger.start))
            })
        });
        newer.map(|file| file.file.path.clone()).collect()
    }

    fn leave_out(&mut self, is_left_out: impl Fn(&PathBuf) -> bool) {
        let left = self
            .files
            .iter()
            .filter(|file| !is_left_out(&file.file.path));
        self.files = left.cloned().collect();
    }

    /// Bounds of all intervals that are asked for.
    pub(super) fn intervals(&self) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        self.ledgers()
            .map(|told| (told.ledger.start, told.ledger.end))
    }

    /// Ledgers of all intervals that are asked for.
    pub(super) fn ledgers(&self) -> impl Iterator<Item = Told<'_>> {
        let all = completeness::told(&self.files, self.asked.live.as_ref());
        all.filter(|told| self.range.selects(told.ledger.start, told.ledger.end))
    }

    /// Files with an interval that is asked for, and whether all of their intervals are.
    pub(super) fn selected(&self) -> (Arc<[ReadFile]>, bool) {
        let selects = |file: &&ReadFile| {
            file.ledgers
                .iter()
                .any(|it| self.range.selects(it.start, it.end))
        };
        let files: Vec<_> = self.files.iter().filter(selects).cloned().collect();
        let is_whole = completeness::told(&files, self.asked.live.as_ref())
            .all(|it| self.range.selects(it.ledger.start, it.ledger.end));
        (files.into(), is_whole)
    }
}
