//! `cargo xtask docs`: writes the references anew.
//!
//! Each is written by the test that otherwise compares it.

use anyhow::Result;

use crate::workspace;

/// Packages and test binaries, each with the name of its test that compares a reference.
const COMPARISONS: [(&str, &str, &str); 6] = [
    ("probe-flow", "manuals", "the_manual_of"),
    ("probe-flow", "manual", "the_manual_lists_every_loss"),
    (AGENT, "api", "the_committed_document_is_that_of_the_code"),
    (AGENT, "cli", "the_manual_lists_every_command"),
    (AGENT, "config", "the_manual_lists_every_key"),
    (AGENT, "metrics", "the_manual_lists_every_metric"),
];

const AGENT: &str = "probe-agent";

pub(crate) fn run() -> Result<()> {
    for (package, test, name) in COMPARISONS {
        let mut cargo = workspace::cargo();
        cargo.args(["test", "--locked", "--quiet", "--package", package]);
        cargo.args(["--test", test, name]);
        workspace::run(cargo.env("PROBE_UPDATE_DOCS", "1"))?;
    }
    Ok(())
}
