//! What is wrong with the agent now, and what helps: one list for status, metrics and readiness.
//!
//! Each part of the agent that can find something wrong has a place in the list, and replaces what is
//! there after its next check. So what is over is gone from the list, and no part has to take it back.
//! What the states of interfaces ([`crate::status::WatchStatus`]) and sinks say is wrong has kinds here as
//! well, so that who asks finds everything in one list, and is made from these states when somebody asks.

use std::{collections::BTreeMap, fmt};

use parking_lot::Mutex;

/// The kind of a trouble.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum TroubleKind {
    /// A name in the configuration has no link.
    InterfaceMissing,
    /// An interface that is wanted cannot be captured, or not with its new settings.
    InterfaceRefused,
    /// No interface is captured: none that is wanted can be, or none of the host's links is wanted.
    NothingCaptured,
    /// A link cannot be captured, since the agent cannot read what it needs to know of it.
    LinkUnreadable,
    /// The rotation is late: no interval ends, and nothing is stored.
    RotationOverdue,
    /// The links of the host cannot be listed or followed.
    LinksUnknown,
    /// Whether the programs of an interface are in place cannot be checked.
    HooksUnknown,
    /// The configuration file was not taken over: another configuration is in force.
    ReloadRefused,
    /// Clients hold all places for connections at an address of the API.
    PlacesTaken,
    /// The configuration in force was given over the API, and the file counts again at the next reload. It is
    /// worth knowing and nothing is wrong.
    ConfigOverApi,
    /// Captured links see the same packets. It is worth knowing and nothing is wrong: somebody may
    /// want both.
    CountedTwice,
    /// The agent waits for something before it is in service.
    NotReady,
    /// Programs were removed from a hook and are not back.
    Detached,
    /// A link moves packets in a direction, and none is seen.
    Blind,
    /// A link moves clearly more packets in a direction than are seen.
    Partial,
    /// The ledger of an interface does not balance.
    Unbalanced,
    /// The rings had what is no record.
    UndecodableRecords,
    /// A sink cannot store, by its last write or look.
    SinkFailing,
    /// A sink hangs in a write, or its mount in a look.
    SinkStuck,
    /// The queue of a sink runs over.
    SinkOverrun,
    /// A store lies elsewhere than at the start, or is gone.
    StoreMoved,
    /// Free space is missing to a store that has nothing left to delete.
    StoreShort,
    /// Others have taken the room of a store, and its days are deleted for that.
    StoreCrowded,
    /// A disk will soon be full, before retention deletes anything.
    StoreFilling,
    /// Retention does not believe the clock.
    RetentionHeld,
    /// Retention could not delete or count everything.
    RetentionFailing,
    /// A closed day could not be compacted.
    CompactionFailing,
}

impl TroubleKind {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 27] = [
        Self::NotReady,
        Self::RotationOverdue,
        Self::LinksUnknown,
        Self::NothingCaptured,
        Self::ReloadRefused,
        Self::InterfaceMissing,
        Self::InterfaceRefused,
        Self::LinkUnreadable,
        Self::HooksUnknown,
        Self::Detached,
        Self::Blind,
        Self::Partial,
        Self::Unbalanced,
        Self::UndecodableRecords,
        Self::SinkFailing,
        Self::SinkStuck,
        Self::SinkOverrun,
        Self::StoreMoved,
        Self::StoreShort,
        Self::StoreCrowded,
        Self::StoreFilling,
        Self::RetentionHeld,
        Self::RetentionFailing,
        Self::CompactionFailing,
        Self::PlacesTaken,
        Self::ConfigOverApi,
        Self::CountedTwice,
    ];

    /// Name in metrics and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InterfaceMissing => "interface_missing",
            Self::InterfaceRefused => "interface_refused",
            Self::NothingCaptured => "nothing_captured",
            Self::LinkUnreadable => "link_unreadable",
            Self::RotationOverdue => "rotation_overdue",
            Self::LinksUnknown => "links_unknown",
            Self::HooksUnknown => "hooks_unknown",
            Self::ReloadRefused => "reload_refused",
            Self::PlacesTaken => "places_taken",
            Self::ConfigOverApi => "config_over_api",
            Self::CountedTwice => "counted_twice",
            Self::NotReady => "not_ready",
            Self::Detached => "detached",
            Self::Blind => "blind",
            Self::Partial => "partial",
            Self::Unbalanced => "unbalanced",
            Self::UndecodableRecords => "undecodable_records",
            Self::SinkFailing => "sink_failing",
            Self::SinkStuck => "sink_stuck",
            Self::SinkOverrun => "sink_overrun",
            Self::StoreMoved => "store_moved",
            Self::StoreShort => "store_short",
            Self::StoreCrowded => "store_crowded",
            Self::StoreFilling => "store_filling",
            Self::RetentionHeld => "retention_held",
            Self::RetentionFailing => "retention_failing",
            Self::CompactionFailing => "compaction_failing",
        }
    }

    /// Whether it is what a state of an interface, a sink or the agent says, and no part of the agent puts it
    /// into the list.
    pub const fn is_of_state(self) -> bool {
        !matches!(
            self,
            Self::LinksUnknown
                | Self::RotationOverdue
                | Self::NothingCaptured
                | Self::ReloadRefused
                | Self::InterfaceMissing
                | Self::InterfaceRefused
                | Self::LinkUnreadable
                | Self::HooksUnknown
                | Self::PlacesTaken
                | Self::ConfigOverApi
                | Self::CountedTwice
        )
    }

    /// Whether it is worth knowing only: it may be meant so.
    pub const fn is_note(self) -> bool {
        matches!(self, Self::ConfigOverApi | Self::CountedTwice)
    }

    /// The kind of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Sorts into the order of [`Self::ALL`].
    pub fn sort(troubles: &mut [Trouble]) {
        troubles.sort_by_key(|trouble| Self::ALL.iter().position(|it| *it == trouble.kind));
    }

    /// Whether the agent is out of service with it: it captures nothing, or does not know what.
    /// With the others it does most of its work, and a restart would not help.
    pub const fn stops_service(self) -> bool {
        matches!(self, Self::LinksUnknown | Self::NothingCaptured)
    }
}

