//! The OpenAPI document: committed, served, and true.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

use probe_api::{
    Api,
    endpoint::Endpoint,
    openapi,
    options::{ApiConfig, ApiKey, KeySource, Role, Secret},
};

use crate::{
    server::{Running, config, request, tcp},
    skip,
    source::Script,
};

/// `PROBE_UPDATE_DOCS=1` writes the document instead of comparing it.
#[test]
fn the_committed_document_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let document = serde_json::to_string_pretty(&openapi::document()).expect("JSON") + "\n";
    if env::var_os("PROBE_UPDATE_DOCS").is_some() {
        fs::write(&path, &document).expect("written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == document,
        "docs/openapi.json is older than the code: \
         PROBE_UPDATE_DOCS=1 cargo test -p probe-agent --test api committed_document"
    );
    assert!(document.contains("\"openapi\": \"3.1.0\""));
}

#[test]
fn the_served_document_is_the_same() {
    let api = Api::bind(&config(Some("127.0.0.1:0"), None)).expect("bound");
    let Some(Endpoint::Tcp(addr)) = api.addr() else {
        panic!("it is TCP");
    };
    let _running = Running::new(api);
    let answer = request(tcp(addr), "GET /api/v1/openapi.json");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let served: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let document = serde_json::to_value(openapi::document()).expect("JSON");
    assert_eq!(served, document);
}

/// Seeds of the runs, which go on side by side.
const RUNS: [&str; 2] = ["1", "2"];

/// Random requests, right and wrong ones, made from the document: only documented answers.
/// `PROBE_API_REQUESTS` is how many there must be at least; 400 unless given, so that it takes
/// seconds. CI sends 10,000.
#[test]
fn random_requests_get_documented_answers() {
    const KEY: &str = "0123456789abcdef0123456789abcdef";
    if !skip::python_or_skip(&["schemathesis"]) {
        return;
    }
    let wanted = env::var("PROBE_API_REQUESTS").unwrap_or_else(|_| "400".to_owned());
    let wanted: usize = wanted.parse().expect("a number");
    // Two at a time, which is how many CPUs there are; each makes some six requests of an example.
    let examples = (wanted / RUNS.len() / 6 + 1).to_string();
    let secret = Secret::new(KEY).expect("a key");
    let config = ApiConfig {
        keys: vec![ApiKey {
            role: Role::Admin,
            source: KeySource::Inline(secret),
        }],
        ..config(Some("127.0.0.1:0"), None)
    };
    let api = Api::bind(&config).expect("bound");
    let Some(Endpoint::Tcp(addr)) = api.addr() else {
        panic!("it is TCP");
    };
    let running = Running::new(api);
    Script::capture(&running.manager, &["eth0"]);
    running.script.packet(1, 1, 100, false);
    let folder = tempfile::tempdir().expect("a directory");
    let runs = RUNS.map(|seed| {
        Command::new("python3")
            .current_dir(folder.path())
            .args([
                "-c",
                "from schemathesis.cli import schemathesis; schemathesis()",
            ])
            .args(["run", &format!("http://{addr}{}", openapi::PATH)])
            .args(["--max-examples", &examples, "--seed", seed])
            .args(["--header", &format!("Authorization: Bearer {KEY}")])
            // Its events never end.
            .args(["--exclude-path", "/api/v1/flows/stream"])
            // That any text is a filter cannot be said: the schema has no words for a grammar.
            .args(["--exclude-checks", "positive_data_acceptance"])
            .args(["--request-timeout", "20"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started")
    });
    let mut requests = 0;
    for run in runs {
        let output = run.wait_with_output().expect("it ends");
        let told = String::from_utf8_lossy(&output.stdout);
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}{complaints}");
        requests += generated(&told);
    }
    assert!(requests >= wanted, "only {requests} requests");
}

/// How many requests it says that there were.
fn generated(told: &str) -> usize {
    let line = told.lines().find(|line| line.contains(" generated, "));
    let count = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
    count.unwrap_or_else(|| panic!("it does not say how many: {told}"))
}
