//! Stores and questions that are wrong, and what is told of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{error::QueryError, fixture::ask_json, month::script::Script};

const ALL: [&str; 8] = [
    "--since",
    "2026-11-01",
    "--until",
    "2026-12-01",
    "-n",
    "0",
    "--by",
    "iface",
];

fn told(root: &Path, words: &[&str]) -> (u8, String) {
    let error: QueryError = ask_json(root, words).unwrap_err();
    (error.exit_code(), error.to_string())
}

fn files(root: &Path, iface: &str, day: &str) -> Vec<PathBuf> {
    let dir = root.join(format!("iface={iface}/date=2026-11-{day}"));
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn flows(answer: &Value) -> u64 {
    answer["totals"]["flows"].as_u64().unwrap()
}

fn skipped(answer: &Value) -> Vec<(PathBuf, String)> {
    let skipped = answer["completeness"]["skipped"].as_array().unwrap().iter();
    skipped
        .map(|file| {
            (
                file["path"].as_str().unwrap().into(),
                file["why"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

#[test]
fn a_wrong_question_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let (code, error) = told(root, &ALL);
    assert_eq!(code, 1);
    assert!(
        error.contains("is no store of flows: it has no directory `iface=…`"),
        "{error}"
    );
    let (code, error) = told(&root.join("none"), &ALL);
    assert_eq!(code, 1);
    assert!(
        error.contains("none: ") && error.contains("name an existing directory"),
        "{error}"
    );

    let (code, error) = told(root, &["--since", "2026-11-02", "--until", "2026-11-02"]);
    assert_eq!(code, 2);
    assert!(error.starts_with("an impossible time range"), "{error}");
    let (code, error) = told(root, &["--since", "soon"]);
    assert_eq!(code, 2);
    assert!(
        error.starts_with("--since: expected a time such as -24h"),
        "{error}"
    );
    let (code, error) = told(root, &["--by", "src,port"]);
    assert_eq!(code, 2);
    assert!(
        error.starts_with("--by: unknown column `port` (did you mean"),
        "{error}"
    );
    let (code, error) = told(root, &["--memory", "1kB"]);
    assert_eq!(code, 2);
    assert!(error.starts_with("--memory: expected a size"), "{error}");
}

/// As `flows` tells them.
#[test]
fn an_error_of_the_filter_has_its_column() {
    let dir = tempfile::tempdir().unwrap();
    for text in [
        "tcp and port htps or udp",
        "net 10.0.0.0/40",
        "(tcp",
        "ether host 1",
        "bytes > x",
    ] {
        let of_flows = text.parse::<probe_flow::filter::Filter>().unwrap_err();
        for words in [vec!["--filter", text], text.split(' ').collect()] {
            let (code, error) = told(dir.path(), &words);
            assert_eq!(
                (code, error),
                (2, format!("the filter cannot be read: {of_flows}"))
            );
        }
    }
}

#[test]
fn damaged_files_are_left_out_by_name() {
    let script = Script::new();
    let root = script.root();
    // Of a column that needs the flows themselves.
    let words = [&ALL[..6], &["--by", "proto"]].concat();
    let all = flows(&ask_json(&root, &words).unwrap());
    // Half copied: the footer is missing.
    let half = files(&root, "eth0", "03").remove(1);
    let octets = fs::read(&half).unwrap();
    fs::write(&half, &octets[..octets.len() / 2]).unwrap();
    // Written over: the footer is whole, and pages are not.
    let worn = files(&root, "eth1", "04").remove(2);
    let mut octets = fs::read(&worn).unwrap();
    let tail = octets.len() - 8;
    let footer = u32::from_le_bytes(octets[tail..tail + 4].try_into().unwrap());
    let pages = 4..tail - usize::try_from(footer).unwrap();
    for octet in &mut octets[pages] {
        *octet ^= 0x55;
    }
    fs::write(&worn, &octets).unwrap();
    let empty = files(&root, "eth0", "05").remove(0);
    fs::write(&empty, "").unwrap();
    let foreign = half.with_file_name("copy.parquet");
    fs::write(&foreign, "").unwrap();

    let answer = ask_json(&root, &words).unwrap();
    let mut named: Vec<_> = skipped(&answer).into_iter().map(|(path, _)| path).collect();
    named.sort();
    let mut expected = vec![half.clone(), worn.clone(), empty.clone(), foreign];
    expected.sort();
    assert_eq!(named, expected);
    assert_eq!(answer["completeness"]["complete"], false);
    let lost = script.fed.iter().filter(|fed| {
        let start = fed.start.strftime("%Y%m%dT%H%M%S.%3fZ");
        let begin = format!(
            "iface={}/date={}/{start}-",
            fed.iface,
            fed.start.strftime("%F")
        );
        let mut damaged = [&half, &worn, &empty].into_iter();
        damaged.any(|path| path.to_str().is_some_and(|path| path.contains(&begin)))
    });
    assert_eq!(flows(&answer), all - u64::try_from(lost.count()).unwrap());
}

#[test]
fn statements_only_read() {
    let script = Script::new();
    let root = script.root();
    for statement in [
        "CREATE TABLE x AS SELECT 1",
        "DROP VIEW flows",
        "INSERT INTO ledgers SELECT * FROM ledgers",
        "COPY flows TO '/tmp/x.parquet'",
        "SET datafusion.execution.batch_size = 1",
        "SELECT * FROM '/etc/passwd'",
        "SELECT nothing FROM flows",
        "SELEKT 1",
    ] {
        let (code, error) = told(&root, &["--sql", statement]);
        assert_eq!(code, 2, "{statement}: {error}");
        assert!(
            error.starts_with("the statement cannot be run: "),
            "{statement}: {error}"
        );
    }
    assert!(ask_json(&root, &["--sql", "SHOW COLUMNS FROM ledgers"]).is_ok());
}

/// The least that may be asked for is enough for any question.
#[test]
fn memory_is_bounded() {
    let script = Script::new();
    let words = [
        "--since", "all", "--by", "raw", "-n", "0", "--memory", "16MiB",
    ];
    let answer = ask_json(&script.root(), &words).unwrap();
    assert_eq!(flows(&answer), u64::try_from(script.fed.len()).unwrap());
}
