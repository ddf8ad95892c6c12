//! Names of addresses, from the resolver of the host, for those who ask for them.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use probe_flow::text::printable;

/// Names that are asked for at a time.
const THREADS: usize = 16;

/// How long answers may take, all together: what has no name by then is shown as the address.
const PATIENCE: Duration = Duration::from_secs(2);

/// The names of those addresses that have one. Threads whose answers come too late are left behind:
/// the process is about to end.
pub(super) fn names(addresses: impl IntoIterator<Item = IpAddr>) -> HashMap<IpAddr, String> {
    let addresses: BTreeSet<_> = addresses.into_iter().collect();
    let expected = addresses.len();
    let queue = Arc::new(Mutex::new(addresses));
    let (answers, answered) = mpsc::channel();
    for _ in 0..THREADS.min(expected) {
        let (queue, answers) = (queue.clone(), answers.clone());
        thread::spawn(move || {
            loop {
                let next = queue.lock().pop_first();
                let Some(address) = next else { return };
                let name = dns_lookup::lookup_addr(&address).ok();
                if answers.send((address, name)).is_err() {
                    return;
                }
            }
        });
    }
    drop(answers);
    let deadline = Instant::now() + PATIENCE;
    let mut names = HashMap::new();
    for _ in 0..expected {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok((address, name)) = answered.recv_timeout(left) else {
            break;
        };
        // Without a name the address itself is the answer. And a name may hold anything.
        if let Some(name) = name.filter(|name| name.parse::<IpAddr>().is_err()) {
            names.insert(address, printable(&name));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn the_loopback_has_a_name_and_documentation_has_none() {
        let loopback = "127.0.0.1".parse().expect("an address");
        let nobody = "192.0.2.1".parse().expect("an address");
        let names = names([loopback, nobody, loopback]);
        assert_eq!(names.get(&loopback).map(String::as_str), Some("localhost"));
        assert_eq!(names.get(&nobody), None);
    }
}
