//! The running interval of a real agent, merged with what it has stored: nothing twice, nothing missing.
//!
//! `cargo xtask ci query` builds the agent and names it. By hand:
//! `CARGO_BIN_EXE_probe-agent=$PWD/target/debug/probe-agent cargo test --test live`, as root.

use std::{
    net::{IpAddr, UdpSocket},
    path::Path,
    process::{Command, Output},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Instant,
};

use probe_testkit::{
    agent::{Agent, Installation},
    eventually::{PATIENCE, eventually},
    netns::Namespace,
    skip,
    testbed::{HOST_V4, LINK, Offloads, PEER_V4, Testbed},
};
use rustix::process::Signal;
use serde_json::Value;

/// Long enough that only the test rotates.
const NEVER: &str = "1h";
/// IPv4 and UDP.
const HEADERS: u64 = 28;

/// Whether there are an agent, privileges and tools.
#[track_caller]
fn can_run() -> bool {
    let remedy = "`cargo build -p probe-agent` in the root of the repository makes the agent";
    skip::kernel_or_skip(&["ip", "ethtool"])
        && skip::file_or_skip("CARGO_BIN_EXE_probe-agent", remedy).is_some()
}

/// Datagrams between both ends, each awaited: all that were sent have passed.
struct Traffic {
    client: UdpSocket,
    server: UdpSocket,
    packets: u64,
    bytes: u64,
}

impl Traffic {
    fn new(testbed: &Testbed) -> Self {
        let bind = |namespace: &Namespace, address: IpAddr, port: u16| {
            namespace.enter(|| UdpSocket::bind((address, port)).expect("a free port"))
        };
        let client = bind(&testbed.peer, PEER_V4, 40_000);
        let server = bind(&testbed.host, HOST_V4, 7000);
        client.connect((HOST_V4, 7000)).expect("connected");
        server.connect((PEER_V4, 40_000)).expect("connected");
        for socket in [&client, &server] {
            socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        }
        Self {
            client,
            server,
            packets: 0,
            bytes: 0,
        }
    }

    fn talk(&mut self, datagrams: u64) {
        let mut datagram = [0x5a; 400];
        for _ in 0..datagrams {
            self.client.send(&datagram[..300]).expect("sent");
            self.server.recv(&mut datagram).expect("received");
            self.server.send(&datagram[..100]).expect("sent");
            self.client.recv(&mut datagram).expect("received");
            self.packets += 2;
            self.bytes += 400 + 2 * HEADERS;
        }
    }
}

/// Asks the store of an agent.
fn ask(agent: &Agent, store: &Path, words: &[&str]) -> Output {
    let socket = agent.installation().path().join("probe.sock");
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe-query"));
    command
        .arg("--store")
        .arg(store)
        .arg("--socket")
        .arg(socket);
    command.args(words).output().expect("it runs")
}

#[track_caller]
fn json(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// The traffic of the test in an answer: packets and bytes of both directions.
#[track_caller]
fn sums(answer: &Value) -> (u64, u64) {
    let of = |name: &str| answer["totals"][name].as_u64().expect("a sum");
    (of("packets"), of("bytes"))
}

const BY_PROTOCOL: &[&str] = &[
    "--since",
    "all",
    "--by",
    "iface,proto",
    "--sum",
    "--format",
    "json",
    "udp",
    "port",
    "7000",
];

#[test]
fn every_answer_is_what_was_sent_while_intervals_end() {
    if !can_run() {
        return;
    }
    let rounds = std::env::var("PROBE_LIVE_ROUNDS").map_or(20, |it| it.parse().expect("a number"));
    let testbed = Testbed::new(Offloads::Off);
    let installation = Installation::new(&format!("{{ {LINK}: {{}} }}"), NEVER);
    let agent = installation.start(&testbed.host);
    let store = installation.parquet();
    let mut traffic = Traffic::new(&testbed);

    // Nothing is stored yet.
    traffic.talk(10);
    let answer = json(&ask(&agent, &store, BY_PROTOCOL));
    assert_eq!(sums(&answer), (traffic.packets, traffic.bytes));
    let report = &answer["completeness"];
    assert_eq!(report["live"]["state"], "merged", "{report}");
    assert_eq!(report["stored_until"], Value::Null, "{report}");

    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !has_ended.load(Relaxed) {
                for _ in 0..3 {
                    agent.try_rotate().expect("rotated");
                }
                // Else the sinks would fall behind for ever.
                eventually("the sinks have written", || {
                    is_written(&agent).then_some(())
                });
            }
        });
        // Else a failure would wait for the rotations for ever.
        let _end = End(&has_ended);
        for round in 0..rounds {
            traffic.talk(5);
            let answer = json(&ask(&agent, &store, BY_PROTOCOL));
            let found = sums(&answer);
            assert_eq!(
                found,
                (traffic.packets, traffic.bytes),
                "{round}: {answer:#}"
            );
            let report = &answer["completeness"];
            assert_eq!(
                report["live"]["unwritten"],
                Value::Array(vec![]),
                "{report}"
            );
            assert_eq!(report["complete"], true, "{report}");
        }
    });
    let ledgers = "SELECT count(*) AS n, sum(CAST(running AS INT)) AS running, sum(missed) AS missed FROM ledgers";
    let answer = json(&ask(
        &agent,
        &store,
        &["--sql", ledgers, "--format", "json"],
    ));
    let row = &answer["rows"][0];
    assert!(row["n"].as_u64() > Some(rounds), "{row}");
    assert_eq!((&row["running"], &row["missed"]), (&1.into(), &0.into()));
    assert!(agent.terminate().success(), "the agent's exit code");
}

