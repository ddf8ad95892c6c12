//! The agent of the demo, and what it wrote.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use probe_testkit::{agent::Agent, testbed::Testbed};
use serde_json::Value;

use super::{net::LINK, window::Boundary};

/// What the agent wrote: flow and ledger lines.
pub(super) struct Written {
    pub(super) flows: Vec<Value>,
    pub(super) ledgers: Vec<Value>,
}

/// Starts the agent in the `host` namespace and waits until it is ready.
pub(super) fn start(binary: &Path, testbed: &Testbed) -> Result<Agent> {
    let configuration = format!(
        "interfaces: {{ {LINK}: {{}} }}\n\
         rotation: {{ interval: 1d }}\n\
         logging: {{ level: warn }}\n"
    );
    Agent::try_start(&mut testbed.host.command(binary), &configuration)
}

impl Written {
    /// The intervals from one boundary to the other, and the flows of these.
    pub(super) fn within(mut self, open: &Boundary, closed: &Boundary) -> Self {
        // All are of one interface, and of the form in which times sort as text.
        self.ledgers
            .sort_by_key(|ledger| ledger["start"].to_string());
        self.ledgers.truncate(closed.intervals);
        self.ledgers.drain(..open.intervals.min(self.ledgers.len()));
        let is_within = |flow: &Value| {
            let start = &flow["interval_start"];
            self.ledgers.iter().any(|ledger| ledger["start"] == *start)
        };
        self.flows.retain(is_within);
        self
    }
}

/// What the agent's own commands say of it. Their verdict is not the demo's: beside a busy machine
/// `status` may well have something to tell, which its exit code 5 says.
pub(super) fn show(binary: &Path, agent: &Agent) -> Result<()> {
    for words in [&["status"][..], &["flows", "--limit", "8"]] {
        let line = words.join(" ");
        println!("\n$ probe-agent {line}");
        let mut command = Command::new(binary);
        command.args(words).args(["--addr", &agent.address()]);
        let status = command.status().context("the agent's binary is gone")?;
        if !matches!(status.code(), Some(0 | 5)) {
            bail!("`probe-agent {line}` failed ({status})");
        }
    }
    println!();
    Ok(())
}

/// Ends the agent as a service manager does, and reads what it wrote.
pub(super) fn stop(mut agent: Agent) -> Result<Written> {
    agent.try_stop()?;
    let mut written = Written {
        flows: Vec::new(),
        ledgers: Vec::new(),
    };
    read_lines(&agent.installation().json(), &mut written)?;
    Ok(written)
}

fn read_lines(folder: &Path, written: &mut Written) -> Result<()> {
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        if path.is_dir() {
            read_lines(&path, written)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "jsonl")
        {
            for line in fs::read_to_string(&path)?.lines() {
                let line: Value = serde_json::from_str(line)?;
                if line["type"] == "flow" {
                    &mut written.flows
                } else {
                    &mut written.ledgers
                }
                .push(line);
            }
        }
    }
    Ok(())
}
