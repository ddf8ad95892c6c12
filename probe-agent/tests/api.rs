//! The HTTP endpoints over real sockets.

#[path = "api/access.rs"]
mod access;
#[path = "api/attack.rs"]
mod attack;
#[path = "api/commands.rs"]
mod commands;
#[path = "api/document.rs"]
mod document;
#[path = "api/flows.rs"]
mod flows;
#[path = "api/interval.rs"]
mod interval;
#[path = "api/limits.rs"]
mod limits;
#[path = "api/live_keys.rs"]
mod live_keys;
#[path = "api/reload.rs"]
mod reload;
#[path = "api/reloads.rs"]
mod reloads;
#[path = "api/restart_keys.rs"]
mod restart_keys;
#[path = "api/server.rs"]
mod server;
#[path = "api/sinks.rs"]
mod sinks;
#[path = "api/source.rs"]
mod source;
#[path = "api/tls.rs"]
mod tls;

use std::{
    fs,
    io::Write,
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use probe_api::{Api, ApiError, endpoint::Endpoint, options::ApiConfig};
use probe_testkit::skip;

use self::server::{Running, config, request, tcp};

#[test]
fn metrics_health_and_readiness_over_tcp() {
    let api = Api::bind(&config(None, Some("127.0.0.1:0"))).expect("bound");
    let addr = api.metrics_addr().expect("an address");
    assert_ne!(addr.port(), 0, "the real port is told");
    let running = Running::new(api);

    let metrics = request(tcp(addr), "GET /metrics");
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(
        metrics.contains("text/plain; version=0.0.4; charset=utf-8"),
        "{metrics}"
    );
    assert!(metrics.contains("probe_build_info{"), "{metrics}");

    let alive = request(tcp(addr), "GET /healthz");
    assert!(
        alive.starts_with("HTTP/1.1 200") && alive.ends_with("ok\n"),
        "{alive}"
    );

    let token = running.readiness.register_task("attach programs");
    let waiting = request(tcp(addr), "GET /readyz");
    assert!(waiting.starts_with("HTTP/1.1 503"), "{waiting}");
    assert!(
        waiting.ends_with("waiting for:\nattach programs\n"),
        "{waiting}"
    );
    drop(token);
    let ready = request(tcp(addr), "GET /readyz");
    assert!(
        ready.starts_with("HTTP/1.1 200") && ready.ends_with("ready\n"),
        "{ready}"
    );
}

#[test]
fn unknown_paths_and_methods_are_problems() {
    let api = Api::bind(&config(None, Some("127.0.0.1:0"))).expect("bound");
    let addr = api.metrics_addr().expect("an address");
    let _running = Running::new(api);
    let missing = request(tcp(addr), "GET /nothing");
    assert!(missing.starts_with("HTTP/1.1 404"), "{missing}");
    assert!(
        missing.contains("no such path here: /nothing; this is api.metrics_addr"),
        "{missing}"
    );
    assert!(
        missing.contains("the API is switched off (api.addr: none)"),
        "{missing}"
    );
    assert!(missing.contains("content-type: application/problem+json"));
    let posted = request(tcp(addr), "POST /healthz");
    assert!(posted.starts_with("HTTP/1.1 405"), "{posted}");
    assert!(posted.contains("allow: GET,HEAD"), "{posted}");
    let garbage = request(tcp(addr), "\u{0}\u{1}");
    assert!(garbage.starts_with("HTTP/1.1 400"), "{garbage}");
}

#[test]
fn the_unix_socket_answers_the_same_and_goes_with_the_agent() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("run/probe/probe.sock");
    let addr = format!("unix:{}", path.display());
    let api = Api::bind(&config(Some(&addr), None)).expect("the directory is made");
    assert_eq!(api.addr(), Some(Endpoint::Unix(path.clone())));
    let mode = fs::metadata(&path)
        .expect("the socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    let mut running = Running::new(api);
    let alive = request(
        UnixStream::connect(&path).expect("connected"),
        "GET /healthz",
    );
    assert!(alive.ends_with("ok\n"), "{alive}");
    running.stop();
    assert!(!path.exists(), "the socket is removed");
}

#[test]
fn a_socket_that_is_left_over_is_replaced_and_a_live_one_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("probe.sock");
    let addr = format!("unix:{}", path.display());
    let api_config = config(Some(&addr), None);

    drop(UnixListener::bind(&path).expect("bound"));
    assert!(path.exists(), "no agent listens, the file stays");
    let first = Api::bind(&api_config).expect("the file is replaced");

    let error = Api::bind(&api_config).expect_err("the first one listens");
    assert!(matches!(error, ApiError::InUse { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains(&format!("process {} (", std::process::id()))
    );
    UnixStream::connect(&path).expect("the first one was not disturbed");

    drop(first);
    assert!(!path.exists());
    fs::write(&path, "precious").expect("written");
    let error = Api::bind(&api_config).expect_err("a file is in its place");
    assert!(matches!(error, ApiError::NotASocket { .. }), "{error}");
    assert_eq!(fs::read(&path).expect("still there"), b"precious");
}

#[test]
fn the_socket_of_a_successor_is_not_removed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("probe.sock");
    let addr = format!("unix:{}", path.display());
    let first = Api::bind(&config(Some(&addr), None)).expect("bound");
    fs::rename(&path, dir.path().join("old.sock")).expect("moved away");
    let _second = Api::bind(&config(Some(&addr), None)).expect("bound");
    drop(first);
    assert!(path.exists(), "it belongs to the second");
}

#[test]
fn addresses_that_cannot_be_used_are_told_with_a_remedy() {
    let taken = Api::bind(&config(None, Some("127.0.0.1:0"))).expect("bound");
    let addr = taken.metrics_addr().expect("an address").to_string();
    let told = |config: &ApiConfig| Api::bind(config).expect_err("unusable").to_string();
    let in_use = told(&config(None, Some(&addr)));
    assert!(
        in_use.starts_with(&format!("cannot listen on {addr}: another process")),
        "{in_use}"
    );
    assert!(in_use.ends_with("change api.metrics_addr"), "{in_use}");

    let foreign = told(&config(None, Some("192.0.2.1:9478")));
    assert!(
        foreign.starts_with("cannot listen on 192.0.2.1:9478: "),
        "{foreign}"
    );

    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "").expect("written");
    let below_a_file = format!("unix:{}/probe.sock", file.display());
    let no_directory = told(&config(Some(&below_a_file), None));
    assert!(
        no_directory.starts_with("cannot create the directory"),
        "{no_directory}"
    );
    assert!(
        no_directory.ends_with("create it, or change api.addr"),
        "{no_directory}"
    );

    let nonsense = told(&config(Some("nonsense"), None));
    assert!(
        nonsense.starts_with("api.addr must be IP:port"),
        "{nonsense}"
    );
}

#[test]
fn switched_off_means_that_nothing_is_bound() {
    let api = Api::bind(&config(None, None)).expect("nothing to bind");
    assert_eq!((api.addr(), api.metrics_addr()), (None, None));
    Running::new(api).stop();
}

/// A client that never finishes its request must not hold up the exit of the agent.
#[test]
fn the_drain_has_a_deadline() {
    let api = Api::bind(&config(None, Some("127.0.0.1:0"))).expect("bound");
    let addr = api.metrics_addr().expect("an address");
    let mut running = Running::new(api);
    let mut slow = tcp(addr);
    slow.write_all(b"GET /metrics HTTP/1.1\r\n").expect("sent");
    // Answered, so the slow one, which came before, is being served.
    request(tcp(addr), "GET /healthz");
    let (done, ended) = mpsc::channel();
    let begin = Instant::now();
    thread::spawn(move || {
        running.stop();
        done.send(()).expect("the test waits");
    });
    ended
        .recv_timeout(Duration::from_secs(10))
        .expect("the server gives up on the slow client");
    assert!(begin.elapsed() < Duration::from_secs(5));
}
