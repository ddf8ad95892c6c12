//! Clients of the API and of the metrics that do their worst, in a memory cgroup: the agent lives, its
//! memory stays bounded, and an honest client is answered all the time.
//!
//! `tests/api/attack.rs` does the same to the API alone, by a user of the unix socket, who also takes
//! large answers slowly.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use super::{
    agent::{Installation, built_binary},
    cgroup::{Cgroup, WAITING},
    eventually,
    flood::frames,
    process::{Process, status_kib},
    sender::Sender,
    skip,
    testbed::{HOST_V4, LINK, Offloads, Testbed},
};

/// Memory of the agent's cgroup, that of its maps included: a quarter of what the unit has as
/// `MemoryMax=`.
const GROUP: u64 = 512 << 20;

/// The most that may be resident of the process at any time. 50 MiB are its own and the flows'. A
/// document of the largest size takes 120 MiB while it is read, one at a time, and the allocator keeps
/// about as much.
const PEAK_KIB: u64 = 384 << 10;

/// Flows that the attackers' filters are run over.
const FLOWS: u32 = 20_000;

/// How long each attack lasts at least.
const ATTACK: Duration = Duration::from_secs(5);

/// How long one may last until every kind of it was tried.
const LIMIT: Duration = Duration::from_mins(2);

/// The longest that the honest client waits for an answer, on a machine with other work.
const PATIENCE: Duration = Duration::from_secs(8);

/// Attackers of each kind at a time.
const ATTACKERS: usize = 24;

/// Connections that say nothing, at each address.
const SILENT: usize = 200;

const API: u16 = 9999;
const METRICS: u16 = 9478;

const READ: &str = "read-0123456789abcdef0123456789abcdef";
const ADMIN: &str = "admin-0123456789abcdef0123456789abcdef";

/// What the honest client asks for.
const HONEST: [(u16, &str); 3] = [
    (API, "/api/v1/status"),
    (API, "/api/v1/flows?limit=10&filter=udp"),
    (METRICS, "/metrics"),
];

