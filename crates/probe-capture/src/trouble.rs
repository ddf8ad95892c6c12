//! What is wrong with the agent now, and what helps: one list for status, metrics and readiness.
//!
//! Each part of the agent that can find something wrong has a place in the list, and replaces what is
//! there after its next check. So what is over is gone from the list, and no part has to take it back.
//! Supervision of a captured interface ([`crate::status::WatchStatus`]) and the sinks have states of
//! their own.

use std::{collections::BTreeMap, fmt};

use parking_lot::Mutex;

/// The kind of a trouble.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum TroubleKind {
    /// A name in the configuration has no link.
    InterfaceMissing,
    /// An interface that is wanted cannot be captured, or not with its new settings.
    InterfaceRefused,
    /// Interfaces are wanted, and none of them can be captured.
    NothingCaptured,
    /// A link cannot be captured, since the agent cannot read what it needs to know of it.
    LinkUnreadable,
    /// The links of the host cannot be listed or followed.
    LinksUnknown,
    /// Whether the programs of an interface are in place cannot be checked.
    HooksUnknown,
    /// The configuration file was not taken over: another configuration is in force.
    ReloadRefused,
    /// Clients hold all places for connections at an address of the API.
    PlacesTaken,
    /// Captured links see the same packets. It is worth knowing and nothing is wrong: somebody may
    /// want both.
    CountedTwice,
}

impl TroubleKind {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 9] = [
        Self::LinksUnknown,
        Self::NothingCaptured,
        Self::ReloadRefused,
        Self::InterfaceMissing,
        Self::InterfaceRefused,
        Self::LinkUnreadable,
        Self::HooksUnknown,
        Self::PlacesTaken,
        Self::CountedTwice,
    ];

    /// Name in metrics and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InterfaceMissing => "interface_missing",
            Self::InterfaceRefused => "interface_refused",
            Self::NothingCaptured => "nothing_captured",
            Self::LinkUnreadable => "link_unreadable",
            Self::LinksUnknown => "links_unknown",
            Self::HooksUnknown => "hooks_unknown",
            Self::ReloadRefused => "reload_refused",
            Self::PlacesTaken => "places_taken",
            Self::CountedTwice => "counted_twice",
        }
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
    /// The interface that it is about, by name, or a link by its index; none for the whole agent.
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
        all.sort_by_key(|trouble| TroubleKind::ALL.iter().position(|it| *it == trouble.kind));
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