/// Ends the rotations, also where the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn is_written(agent: &Agent) -> bool {
    let answer = agent
        .request("/api/v1/interval?limit=0")
        .expect("an answer");
    !answer.contains("\"unwritten\":[{")
}

#[test]
fn what_waits_for_its_sink_is_told_and_what_is_not_asked_is_left_out() {
    if !can_run() {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let installation = Installation::new(&format!("{{ {LINK}: {{}} }}"), NEVER);
    let agent = installation.start(&testbed.host);
    let store = installation.parquet();
    let mut traffic = Traffic::new(&testbed);
    // A file in the place of a directory: the sink tries again and again.
    let place = store.join(format!("iface={LINK}"));
    std::fs::write(&place, "").expect("written");
    traffic.talk(3);
    agent.try_rotate().expect("rotated");
    traffic.talk(2);
    let answer = json(&ask(&agent, &store, BY_PROTOCOL));
    assert_eq!(answer["totals"]["packets"], 4, "what runs");
    let report = &answer["completeness"];
    assert_eq!(report["complete"], false);
    assert_eq!(report["live"]["unwritten"][0]["iface"], LINK, "{report}");
    assert_eq!(report["outages"], Value::Array(vec![]), "it is no hole");
    let output = ask(&agent, &store, &["--strict", "--since", "all"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("has ended and waits to be stored"), "{said}");

    std::fs::remove_file(&place).expect("removed");
    eventually("the sink has written", || is_written(&agent).then_some(()));
    let answer = json(&ask(&agent, &store, BY_PROTOCOL));
    assert_eq!(sums(&answer), (traffic.packets, traffic.bytes));
    let stored = json(&ask(
        &agent,
        &store,
        &[BY_PROTOCOL, &["--no-live"]].concat(),
    ));
    assert_eq!(stored["totals"]["packets"], 6);
    assert_eq!(stored["completeness"]["live"]["state"], "not_asked");
    let since = ["--until", "-1s"];
    let past = json(&ask(&agent, &store, &[BY_PROTOCOL, &since].concat()));
    assert_eq!(past["completeness"]["live"]["state"], "not_asked");
}

#[test]
fn an_agent_that_hangs_or_stores_elsewhere_keeps_no_answer_back() {
    if !can_run() {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let installation = Installation::new(&format!("{{ {LINK}: {{}} }}"), NEVER);
    let agent = installation.start(&testbed.host);
    let store = installation.parquet();
    let mut traffic = Traffic::new(&testbed);
    traffic.talk(3);
    agent.try_rotate().expect("rotated");
    eventually("the sinks have written", || {
        is_written(&agent).then_some(())
    });
    traffic.talk(1);

    let copy = installation.path().join("copy");
    let link = installation.path().join("link");
    probe_testkit::run(Command::new("cp").arg("-a").arg(&store).arg(&copy));
    std::os::unix::fs::symlink(&store, &link).expect("linked");
    let answer = json(&ask(&agent, &copy, BY_PROTOCOL));
    assert_eq!(answer["completeness"]["live"]["state"], "of_another_store");
    assert_eq!(answer["totals"]["packets"], 6);
    let answer = json(&ask(&agent, &link, BY_PROTOCOL));
    assert_eq!(
        sums(&answer),
        (traffic.packets, traffic.bytes),
        "by another path"
    );

    agent.signal(Signal::STOP);
    let begin = Instant::now();
    let hung = ask(&agent, &store, BY_PROTOCOL);
    let took = begin.elapsed();
    agent.signal(Signal::CONT);
    let answer = json(&hung);
    assert_eq!(answer["totals"]["packets"], 6, "what is stored");
    let live = &answer["completeness"]["live"];
    assert_eq!(live["state"], "refused");
    let why = live["why"].as_str().expect("a sentence");
    assert!(why.contains("has not answered within"), "{why}");
    assert!(took < PATIENCE, "{took:?}");

    let socket = installation.path().join("none.sock");
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe-query"));
    command
        .arg("--store")
        .arg(&store)
        .arg("--socket")
        .arg(socket);
    let answer = json(&command.args(BY_PROTOCOL).output().expect("it runs"));
    assert_eq!(answer["completeness"]["live"]["state"], "not_running");
    assert_eq!(answer["totals"]["packets"], 6);
}
