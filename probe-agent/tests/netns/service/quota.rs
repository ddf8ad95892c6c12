//! An agent that hardly gets any CPU time: it is slow, and not dead.

use std::{
    os::unix::net::UnixDatagram,
    path::Path,
    time::{Duration, Instant},
};

use probe_api::{client::Client, endpoint::Endpoint};

use crate::{
    agent::{Installation, built_binary},
    cgroup::Cgroup,
    flood::frames,
    sender::Sender,
    skip,
    testbed::{LINK, Offloads, Testbed},
};

/// What the unit has as `WatchdogSec=`.
const WATCHDOG: Duration = Duration::from_secs(30);

/// Flows that are written meanwhile: some seconds of CPU time.
const FLOWS: u32 = 300_000;

/// How long all of it may take.
const LIMIT: Duration = Duration::from_mins(2);

/// A service manager, as far as its watchdog goes.
struct Manager {
    notifications: UnixDatagram,
    limit: Duration,
    fed: Instant,
}

impl Manager {
    fn new(socket: &Path) -> Self {
        let notifications = UnixDatagram::bind(socket).expect("a socket");
        notifications
            .set_read_timeout(Some(Duration::from_secs(1)))
            .expect("a timeout");
        Self {
            notifications,
            limit: WATCHDOG,
            fed: Instant::now(),
        }
    }

    /// Takes messages until this line comes. Panics where the agent would be ended.
    #[track_caller]
    fn wait_for(&mut self, wanted: &str) {
        let begin = Instant::now();
        loop {
            assert!(begin.elapsed() < LIMIT, "no {wanted}");
            let mut buffer = [0; 4096];
            let length = self.notifications.recv(&mut buffer).unwrap_or_default();
            let told = String::from_utf8_lossy(&buffer[..length]).into_owned();
            for line in told.lines() {
                if let Some(limit) = line.strip_prefix("WATCHDOG_USEC=") {
                    self.limit = Duration::from_micros(limit.parse().expect("a number"));
                }
                if line.starts_with("WATCHDOG") || line == "READY=1" {
                    self.fed = Instant::now();
                }
            }
            let silent = self.fed.elapsed();
            assert!(silent < self.limit, "the watchdog bites after {silent:?}");
            if told.lines().any(|line| line == wanted) {
                return;
            }
        }
    }
}

#[test]
fn an_agent_with_little_cpu_time_is_not_taken_for_a_dead_one() {
    if !skip::kernel_or_skip(&["ip", "ethtool", "env"]) {
        return;
    }
    // 3 ms of CPU time in 100 ms.
    let Some(quota) = Cgroup::with_cpu_time(3000, 100_000) else {
        skip::not_in_this_kernel("a cgroup with a quota of CPU time");
        return;
    };
    let testbed = Testbed::new(Offloads::On);
    let installation = Installation::new(&format!("{{ {LINK}: {{}} }}"), "1d");
    let socket = installation.path().join("notify");
    let mut manager = Manager::new(&socket);
    let wrapper = [
        "env".to_owned(),
        format!("NOTIFY_SOCKET={}", socket.display()),
        "WATCHDOG_USEC=30000000".to_owned(),
    ];
    let wrapper = wrapper.each_ref().map(String::as_str);
    let agent = installation.spawn(&testbed.host, &wrapper, &built_binary());
    manager.wait_for("READY=1");
    let frames = frames(0..FLOWS);
    let sent = Sender::start(&testbed, &frames, 1, Duration::ZERO).finish(LIMIT);
    assert!(sent.refused.is_empty(), "{sent:?}");
    manager.wait_for("WATCHDOG=1");

    // The sinks have much to write, and the drain thread to read.
    let api = Endpoint::Unix(installation.path().join("probe.sock"));
    let client = Client::new(api, None).expect("a client");
    client.rotate().expect("a rotation");
    quota.add(agent.id());
    let flood = Sender::start(&testbed, &frames, u64::MAX, Duration::ZERO);
    manager.wait_for("WATCHDOG_USEC=120000000");
    flood.stop();
    manager.wait_for("WATCHDOG_USEC=30000000");
    // A thread of its own writes the log, and has as little time.
    for told in ["hardly gets CPU time", "the agent answers again"] {
        installation.log_that_says(told);
    }
}
