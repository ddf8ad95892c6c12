//! Places of connections at one address: a share for each holder, and an end for those who only
//! occupy them.
//!
//! Each connection takes a place. Where none is free, a newcomer gets that of a connection which
//! waits for its client, of the holder who has the most: so who opens many loses its own. Guests
//! and members have places of their own: a member is root or the agent's user on the unix socket,
//! and on TCP who has sent a key. So those who have no key cannot lock out those who have one.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

/// Connections of each class at a time, at one address.
pub(super) const MAX_PLACES: usize = 64;

/// How long root may take for a request before another of its connections, which has sent one, gets the
/// place: a thousand at once are answered one after the other.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Whose share a connection counts for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Holder {
    /// A user of the host, on a unix socket.
    User(u32),
    /// A host, or the network of one.
    Host(IpAddr),
}

impl Holder {
    /// A client that nothing is known of.
    pub(super) const UNKNOWN: Self = Self::User(u32::MAX);

    /// Addresses that one client has at will count as one: all of the loopback, and the /64 of an
    /// IPv6 address (RFC 4291, section 2.5.4).
    pub(super) fn of_address(addr: IpAddr) -> Self {
        let addr = addr.to_canonical();
        Self::Host(match addr {
            _ if addr.is_loopback() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V4(_) => addr,
            IpAddr::V6(addr) => {
                let network = addr.to_bits() & !u128::from(u64::MAX);
                Ipv6Addr::from_bits(network).into()
            }
        })
    }
}

/// Which places a connection may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Class {
    Guest,
    Member,
}

/// The places of one address.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Shared>);

#[derive(Default)]
struct Shared {
    taken: Mutex<Taken>,
    /// A place was given back, or its connection waits for its client.
    changed: Notify,
}

#[derive(Default)]
struct Taken {
    places: BTreeMap<u64, Entry>,
    /// Counts what happens: the order of events is all that is compared.
    events: u64,
    /// Classes in which a newcomer found all places taken since the last look.
    full: Vec<Class>,
}

struct Entry {
    holder: Holder,
    class: Class,
    /// Requests whose answers are not sent.
    busy: usize,
    /// When it last began to wait or to answer.
    since: u64,
    at: Instant,
    evicted: Arc<Notify>,
}

/// A place, given back on drop.
pub(super) struct Place {
    places: Places,
    number: u64,
    holder: Holder,
    evicted: Arc<Notify>,
    /// Answers that are not complete.
    under_way: AtomicUsize,
    /// Answers that are complete and perhaps not sent.
    complete: AtomicUsize,
}

impl Places {
    /// A place, if need be that of another; none where all are at work.
    pub(super) fn enter(&self, holder: Holder, class: Class) -> Option<Place> {
        let mut taken = self.0.taken.lock();
        let patience = match class {
            Class::Guest => Duration::ZERO,
            Class::Member => PATIENCE,
        };
        taken.make_room(holder, class, patience)?;
        let number = taken.event();
        let evicted = Arc::new(Notify::new());
        let entry = Entry {
            holder,
            class,
            busy: 0,
            since: number,
            at: Instant::now(),
            evicted: Arc::clone(&evicted),
        };
        taken.places.insert(number, entry);
        Some(Place {
            places: self.clone(),
            number,
            holder,
            evicted,
            under_way: AtomicUsize::new(0),
            complete: AtomicUsize::new(0),
        })
    }

    /// The classes whose places are all taken, or were so for a newcomer since the last look.
    pub(super) fn look(&self) -> Vec<Class> {
        let mut taken = self.0.taken.lock();
        let mut full = std::mem::take(&mut taken.full);
        let classes = [Class::Guest, Class::Member];
        full.extend(classes.into_iter().filter(|class| taken.is_full(*class)));
        full
    }

    /// Whether a newcomer of this class would need the place of another.
    pub(super) fn is_full(&self, class: Class) -> bool {
        self.0.taken.lock().is_full(class)
    }

