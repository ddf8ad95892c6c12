//! What the server answers.

use std::fs;

use jiff::Timestamp;
use serde_json::Value;

use super::{day, server::Server};
use crate::{fixture::ask_json, month::script::Script};

const MONTH: &str = "since=2026-11-01T00:00:00Z&until=2026-12-01T00:00:00Z&zone=UTC";

#[test]
fn rows_are_those_of_the_command_line() {
    let script = Script::new();
    let server = Server::new(&script.root());
    let words = [
        "--since",
        "2026-11-01",
        "--until",
        "2026-11-25",
        "--by",
        "agg_talk_port",
        "-n",
        "7",
    ];
    let words = [&words[..], &["--sort", "packets", "tcp", "port", "443"]].concat();
    let asked = ask_json(&script.root(), &words).unwrap();
    let query = "zone=UTC&since=2026-11-01&until=2026-11-25&by=agg_talk_port&limit=7&sort=packets&filter=tcp+port+443";
    let mut answer = server.get(&format!("/api/v1/query?{query}")).json();
    let text = answer.as_object_mut().unwrap().remove("text").unwrap();
    assert_eq!(answer, asked);
    let head = text["head"].as_str().unwrap();
    assert!(
        head.starts_with("INCOMPLETE: 2026-11-01 00:00:00 – 2026-11-25"),
        "{head}"
    );
    // The list is whole, however long it is.
    assert!(text["details"].as_array().unwrap().len() > 4);

    let csv = server.get(&format!("/api/v1/query?{query}&format=csv"));
    assert!(csv.head.contains("content-type: text/csv"), "{}", csv.head);
    assert!(
        csv.body
            .starts_with("src_addr,dst_addr,dst_port,ip_protocol,packets_rcvd")
    );
    assert_eq!(csv.body.lines().count(), 8);
    let lines = server.get(&format!("/api/v1/query?{query}&format=ndjson"));
    assert_eq!(lines.body.lines().count(), 9);
}

/// What the chart shows of an interface is what the table has of it, and lost packets are at their time.
#[test]
fn a_series_has_all_bits_and_losses() {
    let script = Script::new();
    let server = Server::new(&script.root());
    let series = server.get(&format!("/api/v1/query/series?{MONTH}")).json();
    assert_eq!(series["step"], "2h");
    let seconds = series["interval_seconds"].as_f64().unwrap();
    assert!((seconds - 21_600.0).abs() < 0.1, "{seconds}");
    assert_eq!(series["left_out"], 0);
    let lanes = series["interfaces"].as_array().unwrap();
    assert_eq!(lanes.len(), script.told.len());
    for lane in lanes {
        let name = lane["iface"].as_str().unwrap();
        let points = lane["points"].as_array().unwrap();
        let told = &script.told[name];
        assert_eq!(points.len(), told.intervals, "{name}");
        let sum = |field: &str| {
            points
                .iter()
                .map(|it| it[field].as_u64().unwrap())
                .sum::<u64>()
        };
        assert_eq!(
            (sum("seen"), sum("missed")),
            (told.seen, told.missed),
            "{name}"
        );
        // Each point is one interval of six hours, but for milliseconds.
        for point in points {
            let time: Timestamp = point["time"].as_str().unwrap().parse().unwrap();
            let fed = script.fed.iter().filter(|fed| {
                let late = fed.start.duration_since(time).as_secs_f64();
                &*fed.iface == name && (0.0..7200.0).contains(&late)
            });
            let bytes = fed.map(|fed| fed.counters.bytes_rcvd).sum::<u64>();
            #[expect(clippy::cast_precision_loss, reason = "compared as a rate")]
            let rate = bytes as f64 * 8.0 / 21_600.0;
            let found = point["bits_rcvd_per_second"].as_f64().unwrap();
            assert!(
                (found / rate - 1.0).abs() < 1e-4,
                "{name} {time}: {found} {rate}"
            );
        }
    }
    let one = server
        .get(&format!("/api/v1/query/series?{MONTH}&interfaces=1"))
        .json();
    assert_eq!(
        (
            one["interfaces"].as_array().unwrap().len(),
            &one["left_out"]
        ),
        (1, &Value::from(3))
    );
    let all = server
        .get("/api/v1/query/series?since=all&until=2026-12-01T00:00:00Z&filter=iface+eth0")
        .json();
    assert_eq!(
        all["completeness"]["asked"]["since"],
        "2026-11-01T00:00:00Z"
    );
    assert_eq!(all["interfaces"].as_array().unwrap().len(), 1);
}

