//! `probe-query`, which is a workspace of its own: the checks that the workspace of the agent has.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::workspace;

/// Name of the package.
pub(crate) const NAME: &str = "probe-query";
/// Its manifest, from the root of the agent's workspace.
pub(crate) const MANIFEST: &str = "crates/probe-query/Cargo.toml";
/// Where it is built: not where the agent is, whose `cargo clean` need not take it away.
const TARGET: &str = "target/query";

/// Builds it as it is shipped, and tells where it is.
pub(crate) fn build() -> Result<PathBuf> {
    eprintln!(":: building probe-query, which takes many minutes the first time");
    let words = ["build", "--locked", "--release"];
    run("", &words)?;
    Ok(Path::new(TARGET).join("release").join(NAME))
}

/// Format, lints, documentation, what may be in its dependency tree, and its tests.
pub(crate) fn check() -> Result<()> {
    run("", &["fmt", "--check"])?;
    run(
        "",
        &[
            "clippy",
            "--locked",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    )?;
    run(
        "-D warnings -A rustdoc::private_intra_doc_links",
        &["doc", "--locked", "--no-deps", "--document-private-items"],
    )?;
    deny()?;
    nextest()
}

fn run(rustdoc_flags: &str, words: &[&str]) -> Result<()> {
    let mut cargo = workspace::cargo();
    let (command, others) = words.split_at(1);
    cargo.args(command).args(["--manifest-path", MANIFEST]);
    cargo.args(others).env("CARGO_TARGET_DIR", TARGET);
    workspace::run(cargo.env("RUSTDOCFLAGS", rustdoc_flags))
}

/// By the rules of the agent's workspace.
fn deny() -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["deny", "--manifest-path", MANIFEST, "--locked"]);
    cargo.args(["--config", "deny.toml"]);
    cargo.args(["check", "bans", "licenses", "sources"]);
    workspace::run(&mut cargo)
}

/// The tests. Some ask a running agent, which is built for them: its programs need privileges.
fn nextest() -> Result<()> {
    let mut agent = workspace::cargo();
    workspace::run(agent.args(["build", "--locked", "--package", "probe-agent"]))?;
    let agent = workspace::root().join("target/debug/probe-agent");
    let mut cargo = workspace::cargo();
    cargo.env("CARGO_BIN_EXE_probe-agent", agent);
    cargo.args(["nextest", "run", "--manifest-path", MANIFEST]);
    cargo.args(["--locked", "--no-fail-fast"]);
    workspace::run(cargo.env("CARGO_TARGET_DIR", TARGET))
}
