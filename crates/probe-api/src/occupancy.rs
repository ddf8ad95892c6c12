//! Tells, as a trouble, that clients hold all places for connections at an address.
//!
//! Nobody is locked out then: [`places`](super::places) makes room. But each newcomer costs another
//! its connection, so it is worth knowing who holds that many.

use std::{sync::Arc, time::Duration};

use probe_capture::trouble::{Finder, Trouble, TroubleKind, Troubles};

use super::places::{Class, MAX_PLACES, Places};

/// How often the places are checked.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// So many looks in a row change what is told: a burst of clients is no trouble, and clients that are
/// disconnected and come again are one.
const LOOKS: u32 = 3;

/// Watches the places of one address.
pub(super) struct Occupancy {
    troubles: Arc<Troubles>,
    finder: Finder,
    /// As operators know it.
    addr: String,
    guests: Streak,
    members: Streak,
}

/// Whether the places of one class are taken, as it is told.
#[derive(Default)]
struct Streak {
    is_told: bool,
    /// Looks in a row that found the contrary.
    contrary: u32,
}

impl Streak {
    /// Takes in one look; whether another thing is told now.
    fn on_look(&mut self, is_full: bool) -> bool {
        self.contrary = if is_full == self.is_told {
            0
        } else {
            self.contrary + 1
        };
        let changes = self.contrary >= LOOKS;
        if changes {
            (self.is_told, self.contrary) = (is_full, 0);
        }
        changes
    }
}

impl Occupancy {
    /// For the address of this number.
    pub(super) fn new(troubles: Arc<Troubles>, number: u8, addr: String) -> Self {
        Self {
            troubles,
            finder: Finder::Address(number),
            addr,
            guests: Streak::default(),
            members: Streak::default(),
        }
    }

    /// Looks at the places, and tells what has changed. To be called every [`PERIOD`].
    pub(super) fn look(&mut self, places: &Places) {
        let full = places.look();
        let guests = self.guests.on_look(full.contains(&Class::Guest));
        let members = self.members.on_look(full.contains(&Class::Member));
        if guests || members {
            self.tell();
        }
    }

    fn tell(&self) {
        let told = [
            (
                &self.guests,
                "without a key",
                "who comes gets that of another, or 503",
            ),
            (
                &self.members,
                "of root, the agent's user and those with a key",
                "who asks gets that of one that has asked nothing for a second; where all are at work, root and \
                 the agent's user wait, and others get 503",
            ),
        ];
        let told = told.into_iter().filter(|(streak, ..)| streak.is_told);
        let found: Vec<_> = told
            .map(|(_, whose, then)| taken(&self.addr, whose, then))
            .collect();
        if let Some(trouble) = found.first() {
            tracing::warn!("{}", trouble.cause);
        } else {
            tracing::info!(addr = self.addr, "there are places for connections again");
        }
        self.troubles.set(self.finder, found);
    }
}

fn taken(addr: &str, whose: &str, then: &str) -> Trouble {
    Trouble::new(
        TroubleKind::PlacesTaken,
        None,
        &format_args!(
            "all {MAX_PLACES} places for connections {whose} at {addr} are taken: {then}"
        ),
        "end the clients that hold so many; `ss -tnp` and `ss -xp` on their host name them",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use probe_capture::trouble::{TroubleKind, Troubles};

    use super::{LOOKS, Occupancy, Places};
    use crate::places::{Class, Holder, MAX_PLACES};

    #[test]
    fn places_that_stay_taken_are_told_until_some_are_free() {
        let (places, troubles) = (Places::default(), Arc::new(Troubles::default()));
        let mut occupancy = Occupancy::new(troubles.clone(), 0, "127.0.0.1:9478".to_owned());
        let enter = || places.enter(Holder::User(1), Class::Guest).expect("room");
        let mut held: Vec<_> = std::iter::repeat_with(enter).take(MAX_PLACES).collect();
        let mut told = |places: &Places| {
            occupancy.look(places);
            troubles.all()
        };
        for _ in 1..LOOKS {
            assert_eq!(told(&places), []);
        }
        let found = told(&places);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].kind, TroubleKind::PlacesTaken);
        assert!(found[0].cause.contains("127.0.0.1:9478"), "{}", found[0]);
        // Disconnected, and there again before the next look.
        for _ in 0..2 * LOOKS {
            held.pop();
            assert_eq!(told(&places).len(), 1);
            held.push(places.enter(Holder::User(1), Class::Guest).expect("room"));
            assert_eq!(told(&places).len(), 1);
        }
        held.pop();
        for _ in 1..LOOKS {
            assert_eq!(told(&places).len(), 1);
        }
        assert_eq!(told(&places), []);
    }

    #[test]
    fn a_newcomer_that_finds_no_room_counts_as_well() {
        let (places, troubles) = (Places::default(), Arc::new(Troubles::default()));
        let mut occupancy = Occupancy::new(troubles.clone(), 0, "unix:/run/probe.sock".to_owned());
        for _ in 0..LOOKS {
            // All of them are gone at the look.
            let enter = || places.enter(Holder::User(1), Class::Member);
            let held: Vec<_> = std::iter::repeat_with(enter).take(MAX_PLACES + 1).collect();
            drop(held);
            occupancy.look(&places);
        }
        assert_eq!(troubles.all().len(), 1);
    }
}