    /// Waits until [`Self::enter`] may give another answer.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }
}

impl Taken {
    fn event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    fn is_full(&self, class: Class) -> bool {
        let of_class = self.places.values().filter(|it| it.class == class);
        of_class.count() >= MAX_PLACES
    }

    fn make_room(&mut self, newcomer: Holder, class: Class, patience: Duration) -> Option<()> {
        if self.is_full(class) {
            if !self.full.contains(&class) {
                self.full.push(class);
            }
            let victim = self.victim(newcomer, class, patience)?;
            self.places.remove(&victim)?.evicted.notify_one();
        }
        Some(())
    }

    /// Whose place a newcomer gets: of those who hold at least as many, the one that has waited for
    /// its client the longest. If none waits, the last one of who holds more than its share.
    fn victim(&self, newcomer: Holder, class: Class, patience: Duration) -> Option<u64> {
        let rivals = || self.places.iter().filter(|(_, it)| it.class == class);
        let mut held: HashMap<Holder, usize> = HashMap::new();
        for (_, it) in rivals() {
            *held.entry(it.holder).or_default() += 1;
        }
        let own = held.get(&newcomer).copied().unwrap_or_default();
        let waiting = rivals().filter(|(_, it)| {
            it.busy == 0 && it.at.elapsed() >= patience && held[&it.holder] >= own
        });
        let longest = waiting.max_by_key(|(_, it)| (held[&it.holder], Reverse(it.since)));
        let share = MAX_PLACES / (held.len() + usize::from(own == 0));
        let above_share = rivals().filter(|(_, it)| own < share && held[&it.holder] > share);
        let last = || above_share.max_by_key(|(_, it)| (held[&it.holder], it.since));
        longest.or_else(last).map(|(number, _)| *number)
    }
}

impl Place {
    /// Whose share it counts for.
    pub(super) const fn holder(&self) -> Holder {
        self.holder
    }

    /// Which places it is one of.
    pub(super) fn class(&self) -> Class {
        let taken = self.places.0.taken.lock();
        let entry = taken.places.get(&self.number);
        entry.map_or(Class::Guest, |entry| entry.class)
    }

    /// Makes a member of its holder, who has sent a key. False where all members are at work.
    pub(super) fn promote(&self) -> bool {
        let mut taken = self.places.0.taken.lock();
        match taken.places.get(&self.number).map(|it| it.class) {
            Some(Class::Member) => return true,
            Some(Class::Guest) => {}
            None => return false,
        }
        if taken
            .make_room(self.holder, Class::Member, Duration::ZERO)
            .is_none()
        {
            return false;
        }
        if let Some(entry) = taken.places.get_mut(&self.number) {
            entry.class = Class::Member;
        }
        true
    }

    /// Protects the place until what is returned is dropped, for the answer is complete, and it is
    /// [sent](Self::sent).
    pub(super) fn answering(self: &Arc<Self>) -> Answering {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.count(|busy| busy + 1);
        Answering(Arc::clone(self))
    }

    /// Whether an answer is not complete.
    pub(super) fn is_answering(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }

    /// All that was complete has been sent.
    pub(super) fn sent(&self) {
        match self.complete.swap(0, Ordering::Relaxed) {
            0 => {}
            answers => self.count(|busy| busy.saturating_sub(answers)),
        }
    }

    /// Ends when another has got the place.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    fn count(&self, change: impl FnOnce(usize) -> usize) {
        let mut taken = self.places.0.taken.lock();
        let since = taken.event();
        if let Some(entry) = taken.places.get_mut(&self.number) {
            entry.busy = change(entry.busy);
            entry.since = since;
            entry.at = Instant::now();
        }
        drop(taken);
        self.places.0.changed.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.0.taken.lock().places.remove(&self.number);
        self.places.0.changed.notify_one();
    }
}

