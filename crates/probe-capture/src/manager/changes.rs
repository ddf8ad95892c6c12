//! Update: from the interfaces that are captured to those that should be.
//!
//! An interface ends with a bank switch: what was seen before is in its final writeout, to the
//! packet. Only then its programs are detached, which takes the kernel grace periods of RCU, for
//! every single link. So the lock is given back between interfaces, and readers and rotations go
//! on while hundreds are being attached.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use parking_lot::MutexGuard;

use super::{Inner, Manager, ManagerError, rotate::Ending};
use crate::{
    capture::Capture,
    interface::{Interface, InterfaceConfig},
    source::SourceError,
};
use probe_flow::flow_log::FlowLog;

/// Interfaces that one manager captures at most.
pub const MAX_INTERFACES: usize = probe_common::control::MAX_INTERFACES as usize;

/// Interfaces that are detached under one lock, which share a grace period.
const DETACHED_AT_ONCE: usize = 8;

/// What became of one interface.
#[derive(Debug)]
pub struct Change {
    /// Name of the changed interface.
    pub iface: Arc<str>,
    /// Success, or why not.
    pub result: Result<(), SourceError>,
    /// The change failed, and the interface is captured as it was before.
    pub restored: bool,
    /// How long an interface that was captured before was not.
    pub gap: Option<Duration>,
    /// When it was done.
    pub at: Instant,
}

impl Change {
    fn from_result(iface: Arc<str>, result: Result<(), SourceError>) -> Self {
        Self {
            iface,
            result,
            restored: false,
            gap: None,
            at: Instant::now(),
        }
    }
}

/// What an update came to: each interface is in one list at most, untouched ones in none.
#[derive(Debug, Default)]
pub struct Changes {
    /// Interfaces whose capture has begun.
    pub enabled: Vec<Change>,
    /// Captured again, with other settings or because the link was replaced or renamed.
    pub updated: Vec<Change>,
    /// Interfaces whose capture has ended.
    pub disabled: Vec<Change>,
}

impl Changes {
    /// All changes that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Change> {
        self.all().filter(|change| change.result.is_err())
    }

    /// All changes: enabled, updated, then disabled.
    pub fn all(&self) -> impl Iterator<Item = &Change> {
        let changed = self.enabled.iter().chain(&self.updated);
        changed.chain(&self.disabled)
    }
}

/// What an update would do.
#[derive(Debug, Default)]
pub struct UpdatePlan {
    /// Interfaces whose capture would begin, with their settings.
    pub enabled: Vec<(Interface, InterfaceConfig)>,
    /// To be captured in another way, under another name, or on another link.
    pub updated: Vec<Update>,
    /// Not to be captured any more.
    pub disabled: Vec<Interface>,
    /// Captured as they are.
    pub untouched: usize,
    ending: Vec<Arc<Capture>>,
}

/// One interface that is captured and will be in another way.
#[derive(Debug)]
pub struct Update {
    /// The link as it is now.
    pub link: Interface,
    /// The settings that it will have.
    pub config: InterfaceConfig,
    old: Arc<Capture>,
}

impl Update {
    fn has_new_name(&self) -> bool {
        self.link.name != self.old.interface.name
    }

    /// Nothing else than the name.
    fn is_rename(&self) -> bool {
        let is_same_link = self.link.ifindex == self.old.interface.ifindex;
        is_same_link && self.has_new_name() && self.config == self.old.config
    }
}

