//! Under which name an interface has its series, and for how long.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use probe_capture::status::Status;

/// Interfaces that have series of their own; the rest are summed under [`OTHER`]. A host makes about
/// 40 series of each.
pub const MAX_INTERFACES: usize = 256;

/// The name of all interfaces beyond [`MAX_INTERFACES`].
pub const OTHER: &str = "other";

/// How long the counters of an interface that is gone are still shown: several scrapes, so that
/// what was counted last is not lost.
pub const EXPIRE_AFTER: Duration = Duration::from_mins(10);

/// Which interface has which name. First come, first served: a name that has been given stays.
#[derive(Debug, Default)]
pub(super) struct Names {
    own: BTreeMap<Arc<str>, Presence>,
    other: Option<Arc<str>>,
    all: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug)]
enum Presence {
    Here,
    /// The interface is gone since this time.
    Gone(Instant),
    /// Its series were removed; its name is free.
    Expired,
}

impl Names {
    /// Records that an interface is captured. Gives it a name of its own if there is room.
    pub(super) fn enter(&mut self, iface: &Arc<str>, with_iface: bool) {
        if !with_iface {
            return;
        }
        let taken = self.own.values();
        let taken = taken.filter(|it| !matches!(it, Presence::Expired)).count();
        match self.own.get(iface) {
            Some(Presence::Here | Presence::Gone(_)) => {}
            _ if taken < MAX_INTERFACES => {}
            _ => {
                self.own.remove(iface);
                return;
            }
        }
        self.own.insert(iface.clone(), Presence::Here);
    }

    /// The name under which an interface has its series, if it has any still.
    pub(super) fn name(&mut self, iface: &Arc<str>, with_iface: bool) -> Option<Arc<str>> {
        if !with_iface {
            return Some(self.all.get_or_insert_with(|| "".into()).clone());
        }
        match self.own.get(iface) {
            Some(Presence::Here | Presence::Gone(_)) => Some(iface.clone()),
            Some(Presence::Expired) => None,
            None => Some(self.other.get_or_insert_with(|| OTHER.into()).clone()),
        }
    }

    /// Records which interfaces are gone, and returns those that have been for too long.
    pub(super) fn expire(&mut self, status: &Status, now: Instant) -> Vec<Arc<str>> {
        let mut expired = Vec::new();
        self.own.retain(|iface, presence| {
            if status.interfaces.contains_key(iface) {
                *presence = Presence::Here;
                return true;
            }
            match *presence {
                Presence::Here => *presence = Presence::Gone(now),
                Presence::Gone(since) if now.duration_since(since) >= EXPIRE_AFTER => {
                    *presence = Presence::Expired;
                    expired.push(iface.clone());
                }
                Presence::Gone(_) => {}
                // Until its counts are forgotten too: it must not be counted as one without a name.
                Presence::Expired => return status.closed.contains_key(iface),
            }
            true
        });
        expired
    }
}
