//! The agent under measurement: its release build, on the host's end of the link.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::net::{LINK, Lab, Server, inside};
use crate::workspace;

const PATIENCE: Duration = Duration::from_secs(20);

/// Builds the agent as it is shipped and returns the binary.
pub(super) fn build() -> Result<PathBuf> {
    eprintln!(":: building the agent in release (the first time takes some minutes)");
    let build = ["build", "--release", "--locked", "--package", "probe-agent"];
    workspace::run(workspace::cargo().args(build))?;
    let xtask = std::env::current_exe().context("cannot find the build directory")?;
    // Of `target/debug/xtask`.
    let target = xtask
        .ancestors()
        .nth(2)
        .context("cannot find the build directory")?;
    let binary = target.join("release/probe-agent");
    if !binary.is_file() {
        bail!("the build left no {}: name it by --agent", binary.display());
    }
    Ok(binary)
}

/// A running agent. Killed, and its folder removed, when dropped.
pub(super) struct Agent {
    process: Server,
    folder: PathBuf,
}

/// What the agent counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) seen: u64,
    /// In no flow because the agent did not keep up.
    pub(super) dropped: u64,
}

impl Agent {
    pub(super) fn start(binary: &Path, lab: &Lab, hook: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("probe-bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let config = folder.join("probe.yaml");
        fs::write(&config, configuration(&folder, hook))?;
        let mut command = inside(&lab.host, binary);
        let process = Server::spawn(command.args(["run", "--config"]).arg(config))?;
        let mut agent = Self { process, folder };
        agent.wait_until_ready(hook)?;
        Ok(agent)
    }

    fn wait_until_ready(&mut self, hook: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.process.0.try_wait()? {
                bail!("the agent with hook {hook} ended at its start ({status})");
            }
            let answer = self.request("/readyz");
            if answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!(
            "the agent with hook {hook} was not ready after {} s",
            PATIENCE.as_secs()
        )
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

    /// What it counted so far.
    pub(super) fn counted(&self) -> Result<Counted> {
        let metrics = self.request("/metrics")?;
        Ok(Counted {
            seen: sum(&metrics, "probe_packets_seen_total{"),
            dropped: sum(&metrics, "probe_packets_dropped_total{"),
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Its programs are held by links, so they go with the process.
        drop(self.process.0.kill());
        drop(self.process.0.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn sum(metrics: &str, series: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with(series));
    let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
    values.sum()
}

fn configuration(folder: &Path, hook: &str) -> String {
    let folder = folder.display();
    format!(
        "interfaces: {{ {LINK}: {{ hook: {hook} }} }}\n\
         rotation: {{ interval: 1h }}\n\
         writeout: [ {{ type: json, path: {folder}/flows }} ]\n\
         api: {{ addr: \"unix:{folder}/probe.sock\", metrics_addr: none }}\n\
         logging: {{ level: error }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn series_of_one_metric_are_added_up() {
        let metrics = "a_total{x=\"1\"} 2\nab_total{} 100\na_total{x=\"2\"} 3\n# a_total{ 7\n";
        assert_eq!(sum(metrics, "a_total{"), 5);
    }
}
