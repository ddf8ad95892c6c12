//! What supervision knows of a captured interface: its hooks, and how well they cover the link.

use std::time::{Duration, Instant};

use probe_common::control::DIRECTIONS;

use crate::{
    source::{Attachment, HookState},
    status::{CoverageStatus, WatchStatus},
};
use probe_flow::{
    coverage::{self, Compared, Coverage, Sample, Surroundings, Unseen, likely_cause},
    interval::Watched,
    supervise::{Change, Supervision},
};

/// Everything that a check of an interface found.
#[derive(Clone, Debug)]
pub struct LinkCheck {
    /// Counters of link and programs, by direction; none for a link without counters.
    pub samples: Option<[Sample; DIRECTIONS as usize]>,
    /// The hooks; none if they cannot be checked.
    pub hooks: Option<HookState>,
    /// The link is switched off, or has no carrier.
    pub is_down: bool,
    /// Programs of ours got frames of unknown interfaces since the last check.
    pub has_unknown_interface: bool,
}

/// What a check changed, worth a line in the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// Programs were removed from their hooks; the text says which.
    Lost(String),
    /// They are back, and not by our doing.
    Found,
    /// The coverage of a direction has changed its state.
    Coverage {
        /// Direction, an index of [`coverage::DIRECTIONS`].
        direction: usize,
        /// Its state, with its likely cause if it is a bad one.
        status: CoverageStatus,
    },
}

/// Supervision of one interface. All its counts only grow.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    attachment: Attachment,
    hooks: HookState,
    is_down: bool,
    supervision: Supervision,
    coverage: [Coverage; DIRECTIONS as usize],
    causes: [Option<String>; DIRECTIONS as usize],
    was_lost: [bool; DIRECTIONS as usize],
    /// Programs were attached since the last check.
    is_reattached: bool,
    history: WatchHistory,
    /// Where the running interval began.
    interval: IntervalStart,
}

/// Counts of earlier captures of the same interface.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WatchHistory {
    reattached: u64,
    detached: Duration,
    /// How much of that is due to changed settings.
    changed: Duration,
    was_lost: [bool; DIRECTIONS as usize],
    unseen: Unseen,
    compared: [Compared; DIRECTIONS as usize],
}

