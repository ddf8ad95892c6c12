//! Update: from the interfaces that are captured to those that should be.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::{Inner, Manager, ManagerError};
use crate::{
    capture::Capture,
    config::InterfaceConfig,
    source::{Interface, SourceError},
    writeout::Interval,
};

/// Interfaces that one manager captures at most.
pub const MAX_INTERFACES: usize = probe_common::control::MAX_INTERFACES as usize;

/// What became of one interface.
#[derive(Debug)]
pub struct Change {
    /// Its name.
    pub iface: Arc<str>,
    /// Success, or why not.
    pub result: Result<(), SourceError>,
}

/// What an update came to: each interface is in one list at most, untouched ones in none.
#[derive(Debug, Default)]
pub struct Changes {
    /// Newly captured.
    pub enabled: Vec<Change>,
    /// Captured again, with other settings or because the link was replaced.
    pub updated: Vec<Change>,
    /// No longer captured.
    pub disabled: Vec<Change>,
}

impl Changes {
    /// All changes that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Change> {
        let all = self
            .enabled
            .iter()
            .chain(&self.updated)
            .chain(&self.disabled);
        all.filter(|change| change.result.is_err())
    }
}

type Wanted = BTreeMap<Arc<str>, (Interface, InterfaceConfig)>;

impl Manager {
    /// Makes the captured interfaces equal to those wanted. Ones no longer wanted get a final
    /// writeout and are closed; changed ones are closed and started again, and put back as they
    /// were if that fails; new ones are started. A failure of one does not stop the others.
    pub fn update(
        &self,
        wanted: impl IntoIterator<Item = (Interface, InterfaceConfig)>,
    ) -> Result<Changes, ManagerError> {
        let wanted: Wanted = wanted
            .into_iter()
            .map(|(link, config)| (link.name.clone(), (link, config)))
            .collect();
        let mut inner = self.inner.lock();
        let (mut disabled, mut updated) = (Vec::new(), Vec::new());
        for (name, capture) in &inner.captures {
            match wanted.get(name) {
                None => disabled.push(capture.clone()),
                Some((link, config)) if *link != capture.interface || *config != capture.config => {
                    updated.push(capture.clone());
                }
                Some(_) => {}
            }
        }
        let is_new = |name: &Arc<str>| !inner.captures.contains_key(name);
        let new: Vec<_> = wanted.keys().filter(|name| is_new(name)).cloned().collect();

        let closing: Vec<_> = disabled.iter().chain(&updated).cloned().collect();
        let intervals = self.close_captures(&mut inner, &closing)?;
        let starting = updated
            .iter()
            .map(|capture| &capture.interface.name)
            .chain(&new);
        let starting = starting
            .filter_map(|name| wanted.get(name).cloned())
            .collect();
        let mut results = self.open_captures(&mut inner, starting);
        let failed = updated
            .iter()
            .filter(|old| results.get(&old.interface.name).is_some_and(Result::is_err));
        let restore = failed
            .map(|old| (old.interface.clone(), old.config.clone()))
            .collect();
        self.open_captures(&mut inner, restore);
        if !results.is_empty() {
            // From here on, what links and programs count is compared.
            inner.look(Instant::now());
        }
        drop(inner);
        self.emit(intervals);

        let mut change = |iface: &Arc<str>| Change {
            iface: iface.clone(),
            result: results.remove(iface).unwrap_or(Ok(())),
        };
        Ok(Changes {
            enabled: new.iter().map(&mut change).collect(),
            updated: updated
                .iter()
                .map(|old| change(&old.interface.name))
                .collect(),
            disabled: disabled
                .iter()
                .map(|old| change(&old.interface.name))
                .collect(),
        })
    }

    /// Ends capturing of all interfaces, or of those named, with a final writeout.
    pub fn close(&self, ifaces: &[&str]) -> Result<(), ManagerError> {
        let closing = self.captures(ifaces);
        let intervals = self.close_captures(&mut self.inner.lock(), &closing)?;
        self.emit(intervals);
        Ok(())
    }

    /// Starts what is given. Routes come before hooks: from the first packet on, its record finds
    /// its capture.
    fn open_captures(
        &self,
        inner: &mut Inner,
        starting: Vec<(Interface, InterfaceConfig)>,
    ) -> BTreeMap<Arc<str>, Result<(), SourceError>> {
        let mut results = BTreeMap::new();
        if starting.is_empty() {
            return results;
        }
        let mut captures = Vec::new();
        for (interface, config) in starting {
            if inner.captures.len() + captures.len() >= MAX_INTERFACES {
                results.insert(interface.name.clone(), Err(too_many(&interface)));
                continue;
            }
            let now = (self.options.clock)();
            let (log, bank) = (self.options.flow_log, inner.open_bank);
            let history = inner.history.remove(&interface.name);
            let capture = Arc::new(Capture::new(interface, config, log, bank, history, now));
            inner
                .drains
                .iter()
                .for_each(|drain| drain.add(capture.clone()));
            captures.push(capture);
        }
        inner.sync_drains();
        for capture in captures {
            let name = capture.interface.name.clone();
            let result = inner.start(capture);
            if let Err(error) = &result {
                tracing::warn!(iface = %name, %error, "interface is not captured");
            }
            results.insert(name, result);
        }
        results
    }

    fn close_captures(
        &self,
        inner: &mut Inner,
        closing: &[Arc<Capture>],
    ) -> Result<Vec<Interval>, ManagerError> {
        if closing.is_empty() {
            return Ok(Vec::new());
        }
        inner.look(Instant::now());
        for capture in closing {
            if let Err(error) = inner.source.detach(capture.interface.ifindex) {
                tracing::warn!(iface = %capture.interface.name, %error, "cannot detach");
            }
        }
        let intervals = inner.end_intervals(closing, &self.options)?;
        for capture in closing {
            let ifindex = capture.interface.ifindex;
            inner.drains.iter().for_each(|drain| drain.remove(ifindex));
            inner.source.release(ifindex);
            inner.captures.remove(&capture.interface.name);
            inner.keep_history(capture);
            tracing::info!(iface = %capture.interface.name, "capture closed");
        }
        Ok(intervals)
    }
}

impl Inner {
    fn start(&mut self, capture: Arc<Capture>) -> Result<(), SourceError> {
        let ifindex = capture.interface.ifindex;
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
}

impl Inner {
    /// Remembers the counts of a closed capture. Hosts that make a link for every container would
    /// fill the memory with names, so only so many are kept.
    fn keep_history(&mut self, capture: &Capture) {
        if self.history.len() >= MAX_INTERFACES {
            self.history.pop_first();
        }
        self.history
            .insert(capture.interface.name.clone(), capture.history());
    }
}

fn too_many(interface: &Interface) -> SourceError {
    SourceError::Attach {
        interface: interface.name.to_string(),
        reason: format!(
            "{MAX_INTERFACES} interfaces are captured already, which is the most one agent can; \
             leave some out"
        ),
    }
}
