//! Pictures of stores and of made-up charts, read by people once and by programs each time.

mod answers;
mod axes;
mod charts;
mod files;
mod properties;
mod week;

use std::{
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex},
};

use clap::Parser;
use jiff::tz::TimeZone;

use super::{Picture, Target, TextSize};
use crate::{
    ask::{Question, What, ask},
    cli::Cli,
    completeness::text::TextStyle,
    error::QueryError,
    output::Sink,
    progress::Progress,
    time::Now,
};

/// A place for text that outlives who writes it.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The question that these words ask at the end of November 2026, in a zone with summer time.
fn question(root: &Path, words: &[&str]) -> (Question, TextStyle) {
    let cli = [
        "probe-query",
        "--no-live",
        "--store",
        root.to_str().unwrap(),
    ];
    let cli = Cli::try_parse_from(cli.iter().chain(words)).unwrap();
    let zone = if words.contains(&"--utc") {
        TimeZone::UTC
    } else {
        TimeZone::get("Europe/Berlin").unwrap()
    };
    let now = Now::new("2026-11-29T23:00:00Z".parse().unwrap(), zone.clone());
    let style = TextStyle {
        zone,
        names_hosts: false,
    };
    (cli.question(now, true).unwrap(), style)
}

fn answer(question: &Question, sink: &mut dyn Sink) -> Result<(), QueryError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime
        .block_on(ask(question, sink, &Progress::hidden()))
        .map(|_| ())
}

/// What the terminal shows.
fn drawn(root: &Path, words: &[&str], width: usize, height: usize) -> String {
    let (mut question, style) = question(root, words);
    let size = TextSize {
        width,
        height,
        has_colour: false,
    };
    let What::Sums(sums) = &mut question.what else {
        panic!("a statement has no picture")
    };
    sums.limit = Some(size.bars());
    let shared = Shared::default();
    let target = Target::Text(Box::new(shared.clone()), size);
    let mut picture = Picture::new(target, sums, size.groups(), style);
    answer(&question, &mut picture).unwrap();
    String::from_utf8(shared.0.lock().unwrap().clone()).unwrap()
}

/// Answers into a file of this name, and gives what it holds.
fn filed(root: &Path, words: &[&str], path: &Path) -> Vec<u8> {
    let (mut question, style) = question(root, words);
    let What::Sums(sums) = &mut question.what else {
        panic!("a statement has no picture")
    };
    let mut picture = Picture::wanted(Some(path), None, sums, &style).unwrap();
    answer(&question, &mut picture).unwrap();
    std::fs::read(path).unwrap()
}

/// Compares with a file of `tests/data/captures`, or writes it anew.
fn is_captured(name: &str, shown: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures");
    let path = folder.join(format!("{name}.txt"));
    if std::env::var_os("PROBE_UPDATE_CAPTURES").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&path, shown).unwrap();
    }
    let captured = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        shown == captured,
        "{name} differs from tests/data/captures; if that is meant, run this test with \
         PROBE_UPDATE_CAPTURES=1\n--- shown\n{shown}--- captured\n{captured}"
    );
}
