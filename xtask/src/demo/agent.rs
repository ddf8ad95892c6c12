//! The agent of the demo, and what it wrote.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use probe_testkit::{agent::Agent, testbed::Testbed};
use serde_json::Value;

use super::net::LINK;

/// What the agent wrote at its end: flow and ledger lines.
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
