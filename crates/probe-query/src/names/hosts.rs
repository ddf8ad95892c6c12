//! Names of addresses.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use datafusion::arrow::{
    array::{Array, ArrayRef, AsArray, StringArray},
    compute::cast,
    datatypes::DataType,
};

/// Names that are asked for at a time.
const THREADS: usize = 16;

/// How long answers may take, all together: what has no name by then has none.
const PATIENCE: Duration = Duration::from_secs(5);

/// The names that are known, and the time that is left to ask.
#[derive(Debug)]
pub(super) struct Hosts {
    known: HashMap<IpAddr, Option<String>>,
    left: Duration,
}

impl Default for Hosts {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            left: PATIENCE,
        }
    }
}

impl Hosts {
    /// The name of each address of a column of texts.
    pub(super) fn names(&mut self, column: &ArrayRef) -> ArrayRef {
        let texts = cast(column, &DataType::Utf8).ok();
        let texts = texts
            .as_ref()
            .and_then(|texts| texts.as_string_opt::<i32>());
        let rows: Vec<Option<IpAddr>> = texts.map_or_else(
            || vec![None; column.len()],
            |texts| texts.iter().map(|text| text?.parse().ok()).collect(),
        );
        let new = rows.iter().flatten().copied();
        self.ask(new.filter(|it| !self.known.contains_key(it)).collect());
        let names = rows.iter().map(|it| self.known.get(&(*it)?)?.as_deref());
        Arc::new(names.collect::<StringArray>())
    }

    /// Threads whose answers come too late are left behind: the process ends soon.
    fn ask(&mut self, addresses: BTreeSet<IpAddr>) {
        let expected = addresses.len();
        let begin = Instant::now();
        let deadline = begin + self.left;
        let queue = Arc::new(Mutex::new(addresses));
        let (answers, answered) = mpsc::channel();
        for _ in 0..THREADS.min(expected) {
            let (queue, answers) = (Arc::clone(&queue), answers.clone());
            thread::spawn(move || {
                while Instant::now() < deadline {
                    let mut addresses = queue.lock().unwrap_or_else(PoisonError::into_inner);
                    let next = addresses.pop_first();
                    drop(addresses);
                    let Some(address) = next else { return };
                    let name = dns_lookup::lookup_addr(&address).ok();
                    if answers.send((address, name)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(answers);
        for _ in 0..expected {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((address, name)) = answered.recv_timeout(left) else {
                break;
            };
            // Without a name the address itself is the answer. And a name may hold anything.
            let name = name.filter(|name| name.parse::<IpAddr>().is_err());
            let name = name.map(|name| probe_flow::text::printable(&name));
            self.known.insert(address, name);
        }
        self.left = self.left.saturating_sub(begin.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringViewArray};

    use super::Hosts;

    #[test]
    fn the_loopback_has_a_name_and_documentation_has_none() {
        let addresses = StringViewArray::from(vec!["127.0.0.1", "192.0.2.1", "no address"]);
        let mut hosts = Hosts::default();
        let names = hosts.names(&(Arc::new(addresses) as ArrayRef));
        let names = names.as_string::<i32>();
        assert_eq!(names.value(0), "localhost");
        assert!(names.is_null(1) && names.is_null(2));
    }

    #[test]
    fn no_question_is_asked_when_the_time_is_over() {
        let addresses = StringViewArray::from(vec!["127.0.0.1"]);
        let mut hosts = Hosts {
            left: std::time::Duration::ZERO,
            ..Hosts::default()
        };
        let names = hosts.names(&(Arc::new(addresses) as ArrayRef));
        assert!(names.is_null(0));
    }
}
