//! Where and of what a number was measured.

use std::{fs, process::Command, thread};

use serde_json::{Value, json};

use crate::workspace;

/// Machine, kernel and commit; what cannot be found out is `unknown`.
pub(super) struct Facts {
    pub(super) cpu: String,
    pub(super) cpus: usize,
    pub(super) kernel: String,
    /// With `-dirty` where the sources differ from it.
    pub(super) commit: String,
    /// Processes that wanted to run in the minute before: noise, if more than 0.
    pub(super) load: String,
}

impl Facts {
    pub(super) fn gather() -> Self {
        let unknown = || "unknown".to_owned();
        let read = |path: &str| fs::read_to_string(path).ok();
        let model = read("/proc/cpuinfo").and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(": ")?.1.to_owned())
        });
        let mut git = Command::new("git");
        git.current_dir(workspace::root());
        git.args([
            "describe",
            "--always",
            "--dirty",
            "--abbrev=12",
            "--exclude",
            "*",
        ]);
        let load = read("/proc/loadavg");
        Self {
            cpu: model.unwrap_or_else(unknown),
            cpus: thread::available_parallelism().map_or(0, Into::into),
            kernel: read("/proc/sys/kernel/osrelease").map_or_else(unknown, |it| it.trim().into()),
            commit: workspace::output(&mut git).unwrap_or_else(|_| unknown()),
            load: load
                .and_then(|text| text.split_whitespace().next().map(str::to_owned))
                .unwrap_or_else(unknown),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "cpu": self.cpu,
            "cpus": self.cpus,
            "kernel": self.kernel,
            "commit": self.commit,
            "load": self.load,
        })
    }
}
