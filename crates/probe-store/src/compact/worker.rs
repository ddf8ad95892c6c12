//! What the thread does: which days it compacts when, and what it makes of their errors.

use std::{
    collections::{HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use jiff::{SignedDuration, civil::Date, tz::TimeZone};
use tracing::{info, warn};

use super::{CompactError, Compactor, Outcome, background::Shared};
use crate::{
    Clock,
    options::MinFree,
    retention::{Trust, may_hold_moved},
};

/// A day is closed so long after its end: late intervals have been written or given up by then.
const LATE: SignedDuration = SignedDuration::from_hours(1);
/// Pause between two passes over the days.
const PAUSE: Duration = Duration::from_mins(10);
/// Pause between two days: what waits for the disk has its turn.
const BREATH: Duration = Duration::from_millis(200);

/// A day of an interface, whose directory has that name.
type Day = (Date, String);

/// What is known of a day as long as its directory has not changed since.
struct Known {
    changed: SystemTime,
    /// Why it cannot be compacted; `None` if it needs nothing.
    error: Option<String>,
}

pub(super) struct Worker {
    sink: String,
    root: PathBuf,
    min_free: Option<MinFree>,
    clock: Clock,
    quiet: Duration,
    known: HashMap<Day, Known>,
    /// Days at which passes ended, since the disk or a directory was not well. They come last.
    put_off: HashSet<Day>,
    /// What was told of that last.
    trouble: Option<String>,
    /// It was told that too little space is free.
    lacks_room: bool,
    pub(super) shared: Arc<Shared>,
}

impl Worker {
    pub(super) fn new(
        sink: &str,
        root: PathBuf,
        min_free: Option<MinFree>,
        clock: Clock,
        quiet: Duration,
        trust: Option<&Trust>,
    ) -> Self {
        let shared = Shared::default();
        shared.state.lock().trust = trust.cloned();
        Self {
            sink: sink.to_owned(),
            root,
            min_free,
            clock,
            quiet,
            known: HashMap::new(),
            put_off: HashSet::new(),
            trouble: None,
            lacks_room: false,
            shared: Arc::new(shared),
        }
    }

    pub(super) fn run(&mut self) {
        // The lowest priority, of the CPU and with it of the disk (ioprio_set(2)), for this thread alone.
        if let Err(error) = rustix::process::setpriority_process(None, 19) {
            warn!(sink = self.sink, %error, "compaction has the priority of other threads");
        }
        loop {
            let pass = catch_unwind(AssertUnwindSafe(|| self.pass()));
            let result = pass.unwrap_or_else(|_| {
                Err("compaction panicked; report it, with the agent's log".to_owned())
            });
            let has_place = !matches!(result, Ok(false));
            self.note(result.err());
            if !has_place || self.is_over(PAUSE) {
                return;
            }
        }
    }

    /// Keeps the error of a pass, and says it once.
    fn note(&self, error: Option<String>) {
        let mut state = self.shared.state.lock();
        let error: Option<Arc<str>> = error.map(Into::into);
        if state.report.error == error {
            return;
        }
        if let Some(error) = &error {
            warn!(sink = self.sink, %error, "a closed day stays as it is");
        } else {
            info!(sink = self.sink, "all closed days can be compacted again");
        }
        state.report.error = error;
    }

    /// Waits so long; true if the sink has ended.
    fn is_over(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut state = self.shared.state.lock();
        while !state.is_ending {
            if self.shared.wake.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        state.is_ending
    }

    /// Compacts what is closed. False if the store has no place for it.
    pub(super) fn pass(&mut self) -> Result<bool, String> {
        let total = rustix::fs::statvfs(&self.root);
        let total = total.map_or(0, |stat| stat.f_blocks.saturating_mul(stat.f_frsize));
        let keep_free = self.min_free.map_or(0, |min_free| min_free.of(total));
        let compactor = Compactor::new(self.root.clone(), keep_free);
        let mut first_error = None;
        match compactor.clean() {
            Ok(()) => {}
            Err(error) if error.is_of_store() => {
                warn!(sink = self.sink, %error, "days are not compacted");
                return Ok(false);
            }
            Err(error @ CompactError::Kept { .. }) => first_error = Some(error.to_string()),
            Err(CompactError::Store(error)) => {
                self.on_trouble(&error);
                return Ok(true);
            }
            Err(error) => return Err(error.to_string()),
        }
        let days = match self.closed_days(&compactor) {
            Ok(days) => days,
            Err(error) => {
                self.on_trouble(&error);
                return Ok(true);
            }
        };
        let mut is_well = true;
        let mut has_room = true;
        for day in days {
            let Some(changed) = self.changed(&day) else {
                continue;
            };
            let known = self.known.get(&day);
            if let Some(known) = known.filter(|known| known.changed == changed) {
                first_error = first_error.or_else(|| known.error.clone());
                continue;
            }
            if !self.is_quiet(changed) || self.may_hold_moved(day.0) {
                continue;
            }
            match compact(&compactor, &day) {
                Ok(outcome) => self.on_outcome(&day, changed, outcome),
                Err(error) if error.is_of_store() => {
                    warn!(sink = self.sink, %error, "days are not compacted");
                    return Ok(false);
                }
                Err(error @ CompactError::NoRoom { .. }) => {
                    has_room = false;
                    self.on_no_room(&error);
                }
                Err(CompactError::Store(error)) => {
                    self.on_trouble(&error);
                    self.put_off.insert(day);
                    is_well = false;
                    break;
                }
                Err(error) => {
                    let text = error.to_string();
                    let error = Some(text.clone());
                    self.known.insert(day, Known { changed, error });
                    first_error.get_or_insert(text);
                }
            }
            if self.is_over(BREATH) {
                break;
            }
        }
        if is_well {
            self.trouble = None;
            self.put_off.clear();
        }
        self.lacks_room &= !has_room;
        first_error.map_or(Ok(true), Err)
    }

    /// Days that are closed, the oldest first, and last those at which a pass has ended.
    fn closed_days(&mut self, compactor: &Compactor) -> Result<Vec<Day>, CompactError> {
        let now = (self.clock)().wall;
        let closed = now.saturating_sub(LATE).unwrap_or(now);
        let today = closed.to_zoned(TimeZone::UTC).date();
        let mut days = compactor.days_before(today)?;
        self.known.retain(|day, _| days.binary_search(day).is_ok());
        days.sort_by_key(|day| self.put_off.contains(day));
        Ok(days)
    }

    /// When an entry of the day's directory last came or went; `None` if it is gone.
    fn changed(&self, (date, iface): &Day) -> Option<SystemTime> {
        let path = self.root.join(iface).join(format!("date={date}"));
        path.metadata().and_then(|it| it.modified()).ok()
    }

    /// Retention makes room, or leaves none on purpose. Said once for all days.
    fn on_no_room(&mut self, error: &CompactError) {
        if !std::mem::replace(&mut self.lacks_room, true) {
            info!(sink = self.sink, %error, "closed days stay as they are for now");
        }
    }

    /// The disk or the directory is not well. The next pass may end otherwise; writes and retention, which
    /// are more often, tell it as trouble as long as it lasts. Here it is said once.
    fn on_trouble(&mut self, error: &dyn std::fmt::Display) {
        let trouble = Some(error.to_string());
        if self.trouble != trouble {
            warn!(sink = self.sink, %error, "compaction is put off");
            self.trouble = trouble;
        }
    }

    fn on_outcome(&mut self, day: &Day, changed: SystemTime, outcome: Outcome) {
        match outcome {
            Outcome::Compacted(it) => {
                info!(
                    sink = self.sink,
                    day = %day.0,
                    iface = day.1,
                    files = it.files,
                    rows = it.rows,
                    old_bytes = it.old_bytes,
                    new_bytes = it.new_bytes,
                    "compacted a day"
                );
                let mut state = self.shared.state.lock();
                state.has_changed = true;
                state.report.days += 1;
            }
            Outcome::Nothing => {
                let known = Known {
                    changed,
                    error: None,
                };
                self.known.insert(day.clone(), known);
            }
            Outcome::Busy => {}
        }
    }

    /// Whether a day may have intervals of a wrong clock.
    fn may_hold_moved(&self, date: Date) -> bool {
        let state = self.shared.state.lock();
        let trust = state.trust.as_ref();
        trust.is_none_or(|trust| may_hold_moved(trust, date))
    }

    /// Whether the time is long enough ago; a time to come is not.
    fn is_quiet(&self, changed: SystemTime) -> bool {
        changed.elapsed().is_ok_and(|age| age >= self.quiet)
    }
}

/// A panic over one day must not keep all others.
fn compact(compactor: &Compactor, (date, iface): &Day) -> Result<Outcome, CompactError> {
    let compact = || compactor.compact(iface, *date);
    let result = catch_unwind(AssertUnwindSafe(compact));
    result.unwrap_or_else(|_| {
        let path = compactor.root.join(iface).join(format!("date={date}"));
        Err(CompactError::Panic { path })
    })
}