impl Manager {
    /// Makes the captured interfaces equal to those wanted. Ones no longer wanted get a final
    /// writeout and are closed; changed ones are closed and started again, and put back as they
    /// were if that fails; new ones are started. A failure of one does not stop the others.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Source`]: the source cannot switch banks, so a capture cannot be ended.
    /// Changes before that one stay, later ones are not made. An interface that cannot be captured
    /// is no error here: its [`Change`] has it.
    pub fn update(
        &self,
        wanted: impl IntoIterator<Item = (Interface, InterfaceConfig)>,
    ) -> Result<Changes, ManagerError> {
        let _updating = self.updating.lock();
        let plan = self.plan(wanted);
        let (renames, updates): (Vec<_>, Vec<_>) =
            plan.updated.into_iter().partition(Update::is_rename);
        let (moves, replacements): (Vec<_>, Vec<_>) =
            updates.into_iter().partition(Update::has_new_name);
        // Names are free before they are given to others: links may even swap theirs.
        let moving = moves.iter().map(|update| &update.old);
        let ending: Vec<_> = plan.ending.iter().chain(moving).cloned().collect();
        let changing = ending.len() + replacements.len() + plan.enabled.len();
        let _batch = self.options.batches.begin("attaching", changing);
        let replaced = moves.iter().chain(&replacements);
        let replaced = replaced.map(|update| (&update.link, &update.config));
        let enabled = plan.enabled.iter().map(|(link, config)| (link, config));
        self.prepare(replaced.chain(enabled));
        let ended = Instant::now();
        self.end_captures(&ending)?;
        let mut changes = Changes::default();
        changes.updated.extend(self.rename(&renames)?);
        self.detach_ended();
        for update in replacements {
            let ended = Instant::now();
            self.end_captures(std::slice::from_ref(&update.old))?;
            self.detach_ended();
            changes.updated.push(self.open_again(update, ended));
        }
        let moved = moves.into_iter();
        let moved = moved.map(|update| self.open_again(update, ended));
        changes.updated.extend(moved);
        let disabled = plan.disabled.into_iter();
        let disabled = disabled.map(|link| Change::from_result(link.name, Ok(())));
        changes.disabled.extend(disabled);
        changes.enabled = self.open_captures(plan.enabled);
        if !(changes.enabled.is_empty() && changes.updated.is_empty()) {
            // From here on, what links and programs count is compared.
            self.inner.lock().compare_with_links(Instant::now());
        }
        Ok(changes)
    }

    /// What [`Self::update`] would do now.
    ///
    /// A link is the same as long as its index is; only then by its name, when it was made anew.
    pub fn plan(
        &self,
        wanted: impl IntoIterator<Item = (Interface, InterfaceConfig)>,
    ) -> UpdatePlan {
        let mut plan = UpdatePlan::default();
        let mut by_index: BTreeMap<u32, (Interface, InterfaceConfig)> = wanted
            .into_iter()
            .map(|(link, config)| (link.ifindex, (link, config)))
            .collect();
        let mut gone: BTreeMap<Arc<str>, Arc<Capture>> = BTreeMap::new();
        for old in self.captures(&[]) {
            match by_index.remove(&old.interface.ifindex) {
                Some((link, config)) if link == old.interface && config == old.config => {
                    plan.untouched += 1;
                }
                Some((link, config)) => plan.updated.push(Update { link, config, old }),
                None => drop(gone.insert(old.interface.name.clone(), old)),
            }
        }
        for (link, config) in by_index.into_values() {
            match gone.remove(&link.name) {
                Some(old) => plan.updated.push(Update { link, config, old }),
                None => plan.enabled.push((link, config)),
            }
        }
        plan.disabled = gone.values().map(|old| old.interface.clone()).collect();
        plan.ending = gone.into_values().collect();
        plan.enabled.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        plan.updated.sort_by(|a, b| a.link.name.cmp(&b.link.name));
        plan
    }

    /// Ends capturing of all interfaces, or of those named, with a final writeout.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Source`]: the source cannot switch banks, and the interfaces stay captured.
    /// Programs that cannot be detached are logged.
    pub fn close(&self, ifaces: &[&str]) -> Result<(), ManagerError> {
        let _updating = self.updating.lock();
        self.end_captures(&self.captures(ifaces))?;
        let ended = self.inner.lock().ended.len();
        let _batch = self.options.batches.begin("detaching", ended);
        self.detach_ended();
        Ok(())
    }