/// An answer that goes on.
pub(super) struct Answering(Arc<Place>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
        self.0.complete.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, net::IpAddr, pin::pin, sync::Arc, task::Context, task::Waker};

    use super::{Class, Holder, MAX_PLACES, Place, Places};

    fn fill(places: &Places, holder: Holder, class: Class) -> Vec<Arc<Place>> {
        let enter = || places.enter(holder, class).map(Arc::new);
        std::iter::repeat_with(enter)
            .take(MAX_PLACES)
            .map(|place| place.expect("a place"))
            .collect()
    }

    fn is_evicted(place: &Place) -> bool {
        let evicted = pin!(place.evicted());
        let mut context = Context::from_waker(Waker::noop());
        evicted.poll(&mut context).is_ready()
    }

    #[test]
    fn who_holds_the_most_makes_room_with_its_oldest() {
        let places = Places::default();
        let greedy = fill(&places, Holder::User(1), Class::Guest);
        let other = places.enter(Holder::User(2), Class::Guest).expect("room");
        assert!(is_evicted(&greedy[0]));
        // Again and again, it only replaces its own.
        for _ in 0..2 * MAX_PLACES {
            places.enter(Holder::User(1), Class::Guest).expect("room");
        }
        assert!(!is_evicted(&other));
    }

    #[test]
    fn answers_go_on_unless_another_has_less_than_its_share() {
        let places = Places::default();
        let greedy = fill(&places, Holder::User(1), Class::Guest);
        let answers: Vec<_> = greedy.iter().map(Place::answering).collect();
        assert!(greedy.iter().all(|place| place.is_answering()));
        assert!(places.enter(Holder::User(1), Class::Guest).is_none());
        let other = places.enter(Holder::User(2), Class::Guest).expect("room");
        let last = greedy.last().expect("many");
        assert!(is_evicted(last), "the last one that came");
        assert!(!is_evicted(&greedy[0]) && !is_evicted(&other));
        drop(answers);
        assert!(!greedy[0].is_answering());
        assert!(places.enter(Holder::User(1), Class::Guest).is_none());
        greedy[0].sent();
        assert!(places.enter(Holder::User(1), Class::Guest).is_some());
        assert!(is_evicted(&greedy[0]), "nothing of its answer is left");
    }

    /// Those of root that have just come are not cut off; the newcomer waits.
    #[test]
    fn root_has_time_to_send_its_requests() {
        let places = Places::default();
        let root = fill(&places, Holder::User(0), Class::Member);
        assert!(places.enter(Holder::User(0), Class::Member).is_none());
        assert!(!is_evicted(&root[0]));
    }

    #[test]
    fn guests_leave_members_their_places() {
        let places = Places::default();
        let root = places.enter(Holder::User(0), Class::Member).expect("room");
        let known = places.enter(Holder::User(2), Class::Guest).expect("room");
        assert!(known.promote());
        let guests = fill(&places, Holder::User(1), Class::Guest);
        fill(&places, Holder::User(1), Class::Guest);
        assert!(is_evicted(&guests[0]));
        assert!(!is_evicted(&root) && !is_evicted(&known));
        assert!(!guests[0].promote(), "its place is gone");
    }

    #[test]
    fn addresses_that_one_client_has_at_will_are_one_holder() {
        let holder = |addr: &str| Holder::of_address(addr.parse::<IpAddr>().expect("an address"));
        assert_eq!(holder("127.0.0.1"), holder("127.9.9.9"));
        assert_eq!(holder("127.0.0.1"), holder("::1"));
        assert_eq!(holder("::ffff:192.0.2.1"), holder("192.0.2.1"));
        assert_eq!(holder("fd00::1"), holder("fd00::ffff:1"));
        assert_ne!(holder("fd00::1"), holder("fd00:0:0:1::1"));
        assert_ne!(holder("192.0.2.1"), holder("192.0.2.2"));
    }
}
