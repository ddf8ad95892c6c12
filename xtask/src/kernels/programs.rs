//! The agent and the tests that go into the machines.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Programs on this machine.
pub(super) struct Programs {
    /// The path of the agent under test.
    pub(super) agent: PathBuf,
    /// The path of the end-to-end tests' executable.
    pub(super) tests: PathBuf,
}

impl Programs {
    /// Builds the tests, and the agent unless there is another.
    pub(super) fn build(cargo: &mut Command, agent: Option<&Path>) -> Result<Self> {
        cargo.args(["test", "--locked", "--package", "probe-agent"]);
        cargo.args(["--test", "netns", "--no-run"]);
        cargo.arg("--message-format=json-render-diagnostics");
        let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.context("`cargo test` did not start")?;
        ensure!(output.status.success(), "the tests were not built");
        let told = String::from_utf8_lossy(&output.stdout);
        let built = executable(&told, "probe-agent", "bin")?;
        Ok(Self {
            agent: agent.map_or(built, Path::to_path_buf),
            tests: executable(&told, "netns", "test")?,
        })
    }
}

/// The file that cargo made of a target, by what it tells of each in a line of JSON.
fn executable(told: &str, name: &str, kind: &str) -> Result<PathBuf> {
    let is_it =
        |message: &Value| message["target"]["name"] == name && message["target"]["kind"][0] == kind;
    let mut messages = told
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let file = messages.find_map(|message: Value| {
        let file = message["executable"].as_str().filter(|_| is_it(&message));
        file.map(PathBuf::from)
    });
    file.with_context(|| format!("cargo does not say where {name} is"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::executable;

    #[test]
    fn cargo_tells_where_a_program_is() {
        let told = r#"noise
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"netns"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"netns"},"executable":"/t/netns-1"}
"#;
        let found = executable(told, "netns", "test").expect("it is told");
        assert_eq!(found, Path::new("/t/netns-1"));
        executable(told, "netns", "bin").expect_err("it was not built");
    }
}