    /// The part of [`Self::close`] that matters when the agent ends: the final writeout of all
    /// interfaces. The programs stay attached, and count for no capture, until `close` is called or
    /// the manager is dropped: to detach hundreds takes the kernel seconds. Nothing is captured
    /// after it, from every caller.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Source`]: the source cannot switch banks. Nothing is written out then, and
    /// no new capture can begin.
    pub fn write_out_and_end(&self) -> Result<(), ManagerError> {
        self.is_over.store(true, Ordering::Relaxed);
        let _updating = self.updating.lock();
        self.end_captures(&self.captures(&[]))
    }

    /// Gives these captures their final writeout and forgets them.
    fn end_captures(&self, ending: &[Arc<Capture>]) -> Result<(), ManagerError> {
        if ending.is_empty() {
            return Ok(());
        }
        let mut inner = self.inner.lock();
        inner.compare_with_links(Instant::now());
        let intervals = inner.end_intervals(ending, Ending::Last, self.read_clock())?;
        for capture in ending {
            let ifindex = capture.interface.ifindex;
            inner.drains.iter().for_each(|drain| drain.remove(ifindex));
            inner.captures.remove(&capture.interface.name);
            inner.keep_history(capture);
            inner.ended.push(capture.interface.clone());
            tracing::info!(iface = %capture.interface.name, "capture closed");
        }
        self.emit(inner, intervals);
        Ok(())
    }

    /// Detaches what has had its final writeout.
    fn detach_ended(&self) {
        loop {
            let mut inner = self.inner.lock();
            let left = inner.ended.len().saturating_sub(DETACHED_AT_ONCE);
            let some = inner.ended.split_off(left);
            if some.is_empty() {
                return;
            }
            let indices: Vec<_> = some.iter().map(|link| link.ifindex).collect();
            if let Err(error) = inner.source.detach(&indices) {
                let names: Vec<_> = some.iter().map(|link| &*link.name).collect();
                tracing::warn!(ifaces = names.join(", "), %error, "cannot detach");
            }
            // What they kept back since the final writeout counts for no interval, and must not meet a new
            // capture of the same link.
            if let Err(error) = inner.flush() {
                tracing::error!(%error, "cannot flush; what was counted shows later");
            }
            for ifindex in indices {
                inner.source.release(ifindex);
            }
            MutexGuard::unlock_fair(inner);
        }
    }

    /// Captures a link whose capture was ended for it: as it is to be, or else as it was.
    fn open_again(&self, update: Update, ended: Instant) -> Change {
        let Update { link, config, old } = update;
        let iface = link.name.clone();
        if iface != old.interface.name {
            let mut inner = self.inner.lock();
            let history = inner.history.remove(&old.interface.name);
            if let Some(history) = history {
                inner.history.insert(iface.clone(), &history);
            }
        }
        let has_new_settings = config != old.config;
        let result = self.open_capture(&link, config);
        let restored = result.is_err()
            && has_new_settings
            && self.open_capture(&link, old.config.clone()).is_ok();
        let gap = (result.is_ok() || restored).then(|| ended.elapsed());
        let gap_ms = gap.map(|gap| gap.as_millis());
        // Before a link is made anew it has no packets.
        if let Some(gap) = gap
            && link.ifindex == old.interface.ifindex
            && let Some(capture) = self.inner.lock().captures.get(&iface)
        {
            capture.on_gap(gap);
        }
        match &result {
            Ok(()) => tracing::info!(%iface, gap_ms, "capture changed"),
            Err(error) => {
                tracing::warn!(%iface, %error, restored, gap_ms, "capture cannot be changed");
            }
        }
        Change {
            restored,
            gap,
            ..Change::from_result(iface, result)
        }
    }

