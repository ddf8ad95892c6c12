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

use super::{
    CompactError, Compactor, Outcome,
    background::{Shared, State},
};
use crate::{
    Clock,
    options::MinFree,
    partition::{Directory, Space},
    retention::{Trust, may_hold_moved},
};

/// A day is closed so long after its end: late intervals have been written or given up by then.
const LATE: SignedDuration = SignedDuration::from_hours(1);
/// Pause between two passes over the days.
const PAUSE: Duration = Duration::from_mins(10);
/// Pause between two looks whether what kept a day from being compacted is over.
const LOOK_PAUSE: Duration = Duration::from_secs(5);
/// Pause between two days: what waits for the disk has its turn.
const BREATH: Duration = Duration::from_millis(200);

/// What is said of a pass that panicked.
const PANIC: &str = "compaction panicked; report it, with the agent's log";

/// How a pass over the days has ended.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Pass {
    /// All days were visited. What is wrong with the first of them with which something is.
    Whole(Option<String>),
    /// The disk or a directory is not well, or the sink has ended: the same, as far as it came.
    CutShort(Option<String>),
    /// The file system has no exchange. There is no other pass.
    Last,
}

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
    /// Space in bytes that would have been enough for one day more in the last pass.
    needed: Option<u64>,
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
            needed: None,
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
            match pass.unwrap_or_else(|_| Pass::Whole(Some(PANIC.to_owned()))) {
                Pass::CutShort(None) => {}
                Pass::Whole(error) | Pass::CutShort(error) => self.note(error),
                Pass::Last => return,
            }
            if self.is_over_after_rest() {
                return;
            }
        }
    }

    /// Waits until the next pass; true if the sink has ended.
    fn is_over_after_rest(&self) -> bool {
        let until = Instant::now() + PAUSE;
        while Instant::now() < until {
            if self.is_over_unless(|state| state.is_asked, LOOK_PAUSE) {
                return true;
            }
            let is_asked = std::mem::take(&mut self.shared.state.lock().is_asked);
            if is_asked || self.is_mended() {
                break;
            }
        }
        false
    }

    /// Whether what kept a day from being compacted may be over.
    pub(super) fn is_mended(&self) -> bool {
        let has_room = || {
            self.space()
                .is_some_and(|space| Some(space.free) >= self.needed)
        };
        let mut damaged = self.known.iter().filter(|(_, known)| known.error.is_some());
        damaged.any(|(day, known)| self.changed(day) != Some(known.changed))
            || self.needed.is_some() && has_room()
    }

    fn space(&self) -> Option<Space> {
        Directory::open_root(&self.root).ok()?.space().ok()
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
        self.is_over_unless(|_| false, pause)
    }

    /// The same, but not longer than until something is so.
    fn is_over_unless(&self, is_so: fn(&State) -> bool, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut state = self.shared.state.lock();
        while !state.is_ending && !is_so(&state) {
            if self.shared.wake.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        state.is_ending
    }

    /// Compacts what is closed.
    pub(super) fn pass(&mut self) -> Pass {
        let compactor = Compactor::new(self.root.clone(), self.keep_free());
        let mut error = None;
        match compactor.clean() {
            Ok(()) => {}
            Err(kept @ CompactError::Kept { .. }) => error = Some(kept.to_string()),
            Err(error) if error.is_of_disk() => return self.on_trouble(&error, None),
            Err(error) => return Pass::Whole(Some(error.to_string())),
        }
        let days = match self.closed_days(&compactor) {
            Ok(days) => days,
            Err(trouble) => return self.on_trouble(&trouble, error),
        };
        self.needed = None;
        for day in days {
            match self.visit(&compactor, &day, &mut error) {
                Ok(()) => {}
                Err(trouble @ CompactError::NoExchange { .. }) => {
                    warn!(sink = self.sink, error = %trouble, "days are not compacted");
                    return Pass::Last;
                }
                Err(trouble) => {
                    self.put_off.insert(day);
                    return self.on_trouble(&trouble, error);
                }
            }
            if self.is_over(BREATH) {
                return Pass::CutShort(error);
            }
        }
        self.trouble = None;
        self.put_off.clear();
        Pass::Whole(error)
    }

    /// Space in bytes that compaction must leave free.
    fn keep_free(&self) -> u64 {
        let Some(min_free) = self.min_free else {
            return 0;
        };
        min_free.of(self.space().map_or(0, |space| space.total))
    }

    /// Compacts a day if it is time. The error is that of the store or the disk; what is wrong with the
    /// day becomes `first_error`, if there is none yet.
    fn visit(
        &mut self,
        compactor: &Compactor,
        day: &Day,
        first_error: &mut Option<String>,
    ) -> Result<(), CompactError> {
        let Some(changed) = self.changed(day) else {
            return Ok(());
        };
        let known = self.known.get(day);
        if let Some(known) = known.filter(|known| known.changed == changed) {
            if first_error.is_none() {
                first_error.clone_from(&known.error);
            }
            return Ok(());
        }
        self.known.remove(day);
        if !self.is_quiet(changed) || self.may_hold_moved(day.0) {
            return Ok(());
        }
        match compact(compactor, day) {
            Ok(outcome) => self.on_outcome(day, changed, outcome),
            Err(error @ CompactError::NoRoom { needed, .. }) => {
                self.needed = self.needed.into_iter().chain([needed]).min();
                first_error.get_or_insert_with(|| error.to_string());
            }
            Err(error) if error.is_of_disk() => return Err(error),
            Err(error) => {
                let error = Some(error.to_string());
                if first_error.is_none() {
                    first_error.clone_from(&error);
                }
                self.known.insert(day.clone(), Known { changed, error });
            }
        }
        Ok(())
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

    /// The disk or a directory is not well. The next pass may end otherwise; writes and retention, which
    /// are more often, tell it as trouble as long as it lasts. Here it is said once.
    fn on_trouble(&mut self, error: &CompactError, of_days: Option<String>) -> Pass {
        let trouble = Some(error.to_string());
        if self.trouble != trouble {
            warn!(sink = self.sink, %error, "compaction is put off");
            self.trouble = trouble;
        }
        Pass::CutShort(of_days)
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