impl WatchHistory {
    /// As a status without a present.
    pub(super) fn status(&self) -> WatchStatus {
        WatchStatus {
            lost: Vec::new(),
            is_down: false,
            reattached: self.reattached,
            detached: self.detached,
            changed: self.changed,
            was_lost: self.was_lost,
            unseen: self.unseen,
            coverage: self.compared.map(|compared| CoverageStatus {
                compared,
                ..CoverageStatus::default()
            }),
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct IntervalStart {
    reattached: u64,
    detached: Duration,
}

fn is_lost(hooks: &HookState, direction: usize) -> bool {
    let mut lost = hooks.lost.iter();
    lost.any(|it| usize::from(it.direction) == direction)
}

/// Whether programs of others are where some of ours were.
fn is_taken(hooks: &HookState) -> bool {
    hooks.lost.iter().any(|it| it.occupant.is_some())
}

impl Watch {
    pub(super) fn new(attachment: Attachment, history: WatchHistory, now: Instant) -> Self {
        Self {
            attachment,
            hooks: HookState::default(),
            is_down: false,
            supervision: Supervision::new(now),
            coverage: Default::default(),
            causes: Default::default(),
            was_lost: [false; DIRECTIONS as usize],
            is_reattached: false,
            history,
            interval: IntervalStart::default(),
        }
    }

    pub(super) fn on_check(&mut self, check: LinkCheck, now: Instant) -> Vec<Notice> {
        let mut notices = Vec::new();
        self.is_down = check.is_down;
        let mut is_mixed = [std::mem::take(&mut self.is_reattached); DIRECTIONS as usize];
        if let Some(hooks) = check.hooks {
            let is_freed = is_taken(&self.hooks) && !is_taken(&hooks);
            for (direction, is_mixed) in is_mixed.iter_mut().enumerate() {
                let [before, now] = [&self.hooks, &hooks].map(|it| is_lost(it, direction));
                *is_mixed |= before != now || self.hooks.ahead[direction] != hooks.ahead[direction];
                self.was_lost[direction] |= now;
            }
            self.hooks = hooks;
            match self.supervision.on_check(self.hooks.lost.is_empty(), now) {
                Change::None => {}
                Change::Lost => notices.push(Notice::Lost(self.describe_loss())),
                Change::Found => notices.push(Notice::Found),
            }
            if is_freed {
                self.supervision.on_freed(now);
            }
        }
        for (direction, sample) in check.samples.into_iter().flatten().enumerate() {
            let is_lost = is_lost(&self.hooks, direction);
            let coverage = &mut self.coverage[direction];
            if is_mixed[direction] {
                // What was not seen at the end of a loss is due to it as well.
                if is_lost {
                    coverage.set_detached(true);
                }
                coverage.on_mixed_sample(sample);
                coverage.set_detached(is_lost);
                continue;
            }
            let Some(state) = coverage.on_sample(sample) else {
                continue;
            };
            let around = Surroundings {
                lost: &self.hooks.lost,
                ahead: self.hooks.ahead[direction],
                has_unknown_interface: check.has_unknown_interface,
            };
            let is_bad = matches!(
                state,
                coverage::CoverageState::Partial | coverage::CoverageState::Blind
            );
            self.causes[direction] = is_bad.then(|| likely_cause(direction, state, around));
            notices.push(Notice::Coverage {
                direction,
                status: self.coverage_status(direction),
            });
        }
        notices
    }

    pub(super) fn on_gap(&mut self, gap: Duration) {
        self.history.detached += gap;
        self.history.changed += gap;
    }

    pub(super) fn wants_attempt(&self, now: Instant) -> bool {
        self.supervision.wants_attempt(now)
    }

    /// Takes in how an attempt to attach again went. Returns the wait for the next one, if it
    /// failed.
    pub(super) fn on_attempt(
        &mut self,
        attachment: Option<Attachment>,
        now: Instant,
    ) -> Option<Duration> {
        self.supervision.on_attempt(attachment.is_some(), now);
        if let Some(attachment) = attachment {
            self.attachment = attachment;
            let hooks = std::mem::take(&mut self.hooks);
            for (direction, coverage) in self.coverage.iter_mut().enumerate() {
                if is_lost(&hooks, direction) {
                    coverage.restart();
                    self.causes[direction] = None;
                }
            }
            self.is_reattached = true;
        }
        self.supervision.waits(now)
    }

    /// What was watched in the running interval, up to now.
    pub(super) fn in_interval(&self, now: Instant) -> Watched {
        let start = self.interval;
        Watched {
            ingress: self.attachment.ingress,
            egress: self.attachment.egress,
            reattached: self.supervision.reattached() - start.reattached,
            detached: self
                .supervision
                .detached(now)
                .saturating_sub(start.detached),
            coverage: [0, 1].map(|direction: usize| self.coverage[direction].in_interval()),
            ..Watched::default()
        }
    }

    /// Ends the interval: what was watched in it.
    pub(super) fn end_interval(&mut self, now: Instant) -> Watched {
        let watched = self.in_interval(now);
        self.interval = IntervalStart {
            reattached: self.supervision.reattached(),
            detached: self.supervision.detached(now),
        };
        for coverage in &mut self.coverage {
            coverage.end_interval();
        }
        watched
    }

    /// What a later capture of the interface goes on from.
    pub(super) fn history(&self, now: Instant) -> WatchHistory {
        let mut unseen = self.history.unseen;
        for coverage in &self.coverage {
            unseen += coverage.unseen();
        }
        WatchHistory {
            reattached: self.history.reattached + self.supervision.reattached(),
            detached: self.history.detached + self.supervision.detached(now),
            changed: self.history.changed,
            was_lost: [0, 1].map(|it: usize| self.history.was_lost[it] || self.was_lost[it]),
            unseen,
            compared: [0, 1].map(|direction| self.compared(direction)),
        }
    }

    pub(super) fn status(&self, now: Instant) -> (Attachment, WatchStatus) {
        let history = self.history(now);
        let status = WatchStatus {
            lost: self.hooks.lost.clone(),
            is_down: self.is_down,
            reattached: history.reattached,
            detached: history.detached,
            changed: history.changed,
            was_lost: history.was_lost,
            unseen: history.unseen,
            coverage: [0, 1].map(|direction| self.coverage_status(direction)),
        };
        (self.attachment.clone(), status)
    }

    fn coverage_status(&self, direction: usize) -> CoverageStatus {
        CoverageStatus {
            state: self.coverage[direction].state(),
            ratio: self.coverage[direction].ratio(),
            compared: self.compared(direction),
            cause: self.causes[direction].clone(),
        }
    }

    fn compared(&self, direction: usize) -> Compared {
        let mut compared = self.history.compared[direction];
        compared += self.coverage[direction].since_start();
        compared
    }

    fn describe_loss(&self) -> String {
        let lost: Vec<_> = self.hooks.lost.iter().map(ToString::to_string).collect();
        lost.join("; ")
    }
}
