//! One captured interface: its flow log, and what was counted around it.

mod watch;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use parking_lot::{Mutex, RawMutex, lock_api::ArcMutexGuard};
use probe_common::{
    control::{BANKS, Counters, Tally},
    record::Record,
};

pub use self::watch::{LinkCheck, Notice};
use self::watch::{Watch, WatchHistory};
use crate::{
    clock::Reading,
    interface::{Interface, InterfaceConfig},
    source::{Attachment, BankCounters},
    status::InterfaceStatus,
};
use probe_flow::{
    flow::{FlowCounters, FlowMap},
    flow_log::FlowLog,
    interval::{Interval, Watched},
    ledger::{Ledger, Loss},
    ticks::TickClock,
};

/// Capture of one interface. Each interface has at most one.
///
/// The drain thread feeds it, the manager settles and rotates it, readers copy from it; all through
/// one short lock. A drain thread never waits for that lock: it buffers (see [`crate::drain`]).
#[derive(Debug)]
pub struct Capture {
    /// The link that is captured.
    pub interface: Interface,
    /// The settings of this capture.
    pub config: InterfaceConfig,
    /// Since when the interface is captured, by this or an earlier capture of the same name.
    pub started_at: Timestamp,
    /// From attaching on. A lock of its own: supervision must not make the drain thread buffer.
    watch: Arc<OnceLock<Mutex<Watch>>>,
    watch_history: WatchHistory,
    state: Arc<Mutex<CaptureState>>,
    /// Records that could not be buffered, by bank. Outside the lock: this is counted when the lock
    /// is taken.
    buffer_full: Arc<[AtomicTally; BANKS as usize]>,
}

