//! Tells the agent which commit it was built from.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    commit();
}

/// Names the commit in release builds. Others would have to be built anew after each commit.
fn commit() {
    println!("cargo::rerun-if-env-changed=PROBE_GIT_COMMIT");
    if env::var_os("PROBE_GIT_COMMIT").is_some() || env::var("PROFILE").as_deref() != Ok("release")
    {
        return;
    }
    // Elsewhere than in `.git` for a worktree; a path that does not exist would build anew each time.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
    if let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) {
        println!("cargo::rustc-env=PROBE_GIT_COMMIT={commit}");
    }
}

/// What git answers, if it does.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let answer = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| answer.trim().to_owned())
}
