//! Pictures of stores, from the question to the file.

use std::ffi::OsString;

use clap::Parser;

use super::{drawn, filed, is_captured, week};
use crate::{cli::Cli, month::script::Script, plot::joined};

/// What each of the captures asks, from when until when.
const ASKED: [(&str, [&str; 2], &[&str]); 6] = [
    ("week", WEEK, &["--by", "time=1h", "--rate"]),
    ("day", ["2026-11-26", "2026-11-27"], &["--by", "time"]),
    ("ifaces", WEEK, &["--by", "time=1h,iface"]),
    ("clients", WEEK, &["--by", "time=3h,src", "--rate", "--out"]),
    ("pairs", WEEK, &["--by", "src,dport,proto"]),
    (
        "peers",
        WEEK,
        &["--by", "src", "--sum", "--sort", "packets", "tcp"],
    ),
];
const WEEK: [&str; 2] = ["2026-11-23", "2026-11-30"];

/// Memory, where there is some: the sink waits for the disk with each file.
fn in_memory() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let directory = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    directory.unwrap()
}

#[test]
fn terminals_show_the_week() {
    let directory = in_memory();
    week::write(directory.path());
    for (name, [since, until], words) in ASKED {
        let words = [&["--since", since, "--until", until], words].concat();
        for (width, height) in [(80, 24), (200, 50)] {
            let shown = drawn(directory.path(), &words, width, height);
            assert!(shown.lines().count() < height, "{shown}");
            is_captured(&format!("{name}-{width}x{height}"), &shown);
        }
    }
    let none = [
        "--by",
        "time=1h",
        "host",
        "203.0.113.9",
        "--since",
        "2026-11-23",
    ];
    is_captured("none-80x24", &drawn(directory.path(), &none, 80, 24));
    let before = [
        "--by",
        "time=1h",
        "--since",
        "2025-11-01",
        "--until",
        "2025-11-02",
    ];
    is_captured("before-80x24", &drawn(directory.path(), &before, 80, 24));
}

/// Counts of the areas of a document by their pointers: the first line of each is its time.
fn told(document: &str) -> Vec<Vec<String>> {
    let document = roxmltree::Document::parse(document).unwrap();
    let hits = document
        .descendants()
        .filter(|node| node.attribute("class") == Some("hit"));
    hits.map(|node| {
        let title = node.first_element_child().unwrap();
        title.text().unwrap().lines().map(str::to_owned).collect()
    })
    .collect()
}

#[test]
fn every_part_of_a_month_is_the_sum_or_a_hole() {
    let script = Script::new();
    let path = script.root().with_file_name("month.svg");
    let month = ["--since", "2026-11-01", "--until", "2026-12-01", "--utc"];
    let words = [&month[..], &["--by", "time=6h", "--sort", "flows"]].concat();
    let parts = told(std::str::from_utf8(&filed(&script.root(), &words, &path)).unwrap());
    assert_eq!(parts.len(), 120);
    let flows = |place: usize| {
        let of_part = script.fed.iter().filter(|fed| {
            let hours = fed.start.as_second() - 1_793_491_200;
            usize::try_from(hours / 21_600).unwrap() == place
        });
        of_part.count()
    };
    for (place, part) in parts.iter().enumerate() {
        let number = flows(place);
        let is_hole = part.iter().any(|line| line == "(no data)");
        assert_eq!(is_hole, number == 0, "{part:?}");
        let shown = part.iter().find_map(|line| line.strip_prefix("flows "));
        assert_eq!(
            shown.map(str::to_owned),
            (!is_hole).then(|| number.to_string()),
            "{part:?}"
        );
        let is_lost = place % 17 == 5 && !is_hole;
        assert_eq!(
            part.iter().any(|line| line == "(packets lost)"),
            is_lost,
            "{part:?}"
        );
        let is_blind = (52..58).contains(&place);
        assert_eq!(
            part.iter().any(|line| line == "(not all seen)"),
            is_blind,
            "{part:?}"
        );
        let is_partly = place < 36 && !is_hole;
        assert_eq!(
            part.iter().any(|line| line == "(partly no data)"),
            is_partly,
            "{part:?}"
        );
    }
    // What is not among the first is the rest.
    let words = [
        &month[..],
        &["--by", "time=1d,src", "--sort", "flows", "-n", "3"],
    ]
    .concat();
    let (mut question, style) = super::question(&script.root(), &words);
    let crate::ask::What::Sums(sums) = &mut question.what else {
        panic!()
    };
    let mut picture = crate::plot::Picture::wanted(Some(&path), Some(3), sums, &style).unwrap();
    super::answer(&question, &mut picture).unwrap();
    let days = told(&std::fs::read_to_string(&path).unwrap());
    let mut all = 0;
    for day in &days {
        let lines = day.iter().filter(|line| !line.starts_with('(')).skip(1);
        let numbers: Vec<usize> = lines
            .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(numbers.len(), 4, "{day:?}");
        all += numbers.iter().sum::<usize>();
    }
    assert_eq!(all, script.fed.len());
}

#[test]
fn a_failed_question_leaves_the_file_as_it_was() {
    let directory = in_memory();
    let path = directory.path().join("picture.svg");
    std::fs::write(&path, "before").unwrap();
    let (mut question, style) = super::question(&directory.path().join("none"), &[]);
    let crate::ask::What::Sums(sums) = &mut question.what else {
        panic!()
    };
    let mut picture = crate::plot::Picture::wanted(Some(&path), None, sums, &style).unwrap();
    super::answer(&question, &mut picture).unwrap_err();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
    week::write(&directory.path().join("flows"));
    let file = filed(&directory.path().join("flows"), &["--since", "all"], &path);
    assert!(file.starts_with(b"<svg"));
    let left = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 2, "the store and the picture, nothing else");
}

#[test]
fn a_file_may_follow_the_option() {
    let words = |text: &str| joined(text.split('|').map(OsString::from));
    let is = |text: &str, expected: &str| {
        let expected: Vec<_> = expected.split('|').map(OsString::from).collect();
        assert_eq!(words(text), expected);
    };
    is(
        "q|--plot|a.svg|host|192.0.2.1",
        "q|--plot=a.svg|host|192.0.2.1",
    );
    is("q|--plot|a.pdf", "q|--plot=a.pdf");
    is("q|--plot|host|192.0.2.1", "q|--plot|host|192.0.2.1");
    is("q|--plot|host a.example.com", "q|--plot|host a.example.com");
    is("q|--plot=a.svg|b.svg", "q|--plot=a.svg|b.svg");
    is("q|--plot", "q|--plot");
    is("q|--|--plot|a.svg", "q|--|--plot|a.svg");
}

#[test]
fn a_picture_is_no_other_format() {
    for words in [
        ["--plot", "--format", "json"],
        ["--plot=a.svg", "--sql", "SELECT 1"],
    ] {
        let error = Cli::try_parse_from(["probe-query"].iter().chain(&words)).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("--plot") && error.contains(words[1]),
            "{error}"
        );
    }
}

#[test]
fn what_cannot_be_told_apart_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (mut question, style) = super::question(directory.path(), &["--by", "time=1h,src"]);
    let crate::ask::What::Sums(sums) = &mut question.what else {
        panic!()
    };
    let path = directory.path().join("a.png");
    let picture = crate::plot::Picture::wanted(Some(&path), Some(11), sums, &style);
    let error = picture.err().unwrap();
    assert!(error.contains("more than the 10"), "{error}");
}