#[derive(Debug, Default)]
struct AtomicTally {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl AtomicTally {
    fn load(&self) -> Tally {
        Tally {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// In the place of the open bank: the capture is over and takes no records.
const OVER: u8 = u8::MAX;

/// What the lock of a capture protects.
#[derive(Debug)]
pub struct CaptureState {
    flow_log: FlowLog,
    /// Records of this bank belong to the running interval; those of the other one to the next.
    open_bank: u8,
    /// Share of its local buffer that the capture used at its fullest.
    buffer_usage: f64,
    accounts: Accounts,
}

/// What was counted on an interface by the captures before: a capture that starts again goes on
/// from there, so that counters never go back and lose nothing.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// When the first of them began.
    started_at: Timestamp,
    ledger: Ledger,
    totals: FlowCounters,
    watch: WatchHistory,
}

impl History {
    /// Of an interface on which nothing was counted before.
    pub(crate) fn new(started_at: Timestamp) -> Self {
        Self {
            started_at,
            ledger: Ledger::default(),
            totals: FlowCounters::default(),
            watch: WatchHistory::default(),
        }
    }

    /// What was counted; the rest of a status is over.
    pub fn status(&self, iface: &Arc<str>) -> InterfaceStatus {
        let mut ledger = self.ledger;
        ledger.flows = tally(self.totals);
        InterfaceStatus {
            iface: iface.clone(),
            ifindex: 0,
            attachment: Attachment::default(),
            started_at: self.started_at,
            ledger,
            totals: self.totals,
            flows: 0,
            local_buffer_usage: 0.0,
            flow_log_bytes: 0,
            watch: self.watch.status(),
        }
    }
}

/// What has been accounted for from the counters of closed banks.
#[derive(Clone, Copy, Debug)]
struct Accounts {
    /// Counters up to which everything is accounted for.
    source: BankCounters,
    buffer_full: [Tally; BANKS as usize],
    /// Start of the running interval.
    interval_start: Reading,
    /// The running interval, as far as its banks are closed.
    interval: Ledger,
    /// Sum of all earlier intervals.
    past: Ledger,
    /// Unattributed fragments of the flow log that are accounted for.
    unattributed_fragments: u64,
    /// What the captures before this one counted in flows.
    past_totals: FlowCounters,
    /// What was counted in flows when a bank was last accounted for: until then ledger and flows agree.
    settled_totals: FlowCounters,
    /// Unattributed fragments of the running interval, at that moment.
    settled_fragments: u64,
    /// Packets in overflow flows that are accounted for.
    overflow_packets: u64,
    /// Those of the running interval, when a bank was last accounted for.
    settled_overflow: u64,
}

/// Exclusive access to a capture's state, without a borrow of the capture.
pub type CaptureGuard = ArcMutexGuard<RawMutex, CaptureState>;

impl CaptureState {
    /// Counts records of one bank, if they belong to the running interval.
    ///
    /// # Errors
    ///
    /// [`NextInterval`]: the records are of the bank that belongs to the next interval. None of
    /// them is counted.
    #[inline]
    pub fn handle_records(&mut self, records: &[Record<'_>]) -> Result<(), NextInterval> {
        let is_other = |record: &Record<'_>| record.head().bank() != self.open_bank;
        if records.first().is_some_and(is_other) {
            return Err(NextInterval);
        }
        self.flow_log.handle_records(records);
        Ok(())
    }

    /// Records what is in the flows, now that all of it has been accounted for.
    fn on_settled(&mut self) {
        self.accounts.settled_totals = self.totals();
        self.accounts.settled_fragments = self.unaccounted_fragments();
        self.accounts.settled_overflow = self.unaccounted_overflow();
    }

    fn totals(&self) -> FlowCounters {
        let mut totals = self.accounts.past_totals;
        totals += self.flow_log.totals();
        totals
    }

    /// Unattributed fragments of the running interval, as far as it is known that they are.
    const fn unaccounted_fragments(&self) -> u64 {
        self.flow_log.unattributed_fragments() - self.accounts.unattributed_fragments
    }

    /// Packets in overflow flows of the running interval.
    const fn unaccounted_overflow(&self) -> u64 {
        self.flow_log.overflow_packets() - self.accounts.overflow_packets
    }

    /// The bank whose records belong to the running interval.
    pub const fn open_bank(&self) -> u8 {
        self.open_bank
    }

    /// Records how full the local buffer was.
    pub fn on_buffer_usage(&mut self, usage: f64) {
        self.buffer_usage = self.buffer_usage.max(usage);
    }
}

/// The record belongs to the interval after the running one: it has to wait for the rotation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NextInterval;

impl Capture {
    /// A capture of an interface that is about to be attached, so its counters start at 0.
    /// `open_bank` is the bank that is active.
    pub fn new(
        interface: Interface,
        config: InterfaceConfig,
        flow_log: FlowLog,
        open_bank: u8,
        history: Option<History>,
        now: Reading,
    ) -> Self {
        let history = history.unwrap_or(History::new(now.moment.wall));
        let accounts = Accounts {
            source: BankCounters::default(),
            buffer_full: Default::default(),
            interval_start: now,
            interval: Ledger::default(),
            past: history.ledger,
            unattributed_fragments: 0,
            past_totals: history.totals,
            settled_totals: history.totals,
            settled_fragments: 0,
            overflow_packets: 0,
            settled_overflow: 0,
        };
        let state = CaptureState {
            flow_log,
            open_bank,
            buffer_usage: 0.0,
            accounts,
        };
        Self {
            interface,
            config,
            started_at: history.started_at,
            watch: Arc::default(),
            watch_history: history.watch,
            state: Arc::new(Mutex::new(state)),
            buffer_full: Arc::default(),
        }
    }

    /// The same capture under the name that its link has now. Both share everything.
    #[must_use]
    pub fn renamed(&self, name: Arc<str>) -> Self {
        let ifindex = self.interface.ifindex;
        Self {
            interface: Interface { name, ifindex },
            config: self.config.clone(),
            started_at: self.started_at,
            watch: self.watch.clone(),
            watch_history: self.watch_history,
            state: self.state.clone(),
            buffer_full: self.buffer_full.clone(),
        }
    }

    /// Records through which hooks the interface is captured. Once.
    pub fn on_attached(&self, attachment: Attachment) {
        let watch = Watch::new(attachment, self.watch_history, Instant::now());
        // A second call would be a defect of the manager; the first answer stays true.
        drop(self.watch.set(Mutex::new(watch)));
    }

    /// Takes in what a check of hooks and link found, and returns what is worth telling.
    pub fn on_check(&self, check: LinkCheck, now: Instant) -> Vec<Notice> {
        let watch = self.watch.get();
        watch.map_or_else(Vec::new, |watch| watch.lock().on_check(check, now))
    }

    /// Takes in that no program was attached for so long, between an earlier capture of the link and
    /// this one. It is of no interval.
    pub fn on_gap(&self, gap: Duration) {
        if let Some(watch) = self.watch.get() {
            watch.lock().on_gap(gap);
        }
    }

    /// Whether removed programs should be attached again now.
    pub fn wants_attempt(&self, now: Instant) -> bool {
        let watch = self.watch.get();
        watch.is_some_and(|watch| watch.lock().wants_attempt(now))
    }

    /// Takes in how that went. Returns the wait for the next attempt, if it failed.
    pub fn on_attempt(&self, attachment: Option<Attachment>, now: Instant) -> Option<Duration> {
        self.watch.get()?.lock().on_attempt(attachment, now)
    }

    /// Counts a record that found no room in the local buffer.
    pub fn on_buffer_full(&self, record: Record<'_>) {
        let head = record.head();
        let tally = &self.buffer_full[usize::from(head.bank())];
        tally
            .packets
            .fetch_add(u64::from(head.packets), Ordering::Relaxed);
        tally.bytes.fetch_add(head.octets, Ordering::Relaxed);
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<CaptureGuard> {
        self.state.try_lock_arc()
    }

    /// Waits for the lock of the flow log, and takes it.
    pub fn lock(&self) -> CaptureGuard {
        self.state.lock_arc()
    }

    /// Accounts for a closed bank, whose counters are final and whose records have all been handled, and
    /// lets records of the other bank in.
    pub fn settle(&self, closed_bank: u8, counters: &BankCounters) {
        let mut state = self.state.lock();
        self.account(&mut state.accounts, closed_bank, counters);
        state.on_settled();
        state.open_bank = 1 - closed_bank;
    }

    /// Like [`Self::settle`], and ends the interval: returns its flows, with the clock of their
    /// ticks, and its ledger.
    pub fn settle_and_rotate(
        &self,
        closed_bank: u8,
        counters: &BankCounters,
        now: Reading,
        tick_clock: TickClock,
    ) -> Interval {
        self.end_interval(closed_bank, counters, now, tick_clock, 1 - closed_bank)
    }

    /// Like [`Self::settle_and_rotate`], for the last interval: what comes later counts for no interval.
    pub fn settle_and_end(
        &self,
        closed_bank: u8,
        counters: &BankCounters,
        now: Reading,
        tick_clock: TickClock,
    ) -> Interval {
        self.end_interval(closed_bank, counters, now, tick_clock, OVER)
    }

    fn end_interval(
        &self,
        closed_bank: u8,
        counters: &BankCounters,
        now: Reading,
        tick_clock: TickClock,
        open_bank: u8,
    ) -> Interval {
        let mut state = self.state.lock();
        self.account(&mut state.accounts, closed_bank, counters);
        let (flows, totals) = state.flow_log.rotate();
        state.open_bank = open_bank;
        let mut ledger = std::mem::take(&mut state.accounts.interval);
        ledger.flows = tally(totals);
        ledger.unattributed_fragments = state.unaccounted_fragments();
        state.accounts.unattributed_fragments += ledger.unattributed_fragments;
        ledger.overflow_packets = state.unaccounted_overflow();
        state.accounts.overflow_packets += ledger.overflow_packets;
        state.accounts.past += ledger;
        state.on_settled();
        let start = std::mem::replace(&mut state.accounts.interval_start, now);
        drop(state);
        let watch = self.watch.get();
        let watched = watch.map(|watch| watch.lock().end_interval(Instant::now()));
        self.interval([start, now], (flows, totals), tick_clock, ledger, watched)
    }

    fn interval(
        &self,
        [start, end]: [Reading; 2],
        (flows, totals): (FlowMap, FlowCounters),
        tick_clock: TickClock,
        ledger: Ledger,
        watched: Option<Watched>,
    ) -> Interval {
        let bounds = end.bounds_from(&start);
        Interval {
            iface: self.interface.name.clone(),
            start: bounds.0,
            end: bounds.1,
            end_since_boot: Some(end.moment.since_boot),
            flows,
            tick_clock,
            totals,
            ledger,
            watched: Watched {
                clock_steps: end.steps.count() - start.steps.count(),
                clock_stepped: end.steps.by.saturating_sub(start.steps.by),
                ..watched.unwrap_or_default()
            },
        }
    }

    /// The running interval as it would be if it ended now: a copy of its flows and its ledger, to which
    /// they agree. Packets that came since a bank was last accounted for are in flows, so they were seen;
    /// what else the programs counted since is not in the ledger yet. Changes nothing.
    pub fn running_interval(
        &self,
        now: impl FnOnce() -> Reading,
        tick_clock: TickClock,
    ) -> Interval {
        let state = self.state.lock();
        let (flows, totals) = state.flow_log.aggregate();
        let accounts = &state.accounts;
        let start = accounts.interval_start;
        let mut ledger = accounts.interval;
        // Packets only get more: what flows have beyond the accounts came later.
        let late = difference(tally(state.totals()), tally(accounts.settled_totals));
        ledger.seen += late;
        ledger.recorded += late;
        ledger.flows = tally(totals);
        ledger.unattributed_fragments = state.unaccounted_fragments();
        ledger.overflow_packets = state.unaccounted_overflow();
        drop(state);
        let watch = self.watch.get();
        let watched = watch.map(|watch| watch.lock().in_interval(Instant::now()));
        // After the copy, which nothing in it may be younger than.
        self.interval([start, now()], (flows, totals), tick_clock, ledger, watched)
    }

    fn account(&self, accounts: &mut Accounts, closed_bank: u8, counters: &BankCounters) {
        let unaccounted = accounts.unaccounted(closed_bank, counters);
        accounts.interval.on_source_counters(&unaccounted);
        let unaccounted = accounts.unaccounted_buffer_full(closed_bank, &self.buffer_full);
        accounts.interval.losses[Loss::LocalBufferFull as usize] += unaccounted;
        let bank = usize::from(closed_bank & 1);
        accounts.source[bank] = counters[bank];
        accounts.buffer_full[bank] += unaccounted;
    }

    /// A copy of the flows that had traffic since the last rotation. Changes nothing.
    pub fn flows(&self) -> FlowMap {
        self.state.lock().flow_log.aggregate().0
    }

    /// Like [`Self::flows`], with the start of the running interval, since which they are counted.
    /// If the clock was set since, that is a time of the old one: [`Reading::bounds_from`].
    pub fn live_flows(&self) -> (Reading, FlowMap) {
        let state = self.state.lock();
        (state.accounts.interval_start, state.flow_log.aggregate().0)
    }

    /// What a later capture of the interface goes on from. Complete once the last interval ended.
    pub fn history(&self) -> History {
        let watch = self.watch.get();
        let watch = watch.map(|watch| watch.lock().history(Instant::now()));
        let state = self.state.lock();
        History {
            started_at: self.started_at,
            ledger: state.accounts.past,
            totals: state.totals(),
            watch: watch.unwrap_or(self.watch_history),
        }
    }

    /// State for readers: counts are those of the last time that a bank was accounted for, to which flows
    /// and ledger agree. Changes nothing.
    pub fn status(&self) -> InterfaceStatus {
        let watch = self.watch.get();
        let watch = watch.map(|watch| watch.lock().status(Instant::now()));
        let (attachment, watch) = watch.unwrap_or_default();
        let state = self.state.lock();
        let mut ledger = state.accounts.past;
        ledger += state.accounts.interval;
        ledger.unattributed_fragments += state.accounts.settled_fragments;
        ledger.overflow_packets += state.accounts.settled_overflow;
        let totals = state.accounts.settled_totals;
        ledger.flows = tally(totals);
        InterfaceStatus {
            iface: self.interface.name.clone(),
            ifindex: self.interface.ifindex,
            attachment,
            started_at: self.started_at,
            ledger,
            totals,
            flows: state.flow_log.len() as u64,
            local_buffer_usage: state.buffer_usage,
            flow_log_bytes: state.flow_log.memory_bytes() as u64,
            watch,
        }
    }
}

impl Accounts {
    /// What a bank counted, both directions, since it was last accounted for.
    fn unaccounted(&self, bank: u8, counters: &BankCounters) -> Counters {
        let bank = usize::from(bank & 1);
        let mut sum = Counters::default();
        for (now, accounted) in counters[bank].iter().zip(&self.source[bank]) {
            sum += counters_difference(now, accounted);
        }
        sum
    }

    fn unaccounted_buffer_full(&self, bank: u8, counted: &[AtomicTally; BANKS as usize]) -> Tally {
        let bank = usize::from(bank & 1);
        difference(counted[bank].load(), self.buffer_full[bank])
    }
}

fn tally(counters: FlowCounters) -> Tally {
    Tally {
        packets: counters.packets(),
        bytes: counters.bytes(),
    }
}

fn difference(now: Tally, before: Tally) -> Tally {
    Tally {
        packets: now.packets.saturating_sub(before.packets),
        bytes: now.bytes.saturating_sub(before.bytes),
    }
}

fn counters_difference(now: &Counters, before: &Counters) -> Counters {
    Counters {
        seen: difference(now.seen, before.seen),
        recorded: difference(now.recorded, before.recorded),
        losses: std::array::from_fn(|loss| difference(now.losses[loss], before.losses[loss])),
        later_fragments: now.later_fragments.saturating_sub(before.later_fragments),
        short_transports: now.short_transports.saturating_sub(before.short_transports),
        further_segments: now.further_segments.saturating_sub(before.further_segments),
        beyond_frame: difference(now.beyond_frame, before.beyond_frame),
    }
}
