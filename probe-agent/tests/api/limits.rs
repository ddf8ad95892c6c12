//! What clients may make the agent do, and what they are told beyond that.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use probe_api::{
    Api,
    endpoint::Endpoint,
    options::{ApiConfig, ApiKey, KeySource, Role, Secret},
    v1::flows::Flows,
};

use crate::{
    server::{Running, config, request, tcp},
    source::Script,
};

fn serve() -> (Running, SocketAddr) {
    let api = Api::bind(&config(Some("127.0.0.1:0"), None)).expect("bound");
    let Some(Endpoint::Tcp(addr)) = api.addr() else {
        panic!("it is TCP");
    };
    let running = Running::new(api);
    Script::capture(&running.manager, &["eth0"]);
    (running, addr)
}

fn raw(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = tcp(addr);
    stream.write_all(bytes).expect("sent");
    let mut answer = Vec::new();
    // A server that has said what it wants may close while we still send.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn large_bodies_and_heads_are_refused() {
    let (_running, addr) = serve();
    let announced =
        "GET /api/v1/info HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n";
    let answer = raw(addr, announced.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(
        answer.contains("a body may have 1048576 octets"),
        "{answer}"
    );
    let head = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(500_000));
    let answer = raw(addr, head.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let lines = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100));
    let answer = raw(addr, lines.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

/// Others are answered while a client takes its time, and that one is disconnected.
#[test]
fn a_slow_head_ends_the_connection_and_holds_up_nobody() {
    let (_running, addr) = serve();
    let mut slow = tcp(addr);
    slow.write_all(b"GET /api/v1/info HTTP/1.1\r\nX: ")
        .expect("sent");
    let begin = Instant::now();
    assert!(request(tcp(addr), "GET /api/v1/info").starts_with("HTTP/1.1 200"));
    slow.set_read_timeout(Some(Duration::from_secs(40)))
        .expect("a deadline");
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).expect("it is closed");
    assert!(begin.elapsed() < Duration::from_secs(30));
}

/// Clients that only hold connections give way to those who ask, before and behind the key.
#[test]
fn silent_connections_lock_nobody_out() {
    const SILENT: usize = 200;
    let keys = ApiConfig {
        keys: vec![ApiKey {
            role: Role::Read,
            source: KeySource::Inline(Secret::new(&"k".repeat(40)).expect("a key")),
        }],
        ..config(Some("127.0.0.1:0"), Some("127.0.0.1:0"))
    };
    let api = Api::bind(&keys).expect("bound");
    let metrics = api.metrics_addr().expect("an address");
    let Some(Endpoint::Tcp(with_key)) = api.addr() else {
        panic!("it is TCP");
    };
    let _running = Running::new(api);
    let ask = |stream: &mut TcpStream, path: &str| {
        let key = format!("Authorization: Bearer {}", "k".repeat(40));
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{key}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a deadline");
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).expect("an answer"), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        let length = head
            .lines()
            .find_map(|it| it.strip_prefix("content-length: "));
        let mut body = vec![0; length.expect("a length").parse().expect("a number")];
        reader.read_exact(&mut body).expect("the rest");
    };
    for (addr, path) in [(metrics, "/metrics"), (with_key, "/api/v1/info")] {
        let mut known = tcp(addr);
        ask(&mut known, path);
        let silent: Vec<_> = (0..SILENT).map(|_| tcp(addr)).collect();
        ask(&mut tcp(addr), path);
        if addr == with_key {
            // Those without a key have not taken the place of this one.
            ask(&mut known, path);
        }
        drop(silent);
    }
}

/// A page in a browser may let its own name resolve to the loopback.
#[test]
fn a_loopback_address_without_keys_answers_to_no_foreign_name() {
    let api = Api::bind(&config(Some("127.0.0.1:0"), Some("127.0.0.1:0"))).expect("bound");
    let metrics = api.metrics_addr().expect("an address");
    let Some(Endpoint::Tcp(addr)) = api.addr() else {
        panic!("it is TCP");
    };
    let _running = Running::new(api);
    for (addr, path) in [(addr, "/api/v1/flows"), (metrics, "/metrics")] {
        let ask = |target: &str, host: &str| {
            let request =
                format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            raw(addr, request.as_bytes())
        };
        let port = addr.port();
        for own in ["127.0.0.1".to_owned(), format!("localhost:{port}")] {
            let answer = ask(path, &own);
            assert!(answer.starts_with("HTTP/1.1 200"), "{own}: {answer}");
        }
        for (target, host) in [
            (path.to_owned(), format!("rebound.example:{port}")),
            (
                format!("http://rebound.example{path}"),
                "127.0.0.1".to_owned(),
            ),
        ] {
            let answer = ask(&target, &host);
            assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
            assert!(answer.contains("found `rebound.example"), "{answer}");
        }
    }
}

struct Events(BufReader<TcpStream>);

impl Events {
    fn open(addr: SocketAddr, query: &str) -> (String, Self) {
        let mut stream = tcp(addr);
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a deadline");
        let request =
            format!("GET /api/v1/flows/stream?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut reader = BufReader::new(stream);
        let mut status = String::new();
        reader.read_line(&mut status).expect("a status");
        (status, Self(reader))
    }

    /// The data of the next event.
    fn next(&mut self) -> Option<Flows> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Some(serde_json::from_str(data).expect("flows"));
            }
        }
    }
}

#[test]
fn a_stream_shows_flows_as_they_grow_and_ends_with_the_agent() {
    let (mut running, addr) = serve();
    running.script.packet(1, 1, 100, false);
    running.script.settle();
    let (status, mut events) = Events::open(addr, "every=1&limit=1&sort=packets");
    assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    assert_eq!(events.next().expect("an event").total.packets_rcvd, 1);
    running.script.packet(1, 2, 100, false);
    running.script.packet(1, 2, 100, false);
    running.script.settle();
    let second = events.next().expect("another event");
    assert_eq!((second.matched, second.truncated), (2, true));
    assert_eq!(second.flows[0].packets_rcvd, 2);
    let stopping = thread::spawn(move || running.stop());
    assert!(events.next().is_none(), "the stream ends");
    stopping.join().expect("stopped");
}

#[test]
fn streams_are_bounded_and_their_places_given_back() {
    let (_running, addr) = serve();
    let mut open: Vec<_> = (0..8).map(|_| Events::open(addr, "every=1").1).collect();
    for events in &mut open {
        events.next().expect("an event");
    }
    let (status, _) = Events::open(addr, "");
    assert!(status.starts_with("HTTP/1.1 429"), "{status}");
    open.pop();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !Events::open(addr, "").0.starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < deadline, "the place is not given back");
    }
    for (query, wanted) in [
        ("every=0", 400),
        ("every=61", 400),
        ("iface=x", 404),
        ("x=y", 400),
    ] {
        let (status, _) = Events::open(addr, query);
        assert!(
            status.starts_with(&format!("HTTP/1.1 {wanted}")),
            "{query}: {status}"
        );
    }
}
