//! Reloads and configurations over the API: who may, what is told, and that a dry run changes
//! nothing.

use std::{
    fs,
    io::{Read, Write},
    net::SocketAddr,
};

use probe_api::{
    Api, Problem,
    endpoint::Endpoint,
    options::{ApiConfig, ApiKey, KeySource, Role, Secret},
    reload::ReloadReport,
    v1::config::ConfigReport,
};
use rstest::rstest;
use serde::de::DeserializeOwned;

use crate::server::{Running, config, tcp};

const READ: &str = "read-read-read-read-read-read-read-read";
const ADMIN: &str = "admin-admin-admin-admin-admin-admin-admin";

fn serve() -> (Running, SocketAddr) {
    let key = |role, text| ApiKey {
        role,
        source: KeySource::Inline(Secret::new(text).expect("a key")),
    };
    let config = ApiConfig {
        keys: vec![key(Role::Read, READ), key(Role::Admin, ADMIN)],
        ..config(Some("127.0.0.1:0"), None)
    };
    let api = Api::bind(&config).expect("bound");
    let Some(Endpoint::Tcp(addr)) = api.addr() else {
        panic!("it is TCP");
    };
    (Running::new(api), addr)
}

/// Sends a request with a key, a media type and a body; status and body of the answer.
fn ask(addr: SocketAddr, line: &str, key: &str, media: &str, body: &[u8]) -> (u16, String) {
    let mut stream = tcp(addr);
    let head = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: {media}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    // A server that has said what it wants may close while we still send.
    let _ = stream.write_all(body);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
    let (_, body) = answer.split_once("\r\n\r\n").expect("head and body");
    (status.expect("a status"), body.to_owned())
}

fn put(addr: SocketAddr, query: &str, body: &str) -> (u16, String) {
    let line = format!("PUT /api/v1/config{query}");
    ask(addr, &line, ADMIN, "application/yaml", body.as_bytes())
}

