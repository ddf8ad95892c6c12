//! A user who may only read does the worst that a reader can, in a memory cgroup where there is one:
//! the agent lives, keeps its memory bounded, and answers root.

use std::{
    env, fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use probe_api::{Api, client::Client};
use probe_testkit::{cgroup::Cgroup, process::status_kib, skip};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    server::{Running, config},
    source::Script,
};

/// What the agent may take beside what it takes for the flows; the flows' copies are within it.
const ALLOWED: u64 = 512 << 20;

/// Different flows: as many as an answer may have.
const FLOWS: u32 = 100_000;

/// How long the attack lasts.
const ATTACK: Duration = Duration::from_secs(20);

/// What root asks for, and the most that it waits, on a machine with other work.
const ASKED: [(&str, Duration); 4] = [
    ("/healthz", Duration::from_secs(5)),
    ("/metrics", Duration::from_secs(10)),
    ("/api/v1/status", Duration::from_secs(10)),
    ("/api/v1/flows?limit=10", Duration::from_secs(20)),
];

/// As another user: regexes that are large, nested or many, whole answers that are taken slowly or not
/// at all, clients that leave, and connections that say nothing.
const ATTACKER: &str = r#"
import os, random, socket, sys, threading, time, urllib.parse
path = sys.argv[1]
os.setgroups([]); os.setgid(0); os.setuid(65534)
filters = [
    "iface /(((((a{100}){100}){100}){100}){100})/",
    "iface /" + "(" * 200 + "a" + "){9}" * 200 + "/",
    "iface " + ",".join(["/\\w{9}/"] * 16),
    "iface " + ",".join(["/\\w{2}x/"] * 16),
    "iface " + ",".join(["/a{99}{99}/"] * 400),
    "not (" + " or ".join("host 10.0.%d.%d" % (i, i) for i in range(200)) + ")",
]
def connect():
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(30)
    stream.connect(path)
    return stream
