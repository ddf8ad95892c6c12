//! The agent of the demo: a child process with a configuration of its own.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::net::{LINK, Lab};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running agent. Killed, and its folder removed, when dropped.
pub(super) struct RunningAgent {
    child: Child,
    folder: PathBuf,
}

/// What the agent wrote at its end: flow and ledger lines.
pub(super) struct Written {
    pub(super) flows: Vec<Value>,
    pub(super) ledgers: Vec<Value>,
}

impl RunningAgent {
    /// Starts the agent in the `host` namespace and waits until it is ready.
    pub(super) fn start(binary: &Path, lab: &Lab) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("probe-demo-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let config = folder.join("probe.yaml");
        fs::write(&config, configuration(&folder))?;
        let child = Command::new("ip")
            .args(["netns", "exec", &lab.host])
            .arg(binary)
            .args(["run", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("the agent did not start")?;
        let mut agent = Self { child, folder };
        agent.wait_until_ready()?;
        Ok(agent)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                bail!("the agent ended at its start ({status})");
            }
            if self
                .request("/readyz")
                .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
            {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("the agent was not ready after {} s", PATIENCE.as_secs())
    }

    /// The agent's metrics, in Prometheus' text format.
    pub(super) fn metrics(&self) -> Result<String> {
        let answer = self.request("/metrics")?;
        let (_, body) = answer
            .split_once("\r\n\r\n")
            .context("the agent's answer has no body")?;
        Ok(body.to_owned())
    }

    fn request(&self, path: &str) -> Result<String> {
        let mut stream = UnixStream::connect(self.folder.join("probe.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Ends the agent as a service manager does, and reads what it wrote.
    pub(super) fn stop(mut self) -> Result<Written> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("the agent has no process id")?, Signal::TERM)?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the agent did not end well ({status})");
        }
        let mut written = Written {
            flows: Vec::new(),
            ledgers: Vec::new(),
        };
        read_lines(&self.folder.join("flows"), &mut written)?;
        Ok(written)
    }
}

impl Drop for RunningAgent {
    fn drop(&mut self) {
        // Both fail where the agent has ended already, which is the rule.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "interfaces:\n  {LINK}: {{}}\n\
         rotation: {{ interval: 1d }}\n\
         writeout:\n  - {{ type: json, path: {folder}/flows }}\n\
         api: {{ addr: \"unix:{folder}/probe.sock\", metrics_addr: \"127.0.0.1:9478\" }}\n\
         logging: {{ level: warn }}\n"
    )
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
