//! How many of something each client may have at a time, and all of them together.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::places::Holder;

/// Counts what each holder has.
#[derive(Clone)]
pub(super) struct Shares {
    each: usize,
    all: usize,
    taken: Arc<Mutex<HashMap<Holder, usize>>>,
}

/// One that is taken, given back on drop.
pub(super) struct Share {
    holder: Holder,
    taken: Arc<Mutex<HashMap<Holder, usize>>>,
}

impl Shares {
    /// So many for each holder, and for all.
    pub(super) fn new(each: usize, all: usize) -> Self {
        Self {
            each,
            all,
            taken: Arc::default(),
        }
    }

    /// One more; none where the holder has its share, or all are taken.
    pub(super) fn take(&self, holder: Holder) -> Option<Share> {
        let mut taken = self.taken.lock();
        let own = taken.get(&holder).copied().unwrap_or_default();
        if own >= self.each || taken.values().sum::<usize>() >= self.all {
            return None;
        }
        taken.insert(holder, own + 1);
        Some(Share {
            holder,
            taken: Arc::clone(&self.taken),
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        match taken.get_mut(&self.holder) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                taken.remove(&self.holder);
            }
        }
    }
}

/// Memory for answers, in units: a share of it for each holder. Who waits is served in turn.
#[derive(Clone)]
pub(super) struct Budget {
    each: usize,
    all: Arc<Semaphore>,
    of_holder: Arc<Mutex<HashMap<Holder, Weak<Semaphore>>>>,
}

/// Memory that an answer takes, given back on drop.
pub(super) struct Memory {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl Budget {
    /// So many units for each holder, and for all.
    pub(super) fn new(each: usize, all: usize) -> Self {
        Self {
            each,
            all: Arc::new(Semaphore::new(all)),
            of_holder: Arc::default(),
        }
    }

    /// Waits for so many units: no more than one holder may have.
    pub(super) async fn take(&self, holder: Holder, units: u32) -> Result<Memory, AcquireError> {
        // Its own first: who has much does not keep others from what all have.
        let own = self.of(holder).acquire_many_owned(units).await?;
        let all = Arc::clone(&self.all).acquire_many_owned(units).await?;
        Ok(Memory {
            _all: all,
            _own: own,
        })
    }

    fn of(&self, holder: Holder) -> Arc<Semaphore> {
        let mut known = self.of_holder.lock();
        if let Some(own) = known.get(&holder).and_then(Weak::upgrade) {
            return own;
        }
        known.retain(|_, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(self.each));
        known.insert(holder, Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::{Budget, Shares};
    use crate::places::Holder;

    const ONE: Holder = Holder::User(1);
    const OTHER: Holder = Holder::User(2);

    #[test]
    fn each_has_its_share_and_gives_it_back() {
        let shares = Shares::new(2, 3);
        let first = shares.take(ONE).expect("free");
        let _second = shares.take(ONE).expect("free");
        assert!(shares.take(ONE).is_none());
        let third = shares.take(OTHER).expect("free");
        assert!(shares.take(OTHER).is_none(), "all are taken");
        drop((first, third));
        assert!(shares.take(ONE).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_its_own_memory_holds_up_nobody() {
        let budget = Budget::new(2, 3);
        let wait = Duration::from_secs(1);
        let first = budget.take(ONE, 2).await.expect("open");
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.take(ONE, 2).await.is_ok() }
        });
        let other = timeout(wait, budget.take(OTHER, 1)).await;
        let other = other.expect("it has its own").expect("open");
        assert!(!waiting.is_finished());
        drop((first, other));
        assert!(waiting.await.expect("it ends"));
    }
}