/// Something that is wrong now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trouble {
    /// The kind of it.
    pub kind: TroubleKind,
    /// The interface that it is about, by name, or a link by its index, or `sink` and its name; none for the
    /// whole agent.
    pub subject: Option<String>,
    /// What is wrong, and why: a sentence without its end.
    pub cause: String,
    /// What an operator can do about it: a sentence without its end.
    pub remedy: String,
}

impl Trouble {
    /// A trouble whose texts are one line each, whatever errors they are made of.
    pub fn new(
        kind: TroubleKind,
        subject: Option<&str>,
        cause: &dyn fmt::Display,
        remedy: &str,
    ) -> Self {
        let cause = cause.to_string();
        let lines: Vec<_> = cause
            .lines()
            .map(str::trim)
            .filter(|it| !it.is_empty())
            .collect();
        Self {
            kind,
            subject: subject.map(str::to_owned),
            cause: lines.join("; "),
            remedy: remedy.to_owned(),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(subject) = &self.subject {
            write!(f, "{subject}: ")?;
        }
        write!(f, "{}. Remedy: {}", self.cause, self.remedy)
    }
}

/// A part of the agent that finds troubles.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Finder {
    /// The list of the host's links, as it was last read.
    LinkList,
    /// What came of capturing the links that are wanted.
    Reconciliation,
    /// The checks of hooks and link counters.
    Supervision,
    /// Reloads of the configuration file.
    Reload,
    /// The check of the schedule.
    Schedule,
    /// The clients of an address of the API, which has a number.
    Address(u8),
}

/// All that is wrong now. Locked for moments only, so that any thread may ask.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<BTreeMap<Finder, Vec<Trouble>>>);

impl Troubles {
    /// Replaces what a finder has found before.
    pub fn set(&self, finder: Finder, found: Vec<Trouble>) {
        self.0.lock().insert(finder, found);
    }

    /// All of them, in the order of [`TroubleKind::ALL`].
    pub fn all(&self) -> Vec<Trouble> {
        let mut all: Vec<_> = self.0.lock().values().flatten().cloned().collect();
        TroubleKind::sort(&mut all);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::{Finder, Trouble, TroubleKind, Troubles};

    #[test]
    fn what_a_finder_no_longer_finds_is_over() {
        let trouble =
            |kind, subject| Trouble::new(kind, subject, &"it is gone:\n  twice\n", "bring it back");
        let missing = trouble(TroubleKind::InterfaceMissing, Some("eth0"));
        let refused = trouble(TroubleKind::ReloadRefused, None);
        let troubles = Troubles::default();
        troubles.set(Finder::Reconciliation, vec![missing.clone()]);
        troubles.set(Finder::Reload, vec![refused.clone()]);
        assert_eq!(troubles.all(), [refused.clone(), missing.clone()]);
        assert_eq!(
            missing.to_string(),
            "eth0: it is gone:; twice. Remedy: bring it back"
        );
        troubles.set(Finder::Reconciliation, Vec::new());
        assert_eq!(troubles.all(), [refused]);
        for kind in TroubleKind::ALL {
            let places = TroubleKind::ALL.iter().filter(|it| **it == kind);
            assert_eq!(places.count(), 1, "{kind:?}");
        }
    }
}
