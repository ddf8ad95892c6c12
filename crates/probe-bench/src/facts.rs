//! Where and of what a number was measured.

use std::{fmt, fs, path::Path, process::Command, thread};

use serde_json::{Value, json};

use probe_testkit::command;

/// Machine, kernel and commit; what cannot be found out is `unknown`.
pub(crate) struct Facts {
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) kernel: String,
    /// With `-dirty` where the sources differ from it.
    pub(crate) commit: String,
    /// Processes that wanted to run in the minute before: noise, if more than 0.
    pub(crate) load: String,
}

impl Facts {
    pub(crate) fn gather() -> Self {
        let unknown = || "unknown".to_owned();
        let read = |path: &str| fs::read_to_string(path).ok();
        let model = read("/proc/cpuinfo").and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(": ")?.1.to_owned())
        });
        let mut git = Command::new("git");
        git.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
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
            commit: command::output(&mut git).unwrap_or_else(|_| unknown()),
            load: load
                .and_then(|text| text.split_whitespace().next().map(str::to_owned))
                .unwrap_or_else(unknown),
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "cpu": self.cpu,
            "cpus": self.cpus,
            "kernel": self.kernel,
            "commit": self.commit,
            "load": self.load,
        })
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cpu,
            cpus,
            kernel,
            commit,
            load,
        } = self;
        write!(
            f,
            "{cpu}, {cpus} CPUs; Linux {kernel}; probe {commit}; load before {load}"
        )
    }
}