#[test]
fn wrong_questions_are_told_as_on_the_command_line() {
    let script = Script::new();
    let server = Server::new(&script.root());
    for path in ["/api/v1/query", "/api/v1/query/series"] {
        let answer = server.get(&format!("{path}?filter=tcp+and+port+htps+or+udp"));
        assert_eq!(answer.status, 400);
        assert!(
            answer.head.contains("application/problem+json"),
            "{}",
            answer.head
        );
        let problem = answer.json();
        let of_command = ask_json(&script.root(), &["tcp and port htps or udp"]).unwrap_err();
        assert_eq!(problem["detail"], of_command.to_string());
        assert_eq!(
            (&problem["column"], &problem["parameter"]),
            (&Value::from(14), &Value::from("filter"))
        );
        let answer = server.get(&format!("{path}?since=soon"));
        let of_command = ask_json(&script.root(), &["--since", "soon"]).unwrap_err();
        assert_eq!(answer.json()["detail"], of_command.to_string());
        assert_eq!(server.get(&format!("{path}?sql=SELECT+1")).status, 400);
    }
    assert_eq!(server.get("/api/v1/query?limit=0").status, 400);
    assert_eq!(server.get("/api/v1/other").status, 404);
    assert_eq!(server.get("/page/../serve.rs").status, 404);
    assert_eq!(server.get("/page/%2e%2e%2fserve.rs").status, 404);
    assert_eq!(
        server
            .send("POST /api/v1/query HTTP/1.1", &["Content-Length: 0"])
            .status,
        405
    );
}

/// As many rows as there may be, and no more.
#[test]
fn rows_are_bounded() {
    let day = day::store();
    let server = Server::new(day.path());
    let query = "since=2026-11-20T00:00:00Z&until=2026-11-21T00:00:00Z&by=time,src,dst&zone=UTC";
    let answer = server.get(&format!("/api/v1/query?{query}")).json();
    assert_eq!(answer["rows"].as_array().unwrap().len(), 10_000);
    assert!(answer["totals"]["rows"].as_u64().unwrap() > u64::from(day::SCANNERS));
}

#[test]
fn stores_that_are_none_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::new(&dir.path().join("none"));
    for path in [
        "/api/v1/query",
        "/api/v1/query/series",
        "/api/v1/query/series?since=all",
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 500);
        assert!(
            answer.body.contains("name an existing directory"),
            "{}",
            answer.body
        );
    }
    let server = Server::new(dir.path());
    let answer = server.get("/api/v1/query");
    assert!(
        answer.body.contains("is no store of flows"),
        "{}",
        answer.body
    );
    // A store without anything in the asked time is no error.
    let script = Script::new();
    let server = Server::new(&script.root());
    let answer = server
        .get("/api/v1/query/series?since=2020-01-01&until=2020-01-02&zone=UTC")
        .json();
    assert_eq!(answer["interfaces"], Value::Array(vec![]));
    assert_eq!(
        answer["text"]["details"][0],
        "nothing is stored of this time"
    );
    // A damaged file is left out by its name.
    let day = script.root().join("iface=eth0/date=2026-11-03");
    let damaged = fs::read_dir(day).unwrap().next().unwrap().unwrap().path();
    fs::write(&damaged, "x").unwrap();
    let answer = server.get(&format!("/api/v1/query?{MONTH}")).json();
    let told = answer["text"]["details"].to_string();
    assert!(told.contains(damaged.to_str().unwrap()), "{told}");
}
