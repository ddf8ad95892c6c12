//! What captures that are closed have counted: a link that comes again counts on.

use std::{collections::BTreeMap, sync::Arc};

use super::MAX_INTERFACES;
use crate::capture::History;

/// Counts of closed captures by interface. Hosts that make a link for every container would fill the memory with
/// names, so only those that were closed last are kept.
#[derive(Debug, Default)]
pub(super) struct Closed {
    /// With the number of the closing.
    by_name: BTreeMap<Arc<str>, (u64, History)>,
    closings: u64,
}

impl Closed {
    pub(super) fn insert(&mut self, iface: Arc<str>, history: &History) {
        self.closings += 1;
        self.by_name.insert(iface, (self.closings, *history));
        if self.by_name.len() > MAX_INTERFACES {
            let oldest = self.by_name.iter().min_by_key(|(_, (closing, _))| *closing);
            if let Some(name) = oldest.map(|(name, _)| Arc::clone(name)) {
                self.by_name.remove(&name);
            }
        }
    }

    pub(super) fn remove(&mut self, iface: &str) -> Option<History> {
        self.by_name.remove(iface).map(|(_, history)| history)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &History)> {
        self.by_name
            .iter()
            .map(|(name, (_, history))| (name, history))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{Closed, History, MAX_INTERFACES};

    fn history() -> History {
        History::new(Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_counts_that_were_closed_last_are_kept_whatever_the_names() {
        let mut closed = Closed::default();
        closed.insert("a".into(), &history());
        for number in 1..MAX_INTERFACES {
            closed.insert(format!("ifb{number}").into(), &history());
        }
        // Closed again, it is the last, and needs no place of another.
        let again = closed.remove("a").unwrap();
        closed.insert("a".into(), &again);
        assert_eq!(closed.iter().count(), MAX_INTERFACES);
        closed.insert("z".into(), &history());
        assert_eq!(closed.iter().count(), MAX_INTERFACES);
        assert!(closed.remove("a").is_some() && closed.remove("z").is_some());
        assert!(
            closed.remove("ifb1").is_none(),
            "the one closed longest ago"
        );
        assert!(closed.remove("ifb2").is_some());
    }
}
