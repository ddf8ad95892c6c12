//! The configuration file: what is accepted, what is refused, and how the refusal reads.

use std::path::Path;

use probe_agent::config::Config;

#[path = "config/doubts.rs"]
mod doubts;
#[path = "config/manual.rs"]
mod manual;
#[path = "config/reading.rs"]
mod reading;
#[path = "config/refusals.rs"]
mod refusals;
#[path = "config/selection.rs"]
mod selection;

const GOOD: &str = "interfaces: { eth0: {} }\n";

/// All problems of a document that has some, one a line.
fn problems(text: &str) -> String {
    let problems = Config::parse(text)
        .expect_err("the document has problems")
        .0;
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