    /// Goes on capturing links under their new names. The programs stay where they are: no packet
    /// is missed. The old names get a final writeout.
    fn rename(&self, renames: &[Update]) -> Result<Vec<Change>, ManagerError> {
        if renames.is_empty() {
            return Ok(Vec::new());
        }
        let mut inner = self.inner.lock();
        inner.compare_with_links(Instant::now());
        let old: Vec<_> = renames.iter().map(|update| update.old.clone()).collect();
        let intervals = inner.end_intervals(&old, Ending::Rotation, self.read_clock())?;
        for old in &old {
            inner.captures.remove(&old.interface.name);
        }
        let mut changes = Vec::new();
        for Update { link, old, .. } in renames {
            let capture = Arc::new(old.renamed(link.name.clone()));
            inner
                .drains
                .iter()
                .for_each(|drain| drain.add(capture.clone()));
            inner.captures.insert(link.name.clone(), capture);
            tracing::info!(iface = %link.name, was = %old.interface.name, "the link was renamed");
            changes.push(Change {
                gap: Some(Duration::ZERO),
                ..Change::from_result(link.name.clone(), Ok(()))
            });
        }
        self.emit(inner, intervals);
        Ok(changes)
    }

    /// Before any capture ends or starts, so that this time is in no interval and in no gap.
    fn prepare<'a>(&self, starting: impl Iterator<Item = (&'a Interface, &'a InterfaceConfig)>) {
        for (link, config) in starting {
            let mut inner = self.inner.lock();
            inner.source.prepare(link, config);
            MutexGuard::unlock_fair(inner);
        }
    }

    fn open_captures(&self, starting: Vec<(Interface, InterfaceConfig)>) -> Vec<Change> {
        let starting = starting.into_iter();
        starting
            .map(|(link, config)| {
                Change::from_result(link.name.clone(), self.open_capture(&link, config))
            })
            .collect()
    }

    /// Starts one. The route comes before the hooks: from the first packet on, its record finds its
    /// capture.
    fn open_capture(
        &self,
        interface: &Interface,
        config: InterfaceConfig,
    ) -> Result<(), SourceError> {
        let mut inner = self.inner.lock();
        let result = if self.is_over.load(Ordering::Relaxed) {
            Err(SourceError::unusable("the agent is stopping"))
        } else if inner.captures.len() < MAX_INTERFACES {
            let now = self.read_clock();
            let (budget, bank) = (self.options.flow_budget.clone(), inner.open_bank);
            let log = FlowLog::with_budget(self.options.flow_log, budget);
            let history = inner.history.remove(&interface.name);
            let capture = Capture::new(interface.clone(), config, log, bank, history, now);
            inner.start(Arc::new(capture))
        } else {
            Err(too_many(interface))
        };
        MutexGuard::unlock_fair(inner);
        if let Err(error) = &result {
            tracing::warn!(iface = %interface.name, %error, "interface is not captured");
        }
        result
    }
}

impl Inner {
    fn start(&mut self, capture: Arc<Capture>) -> Result<(), SourceError> {
        let ifindex = capture.interface.ifindex;
        self.drains
            .iter()
            .for_each(|drain| drain.add(capture.clone()));
        self.sync_drains(None);
        match self.source.attach(&capture.interface, &capture.config) {
            Ok(attachment) => {
                tracing::info!(
                    iface = %capture.interface.name,
                    ingress = attachment.ingress,
                    egress = attachment.egress,
                    reason = attachment.reason,
                    "capture started"
                );
                capture.on_attached(attachment);
                self.captures
                    .insert(capture.interface.name.clone(), capture);
                Ok(())
            }
            Err(error) => {
                self.keep_history(&capture);
                self.drains.iter().for_each(|drain| drain.remove(ifindex));
                Err(error)
            }
        }
    }

    /// Remembers the counts of a closed capture.
    fn keep_history(&mut self, capture: &Capture) {
        let name = Arc::clone(&capture.interface.name);
        self.history.insert(name, &capture.history());
    }
}

fn too_many(interface: &Interface) -> SourceError {
    let cause = format!(
        "{MAX_INTERFACES} interfaces are captured already, which is the most one agent can; leave \
         some out"
    );
    SourceError::attach(&interface.name, cause)
}
