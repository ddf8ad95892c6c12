//! Who is answered, and for how long.

use std::{
    io::{Read, Write},
    path::Path,
    sync::{Arc, mpsc},
    time::Duration,
};

use axum::{Router, routing::get};

use super::server::{Answer, KEY, Server, runtime, with_key};
use crate::{
    month::script::Script,
    serve::{access::Access, runner::Runner},
};

fn is_misdirected(server: &Server, host: &str) -> bool {
    let line = format!("Host: {host}");
    let answers = ["/", "/api/v1/query/words"].map(|path| server.get_with(path, &[&line]).status);
    assert!(
        answers == [200; 2] || answers == [421; 2],
        "{host}: {answers:?}"
    );
    answers[0] == 421
}

#[test]
fn other_names_are_refused_without_a_key() {
    for access in [Access::Loopback, Access::Socket] {
        let server = Server::with(Path::new("/none"), access, Duration::from_mins(1));
        names_are_refused(&server);
    }
}

#[test]
fn other_sites_are_refused() {
    let server = Server::new(Path::new("/none"));
    let of_site = |site: &str| {
        let line = format!("Sec-Fetch-Site: {site}");
        server.get_with("/api/v1/query/words", &[&line]).status
    };
    let found = ["same-origin", "none", "same-site", "cross-site"].map(of_site);
    assert_eq!(found, [200, 200, 403, 403]);
}

fn names_are_refused(server: &Server) {
    for own in [
        "127.0.0.1",
        "127.0.0.1:9480",
        "[::1]:9480",
        "localhost",
        "LocalHost:9480",
    ] {
        assert!(!is_misdirected(server, own), "{own}");
    }
    for foreign in [
        "example.org",
        "localhost.example.org",
        "127.0.0.1.example.org:9480",
        "x",
    ] {
        assert!(is_misdirected(server, foreign), "{foreign}");
    }
}

#[test]
fn a_key_opens_answers_and_not_the_page() {
    let server = Server::with(Path::new("/none"), with_key(), Duration::from_mins(1));
    // A proxy has its own name.
    assert_eq!(
        server.get_with("/", &["Host: flows.example.org"]).status,
        200
    );
    let answer = server.get("/api/v1/query/words");
    assert_eq!(answer.status, 401);
    assert!(
        answer.head.contains("www-authenticate: bearer"),
        "{}",
        answer.head
    );
    let with = |line: &str| server.get_with("/api/v1/query/words", &[line]).status;
    assert_eq!(with(&format!("Authorization: Bearer {KEY}")), 200);
    assert_eq!(with(&format!("Authorization: bearer {KEY}")), 200);
    for wrong in [
        "Bearer ",
        "Bearer x",
        &format!("Bearer {KEY}0"),
        &format!("Basic {KEY}"),
        KEY,
    ] {
        assert_eq!(with(&format!("Authorization: {wrong}")), 401, "{wrong}");
    }
    assert_eq!(server.get("/api/v1/nothing").status, 401);
}

#[test]
fn every_answer_forbids_what_is_from_elsewhere() {
    let server = Server::new(Path::new("/none"));
    let ask = |path: &str| server.get(path);
    let answers: [Answer; 4] = ["/", "/page/app.js", "/api/v1/query/words", "/none"].map(ask);
    for Answer { head, .. } in answers {
        for line in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(head.contains(line), "{line}: {head}");
        }
    }
}

#[test]
fn a_question_ends_with_its_client() {
    let questions = runtime();
    let runner = Arc::new(Runner::new(
        questions.handle().clone(),
        Duration::from_hours(1),
    ));
    let (begun, has_begun) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let answer = move || {
        let (runner, begun, ended) = (Arc::clone(&runner), begun.clone(), ended.clone());
        async move {
            let question = move |threads: &tokio::runtime::Handle,
                                 progress: &crate::progress::Progress| {
                begun.send(()).unwrap();
                // As a question that takes for ever.
                threads.block_on(progress.cancelled());
                ended.send(()).unwrap();
                Ok(())
            };
            runner.run(question).await.map(|()| "an answer")
        }
    };
    let server = Server::of(Router::new().route("/", get(answer)));
    // Two run, the third waits.
    for _ in 0..2 {
        let mut stream = server.connect();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        has_begun.recv().unwrap();
        drop(stream);
        has_ended.recv().unwrap();
    }
}

#[test]
fn a_question_has_its_time() {
    let script = Script::new();
    let server = Server::with(&script.root(), Access::Loopback, Duration::ZERO);
    let answer = server.get("/api/v1/query?since=all");
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: 5"), "{}", answer.head);
    assert!(
        answer.body.contains("ask again later") || answer.body.contains("ask for a shorter time"),
        "{}",
        answer.body
    );
}

#[test]
fn a_head_without_end_is_refused() {
    let server = Server::new(Path::new("/none"));
    let mut stream = server.connect();
    let request = format!("GET /?{} HTTP/1.1\r\n", "x".repeat(200_000));
    // It may be refused before all of it is sent.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let status = String::from_utf8_lossy(&answer);
    assert!(
        status.is_empty() || status.starts_with("HTTP/1.1 4"),
        "{status}"
    );
}