fn read<T: DeserializeOwned>(body: &str) -> T {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

const GOOD: &str = "interfaces: { eth0: { hook: tc } }\n";

#[rstest]
#[case::reload("POST /api/v1/reload")]
#[case::dry_run("POST /api/v1/reload?dry_run=true")]
#[case::config("PUT /api/v1/config")]
fn only_admins_may(#[case] line: &str) {
    let (running, addr) = serve();
    for (key, expected) in [(READ, 403), ("nobody's", 401)] {
        let (status, body) = ask(addr, line, key, "application/yaml", GOOD.as_bytes());
        assert_eq!(status, expected, "{body}");
    }
    assert_eq!(running.reloader.applied(), 0);
}

#[test]
fn a_document_is_compared_then_applied_and_then_in_force() {
    let (running, addr) = serve();
    let in_force = || {
        let (status, body) = ask(addr, "GET /api/v1/config", READ, "text/plain", b"");
        assert_eq!(status, 200, "{body}");
        read::<ConfigReport>(&body).settings
    };
    let before = in_force();
    let (status, body) = put(addr, "?dry_run=true", GOOD);
    let report: ReloadReport = read(&body);
    assert_eq!((status, report.dry_run), (200, true));
    let hook = report
        .settings
        .iter()
        .find(|it| it.setting == "interfaces.eth0.hook");
    assert_eq!(hook.expect("it differs").after.as_deref(), Some("tc"));
    assert_eq!(running.reloader.applied(), 0);
    assert_eq!(in_force(), before, "a dry run changes nothing");

    let (status, body) = put(addr, "", GOOD);
    assert_eq!(status, 200, "{body}");
    assert!(!read::<ReloadReport>(&body).dry_run);
    assert_eq!(running.reloader.applied(), 1);
    assert_eq!(in_force()["interfaces.eth0.hook"], "tc");
}

#[test]
fn all_that_is_wrong_is_told_with_its_place() {
    let (running, addr) = serve();
    let (status, body) = put(
        addr,
        "",
        "interfaces: { eth0: { hok: tc } }\nlogging: { level: x }\n",
    );
    let problem: Problem = read(&body);
    assert_eq!((status, problem.status), (422, 422));
    let told: Vec<_> = problem
        .problems
        .iter()
        .map(|it| (it.line, &*it.key))
        .collect();
    assert_eq!(
        told,
        [(Some(1), "interfaces.eth0.hok"), (Some(2), "logging.level")],
        "{body}"
    );
    assert_eq!(running.reloader.applied(), 0);
}

#[test]
fn what_needs_a_restart_is_refused_by_name() {
    let (running, addr) = serve();
    let text = "interfaces: { eth0: {} }\ncapture: { ring_buffer: 1MiB }\n";
    let (status, body) = put(addr, "", text);
    let problem: Problem = read(&body);
    assert_eq!(status, 409, "{body}");
    let settings: Vec<_> = problem.settings.iter().map(|it| &*it.setting).collect();
    assert_eq!(settings, ["capture.ring_buffer"]);
    assert!(problem.detail.contains("needs a restart"), "{body}");
    let (status, body) = put(addr, "?dry_run=true", text);
    assert_eq!(status, 200, "a dry run tells them all: {body}");
    assert_eq!(running.reloader.applied(), 0);
}

#[rstest]
#[case::other_media("application/json", b"{}".to_vec(), 415)]
#[case::with_charset("text/yaml; charset=utf-8", GOOD.into(), 200)]
#[case::no_text("application/yaml", vec![0xff, 0xfe], 422)]
#[case::nothing("application/yaml", vec![], 422)]
#[case::as_large_as_may_be("application/yaml", vec![b' '; 1 << 20], 422)]
#[case::too_large("application/yaml", vec![b' '; (1 << 20) + 1], 413)]
fn bodies(#[case] media: &str, #[case] body: Vec<u8>, #[case] expected: u16) {
    let (running, addr) = serve();
    let (status, told) = ask(addr, "PUT /api/v1/config", ADMIN, media, &body);
    assert_eq!(status, expected, "{told}");
    assert_eq!(running.reloader.applied(), usize::from(expected == 200));
}

/// A length that is not announced is bounded all the same.
#[test]
fn a_body_in_pieces_is_bounded_too() {
    let (running, addr) = serve();
    let mut stream = tcp(addr);
    let head = format!(
        "PUT /api/v1/config HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: Bearer {ADMIN}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let piece = format!("10000\r\n{}\r\n", "#".repeat(0x10000));
    for _ in 0..17 {
        if stream.write_all(piece.as_bytes()).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(running.reloader.applied(), 0);
}

#[test]
fn a_reload_reads_the_file() {
    let (running, addr) = serve();
    let reload = |query: &str| {
        let line = format!("POST /api/v1/reload{query}");
        ask(addr, &line, ADMIN, "text/plain", b"")
    };
    let (status, body) = reload("");
    assert_eq!(status, 409, "{body}");
    assert!(body.contains("without a configuration file"), "{body}");

    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("probe.yaml");
    running.reloader.read(&file);
    let (status, body) = reload("");
    assert_eq!(status, 422, "{body}");
    assert!(body.contains("cannot read the configuration"), "{body}");
    fs::write(&file, "interfaces: [\n").expect("written");
    let (status, body) = reload("?dry_run=true");
    assert_eq!(status, 422, "{body}");
    assert_eq!(read::<Problem>(&body).problems.len(), 1, "{body}");
    fs::write(&file, GOOD).expect("written");
    assert_eq!(reload("?dry_run=true").0, 200);
    assert_eq!(running.reloader.applied(), 0);
    assert_eq!(reload("?dry_run=false").0, 200);
    assert_eq!(running.reloader.applied(), 1);
    for query in [
        "?dry_run=maybe",
        "?dryrun=true",
        "?dry_run=true&dry_run=true",
    ] {
        let (status, body) = reload(query);
        assert_eq!(status, 400, "{query}: {body}");
    }
}

/// No path leads out of the API, however it is written.
#[test]
fn paths_lead_nowhere_else() {
    let (_running, addr) = serve();
    let long = format!("/api/v1/{}", "a".repeat(8000));
    let paths = [
        "/api/v1/../../etc/passwd",
        "/api/v1/%2e%2e/%2e%2e/etc/passwd",
        "/api/v1/..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/api/v1//info",
        "/api/v1/info/",
        "/api/v1/info%00",
        "/api/v1/\\..\\..\\etc\\passwd",
        &long,
    ];
    for path in paths {
        let (status, body) = ask(addr, &format!("GET {path}"), ADMIN, "text/plain", b"");
        assert!(matches!(status, 400 | 404), "{path}: {status} {body}");
        assert!(!body.contains("root:"), "{path}: {body}");
    }
}
