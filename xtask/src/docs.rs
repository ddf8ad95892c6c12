//! `cargo xtask docs`: writes the references anew.
//!
//! Each is written by the test that otherwise compares it.

use anyhow::Result;

use crate::workspace;

/// Test binaries of the agent, each with a word of the names of its tests that compare a reference.
const COMPARISONS: [(&str, &str); 4] = [
    ("api", "the_committed_document_is_that_of_the_code"),
    ("cli", "the_manual_lists_every_command"),
    ("config", "the_manual_lists_every_key"),
    ("metrics", "the_manual_lists_every_metric"),
];

pub(crate) fn run() -> Result<()> {
    for (test, name) in COMPARISONS {
        let mut cargo = workspace::cargo();
        cargo.args(["test", "--locked", "--quiet", "--package", "probe-agent"]);
        cargo.args(["--test", test, name]);
        workspace::run(cargo.env("PROBE_UPDATE_DOCS", "1"))?;
    }
    Ok(())
}
