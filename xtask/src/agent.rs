//! A running agent: a child process with a configuration and a folder of its own.
//!
//! Compiled twice, into the demo and into the benchmarks.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_mins(1);

/// A running agent. Killed, and its folder removed, when dropped; its programs are held by links,
/// so they go with the process.
pub(crate) struct RunningAgent {
    pub(crate) child: Child,
    /// Of its configuration and, in `flows`, of what it stores.
    pub(crate) folder: PathBuf,
}

impl RunningAgent {
    /// Starts an agent and waits until it is ready. `command` is the binary, possibly behind
    /// something that runs it; `sections` is its configuration but for the sinks and addresses,
    /// which are in its folder.
    pub(crate) fn start(command: &mut Command, sections: &str) -> Result<Self> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let folder = format!("probe-run-{}-{serial}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder)?;
        let config = folder.join("probe.yaml");
        let here = folder.display();
        let own = format!(
            "writeout: [ {{ type: json, path: {here}/flows }} ]\n\
             api: {{ addr: \"unix:{here}/probe.sock\", metrics_addr: none }}\n"
        );
        fs::write(&config, format!("{sections}{own}"))?;
        let child = command
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
            let answer = self.request("/readyz");
            if answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!("the agent was not ready after {} s", PATIENCE.as_secs())
    }

    /// The agent's metrics, in Prometheus' text format.
    pub(crate) fn metrics(&self) -> Result<String> {
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

    /// Ends the agent as a service manager does.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("the agent has no process id")?, Signal::TERM)?;
        let status: ExitStatus = self.child.wait()?;
        if !status.success() {
            bail!("the agent did not end well ({status})");
        }
        Ok(())
    }
}

impl Drop for RunningAgent {
    fn drop(&mut self) {
        // Both fail where the agent has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// A command that will run in a network namespace; it replaces itself by the program.
pub(crate) fn inside(namespace: &str, program: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}
