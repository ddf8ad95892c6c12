//! Supervision: are our programs still attached, and do they see what the links move.

use std::{sync::Arc, time::Instant};

use probe_common::record::{EGRESS, INGRESS};

use super::{Inner, Manager};
use crate::{
    capture::{Capture, LinkCheck, Notice},
    source::{BankCounters, SourceStatistics},
    trouble::{Finder, Trouble, TroubleKind},
};
use probe_flow::coverage::{CoverageState, DIRECTIONS, Sample, Seen};

impl Manager {
    /// Compares all captured interfaces with their links, logs what has changed, and attaches again
    /// what was removed, when it is time. Meant to be called about once a second.
    pub fn supervise(&self, now: Instant) {
        let mut inner = self.inner.lock();
        let found = inner.compare_with_links(now);
        self.troubles.set(Finder::Supervision, found);
        let captures = inner.captures.values();
        let lost: Vec<_> = captures
            .filter(|capture| capture.wants_attempt(now))
            .cloned()
            .collect();
        let _batch = self.options.batches.begin("attaching again", lost.len());
        for capture in lost {
            inner.reattach(&capture, now);
        }
    }
}

impl Inner {
    /// Compares programs and links. Changes nothing in the kernel. Returns what cannot be checked.
    pub(super) fn compare_with_links(&mut self, now: Instant) -> Vec<Trouble> {
        let mut unchecked = Vec::new();
        if self.captures.is_empty() {
            return unchecked;
        }
        let captures: Vec<_> = self.captures.values().cloned().collect();
        let before = self.all_seen(&captures);
        let indices: Vec<_> = captures.iter().map(|it| it.interface.ifindex).collect();
        let Some(supervised) = self.source.supervised_hooks() else {
            return unchecked;
        };
        let links = match supervised.links(&indices) {
            Ok(links) => links,
            Err(error) => {
                tracing::warn!(%error, "cannot compare the captures with the links");
                unchecked.push(Trouble::new(
                    TroubleKind::LinksUnknown,
                    None,
                    &format_args!(
                        "programs that are removed, and coverage, are not noticed: {error}"
                    ),
                    "the agent tries again every few seconds; if it stays, restart it",
                ));
                return unchecked;
            }
        };
        if links.is_empty() {
            return unchecked;
        }
        let after = self.all_seen(&captures);
        let has_unknown_interface = self.has_new_unknown_interface();
        for ((capture, before), after) in captures.iter().zip(before).zip(after) {
            // A link that is gone is closed when the links are reconciled.
            let Some(link) = links.get(&capture.interface.ifindex) else {
                continue;
            };
            let supervised = self.source.supervised_hooks();
            let hooks = supervised.map(|it| it.check(capture.interface.ifindex, link));
            let hooks = hooks.transpose();
            if let Err(error) = &hooks {
                tracing::debug!(%error, "cannot check the hooks");
                unchecked.push(Trouble::new(
                    TroubleKind::HooksUnknown,
                    Some(&capture.interface.name),
                    &format_args!("whether its programs are in place is not known: {error}"),
                    "`bpftool net show` tells, as root; if it stays, restart the agent",
                ));
            }
            let samples = (link.counts.zip(before).zip(after)).map(|((link, before), after)| {
                [INGRESS, EGRESS].map(usize::from).map(|direction| Sample {
                    link: link[direction],
                    before: before[direction],
                    after: after[direction],
                })
            });
            let check = LinkCheck {
                samples,
                hooks: hooks.ok().flatten(),
                is_down: link.is_down,
                has_unknown_interface,
            };
            for notice in capture.on_check(check, now) {
                log(capture, &notice);
            }
        }
        unchecked
    }

    fn all_seen(&self, captures: &[Arc<Capture>]) -> Vec<Option<[Seen; 2]>> {
        let counters = captures
            .iter()
            .map(|capture| self.source.counters(capture.interface.ifindex));
        counters.map(|it| it.ok().map(|it| seen(&it))).collect()
    }

    fn has_new_unknown_interface(&mut self) -> bool {
        let statistics = self.source.statistics();
        let Some(Ok(unattributed)) = statistics.map(SourceStatistics::unattributed) else {
            return false;
        };
        let packets = unattributed.unknown_interface.packets;
        std::mem::replace(&mut self.unknown_interface_packets, packets) < packets
    }

    fn reattach(&mut self, capture: &Capture, now: Instant) {
        let iface = &capture.interface.name;
        // Without supervision nothing is ever found lost.
        let Some(supervised) = self.source.supervised_hooks() else {
            return;
        };
        match supervised.reattach(&capture.interface, &capture.config) {
            Ok(attachment) => {
                tracing::info!(
                    %iface,
                    ingress = attachment.ingress,
                    egress = attachment.egress,
                    reason = attachment.reason,
                    "attached again"
                );
                capture.on_attempt(Some(attachment), now);
            }
            Err(error) => {
                let next = capture.on_attempt(None, now).unwrap_or_default();
                let next_attempt_s = next.as_secs();
                tracing::warn!(%iface, %error, next_attempt_s, "cannot attach again");
            }
        }
    }
}

/// Both banks together, by direction.
fn seen(counters: &BankCounters) -> [Seen; 2] {
    [INGRESS, EGRESS].map(usize::from).map(|direction| Seen {
        frames: counters.iter().map(|bank| bank[direction].frames()).sum(),
        packets: counters
            .iter()
            .map(|bank| bank[direction].seen.packets)
            .sum(),
        octets: counters.iter().map(|bank| bank[direction].seen.bytes).sum(),
    })
}

fn log(capture: &Capture, notice: &Notice) {
    let iface = &capture.interface.name;
    match notice {
        Notice::Lost(what) => tracing::warn!(%iface, "capture is interrupted: {what}"),
        Notice::Found => tracing::info!(%iface, "our programs are attached again"),
        Notice::Coverage { direction, status } => {
            let direction = DIRECTIONS[*direction];
            match (&status.cause, status.state) {
                (Some(cause), state) => tracing::warn!(
                    %iface,
                    direction,
                    coverage = status.ratio,
                    "capture is {}: {cause}",
                    state.name()
                ),
                (None, CoverageState::Ok) => {
                    tracing::info!(%iface, direction, coverage = status.ratio, "capture is ok");
                }
                (None, _) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