def attack(number):
    while True:
        try:
            stream = connect()
            if number % 4 == 0:
                time.sleep(1)
                continue
            query = {"limit": 100000}
            if number % 4 == 1:
                query = {"filter": random.choice(filters)}
            where = "/flows/stream?every=1&" if number % 8 == 2 else "/flows?"
            target = "/api/v1" + where + urllib.parse.urlencode(query)
            stream.send(("GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % target).encode())
            if number % 4 == 2:
                time.sleep(random.random() * 3)
            else:
                while stream.recv(1 << 20):
                    time.sleep(0.01)
        except OSError:
            time.sleep(0.05)
for number in range(160):
    threading.Thread(target=attack, args=(number,), daemon=True).start()
print("attacking", flush=True)
sys.stdin.read()
"#;

/// Ends the attacker on drop.
struct Attacker(Child);

impl Attacker {
    fn start(socket: &Path) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", ATTACKER])
            .arg(socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python runs");
        let mut told = [0; 9];
        let stdout = child.stdout.as_mut().expect("piped");
        stdout.read_exact(&mut told).expect("it begins");
        Self(child)
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A bound on the memory of this process: a cgroup, or else its address space.
struct Bound(Option<Cgroup>);

impl Bound {
    fn new(bytes: u64) -> Self {
        if let Some(group) = Cgroup::with_memory(bytes) {
            group.add(std::process::id());
            return Self(Some(group));
        }
        let old = getrlimit(Resource::As);
        let size = own_kib("VmSize") << 10;
        let current = Some(size + bytes);
        setrlimit(Resource::As, Rlimit { current, ..old }).expect("a limit");
        Self(None)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some(group) = &self.0 {
            group.remove(std::process::id());
        }
    }
}

fn own_kib(key: &str) -> u64 {
    status_kib(std::process::id(), key).expect("a value")
}

/// Whether this is a process for one test alone. Else runs the test in one: what bounds a process would
/// bound the other tests, and all that they start.
fn is_alone(test: &str) -> bool {
    const ALONE: &str = "PROBE_TEST_ALONE";
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let tests = env::current_exe().expect("this file");
    let mut alone = Command::new(tests);
    alone.args(["--exact", test, "--nocapture"]).env(ALONE, "1");
    assert!(alone.status().expect("it runs").success(), "{test}");
    false
}

/// The status of one answer, and how long it took.
fn ask(socket: &Path, path: &str) -> (String, Duration) {
    let begin = Instant::now();
    let mut stream = UnixStream::connect(socket).expect("connected");
    stream
        .set_read_timeout(Some(Duration::from_mins(1)))
        .expect("a deadline");
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let status = answer.split(|byte| *byte == b'\r').next().expect("a line");
    (
        String::from_utf8_lossy(status).into_owned(),
        begin.elapsed(),
    )
}

#[test]
fn a_reader_cannot_end_the_agent_or_silence_it() {
    if !skip::kernel_or_skip(&["python3"])
        || !is_alone("attack::a_reader_cannot_end_the_agent_or_silence_it")
    {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    // The attacker's group may pass.
    fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .expect("open");
    let socket = folder.path().join("probe.sock");
    let addr = format!("unix:{}", socket.display());
    let running = Running::new(Api::bind(&config(Some(&addr), None)).expect("bound"));
    Script::capture(&running.manager, &["eth0"]);
    running.script.many_flows(1, FLOWS);
    let before = own_kib("VmRSS") << 10;
    let bound = Bound::new(before + ALLOWED);
    // Its children would be bound, too, but take little.
    let attacker = Attacker::start(&socket);
    let begin = Instant::now();
    let (mut most, mut rounds) = (0, 0);
    let mut slowest = [Duration::ZERO; ASKED.len()];
    while begin.elapsed() < ATTACK {
        for ((path, _), slowest) in ASKED.iter().zip(&mut slowest) {
            let (status, took) = ask(&socket, path);
            let is_answer = status.starts_with("HTTP/1.1 200");
            assert!(is_answer, "{path}: {status} after {took:?}");
            *slowest = took.max(*slowest);
        }
        rounds += 1;
        most = most.max(own_kib("VmRSS") << 10);
    }
    println!(
        "{rounds} rounds of {ASKED:?}, the slowest {slowest:?}; {} MiB more than before",
        most.saturating_sub(before) >> 20
    );
    for ((path, patience), slowest) in ASKED.iter().zip(slowest) {
        assert!(slowest < *patience, "{path}: {slowest:?}");
    }
    assert!(most < before + ALLOWED, "{} MiB", most >> 20);
    drop((attacker, bound));
    // What it has left behind is over soon.
    let (status, _) = ask(&socket, "/api/v1/flows?limit=100000");
    assert!(status.starts_with("HTTP/1.1 200"), "{status}");
}

/// None of them is turned away: they are answered one after the other.
#[test]
fn forty_whole_answers_at_once_are_all_given() {
    let folder = tempfile::tempdir().expect("a directory");
    let addr = format!("unix:{}/probe.sock", folder.path().display());
    let api = Api::bind(&config(Some(&addr), None)).expect("bound");
    let endpoint = api.addr().expect("an address");
    let running = Running::new(api);
    Script::capture(&running.manager, &["eth0"]);
    // Few enough for debug builds; the rows that are asked for count for the bounds.
    running.script.many_flows(1, 2000);
    let client = move || Client::new(endpoint.clone(), None).expect("a client");
    let client = Arc::new(client);
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let client = Arc::clone(&client);
            thread::spawn(move || {
                let query = "limit=100000".to_owned();
                let flows = client().get::<serde_json::Value>("/api/v1/flows", &query);
                flows.map(|flows| flows["flows"].as_array().map_or(0, Vec::len))
            })
        })
        .collect();
    for client in clients {
        let rows = client.join().expect("a client").expect("an answer");
        assert_eq!(rows, 2000);
    }
}