/// The status of an answer. Requests that are never answered end with an error.
fn ask(port: u16, key: &str, line: &str, body: &str) -> std::io::Result<String> {
    let mut stream = connect(port)?;
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nHost: {HOST_V4}\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// Whether the agent has read a request of an attacker, who may also have to give way.
fn is_decided(line: &str, status: &std::io::Result<String>) -> bool {
    let Ok(status) = status else { return false };
    let is = |codes: &[&str]| codes.iter().any(|code| status.contains(code));
    let is_decided = is(&[" 200 ", " 400 ", " 422 "]);
    // Of reloads there is one at a time.
    let gives_way = status.is_empty() || is(&[" 409 ", " 503 "]);
    assert!(is_decided || gives_way, "{line:.60}: {status}");
    is_decided
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    let addr = SocketAddr::new(HOST_V4, port);
    let stream = TcpStream::connect_timeout(&addr, Duration::from_secs(30))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

/// As a client writes it into a target.
fn escaped(filter: &str) -> String {
    let octet = |octet: u8| match octet {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(octet).to_string(),
        octet => format!("%{octet:02X}"),
    };
    filter.bytes().map(octet).collect()
}

/// Queries of flows whose regexes are large, nested or many.
fn filters() -> Vec<String> {
    let filters = [
        format!("iface {}", vec![r"/\w{99}/"; 450].join(",")),
        format!(
            "iface {}",
            vec![r"/(((\w{9}){9}){9}){9}/"; 450].join(" or iface ")
        ),
        "iface /(((((a{100}){100}){100}){100}){100})/".to_owned(),
        format!("iface /{}a{}/", "(".repeat(200), "){9}".repeat(200)),
        format!("iface {}", vec![r"/\w{2}x/"; 16].join(",")),
        "not(".repeat(1000),
    ];
    let target = |filter: &String| format!("GET /api/v1/flows?filter={}", escaped(filter));
    filters.iter().map(target).collect()
}

/// Configurations that would be gigabytes, or minutes, and the start of a refusal. None is applied.
fn documents() -> Vec<String> {
    let levels = (1..9).map(|level| {
        let alias = vec![format!("*a{}", level - 1); 10].join(",");
        format!("a{level}: &a{level} [{alias}]\n")
    });
    let levels: String = levels.collect();
    let long = "x".repeat(120 << 10);
    let regexes = |regex: &str| {
        let rules = (0..1024).map(|number| format!("  \"/{regex}{number}/\": {{}}\n"));
        format!("interfaces:\n{}", rules.collect::<String>())
    };
    vec![
        format!("a0: &a0 [{}]\n{levels}", ["x"; 10].join(",")),
        format!("a: &a {long}\nb: [{}]\n", vec!["*a"; 40_000].join(",")),
        format!("interfaces: {}", "[".repeat(240 << 10)),
        format!("interfaces: {}", "[".repeat(120)),
        "- ".repeat(120 << 10),
        // The largest, of what takes the YAML library most memory for an octet.
        "? ".repeat((256 << 10) - 1),
        "{a: ".repeat(60 << 10),
        regexes(r"\\w{99}"),
        regexes(r"(((a{99}){99}){99}){99}"),
        regexes("x"),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// By a client with a key that may read.
    Filters,
    /// By one with a key that may do all: it could end the agent otherwise, but not by accident.
    Documents,
    /// By clients without a key.
    Silence,
}

/// Works for as long as the attack goes on.
struct Attack<'a> {
    testbed: &'a Testbed,
    goes_on: AtomicBool,
    /// Requests that the agent had to read and to decide on, and silent connections.
    done: AtomicUsize,
}

impl Attack<'_> {
    fn go_on(&self, kind: Kind) {
        match kind {
            Kind::Filters => self.filters(),
            Kind::Documents => self.documents(),
            Kind::Silence => self.silent(),
        }
    }

    /// Runs on so many threads in the peer's namespace.
    fn run(&self, threads: usize, work: impl Fn(usize) + Sync) {
        let work = &work;
        thread::scope(|scope| {
            for number in 0..threads {
                scope.spawn(move || {
                    self.testbed.peer.move_in().expect("the peer's namespace");
                    while self.goes_on.load(Relaxed) {
                        work(number);
                    }
                });
            }
        });
    }

    /// One request after the other of the list, each again until the agent has decided on it.
    fn ask(&self, requests: &[(String, String)], key: &str) {
        let next = AtomicUsize::new(0);
        self.run(ATTACKERS, |_| {
            let (line, body) = &requests[next.fetch_add(1, Relaxed) % requests.len()];
            while self.goes_on.load(Relaxed) && !is_decided(line, &ask(API, key, line, body)) {
                thread::sleep(Duration::from_millis(10));
            }
            self.done.fetch_add(1, Relaxed);
        });
    }

    fn filters(&self) {
        let requests: Vec<_> = filters()
            .into_iter()
            .map(|it| (it, String::new()))
            .collect();
        self.ask(&requests, READ);
    }

    fn documents(&self) {
        let line = "PUT /api/v1/config?dry_run=true";
        let requests = documents().into_iter().map(|it| (line.to_owned(), it));
        self.ask(&requests.collect::<Vec<_>>(), ADMIN);
    }

    /// Connections that say nothing, or half of a request, and come again when they are ended.
    fn silent(&self) {
        self.run(8, |number| {
            let port = if number % 2 == 0 { API } else { METRICS };
            let mut held = Vec::new();
            while held.len() < SILENT / 4 && self.goes_on.load(Relaxed) {
                let Ok(mut stream) = connect(port) else {
                    continue;
                };
                if number > 3 {
                    // It may have been ended already.
                    let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: ");
                }
                held.push(stream);
                self.done.fetch_add(1, Relaxed);
                thread::sleep(Duration::from_millis(2));
            }
        });
    }
}

/// Asks until the attack has lasted and every kind of it was tried; how often, and how long it waited
/// at most.
fn honest_client(attacks: &AtomicUsize) -> (usize, Duration) {
    let begin = Instant::now();
    let (mut answers, mut slowest) = (0, Duration::ZERO);
    while begin.elapsed() < ATTACK || attacks.load(Relaxed) < ATTACKERS {
        for (port, path) in HONEST {
            let asked = Instant::now();
            let status = ask(port, READ, &format!("GET {path}"), "");
            let status = status.unwrap_or_else(|error| panic!("{path}: {error}"));
            let took = asked.elapsed();
            assert!(
                status.starts_with("HTTP/1.1 200"),
                "{path}: `{status}` after {took:?}"
            );
            slowest = took.max(slowest);
            answers += 1;
        }
        assert!(begin.elapsed() < LIMIT, "the attackers make no progress");
    }
    (answers, slowest)
}

fn peak_kib(agent: &Process) -> u64 {
    status_kib(agent.id(), "VmHWM").expect("a living agent")
}

fn start(testbed: &Testbed, group: &Cgroup) -> (Installation, Process) {
    let installation = Installation::empty();
    let folder = installation.path().display();
    installation.configure(&format!(
        "interfaces: {{ {LINK}: {{}} }}\n\
         rotation: {{ interval: 1d }}\n\
         writeout: [{{ type: json, path: {folder}/json }}]\n\
         api:\n  addr: \"{HOST_V4}:{API}\"\n  metrics_addr: \"{HOST_V4}:{METRICS}\"\n  keys:\n  \
         - {{ role: read, key: {READ} }}\n  - {{ role: admin, key: {ADMIN} }}\n"
    ));
    let mut agent = installation.spawn(&testbed.host, &WAITING, &built_binary());
    group.admit(&agent);
    eventually("the agent is ready", || {
        assert!(agent.try_wait().is_none(), "the agent ended at its start");
        let status = testbed.host.enter(|| ask(METRICS, "", "GET /readyz", ""));
        status.ok()?.starts_with("HTTP/1.1 200").then_some(())
    });
    (installation, agent)
}

#[test]
fn an_honest_client_is_answered_whatever_others_send() {
    if !skip::kernel_or_skip(&["ip", "ethtool"]) {
        return;
    }
    let Some(group) = Cgroup::with_memory(GROUP) else {
        skip::not_in_this_kernel("a memory cgroup");
        return;
    };
    let testbed = Testbed::new(Offloads::On);
    let (_installation, mut agent) = start(&testbed, &group);
    let sent = Sender::start(&testbed, &frames(0..FLOWS), 1, Duration::ZERO);
    let sent = sent.finish(Duration::from_mins(1));
    assert!(sent.refused.is_empty(), "{sent:?}");
    let before = peak_kib(&agent);

    for kinds in [
        &[Kind::Filters][..],
        &[Kind::Silence],
        &[Kind::Documents],
        &[Kind::Filters, Kind::Silence, Kind::Documents],
    ] {
        let attack = Attack {
            testbed: &testbed,
            goes_on: AtomicBool::new(true),
            done: AtomicUsize::new(0),
        };
        let (answers, slowest) = thread::scope(|scope| {
            for kind in kinds {
                scope.spawn(|| attack.go_on(*kind));
            }
            // The attack ends however that goes.
            let honest = scope
                .spawn(|| testbed.host.enter(|| honest_client(&attack.done)))
                .join();
            attack.goes_on.store(false, Relaxed);
            honest.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let attacks = attack.done.into_inner();
        println!(
            "{kinds:?}: {attacks} attacks; {answers} answers, the slowest after {slowest:?}; peak {} KiB, \
             {before} KiB before",
            peak_kib(&agent)
        );
        assert!(slowest < PATIENCE, "{kinds:?}: {slowest:?}");
        assert!(peak_kib(&agent) < PEAK_KIB, "{kinds:?}");
        assert_eq!(agent.try_wait(), None, "{kinds:?}");
    }
}
