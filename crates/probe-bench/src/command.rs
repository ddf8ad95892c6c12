//! Other programs: running them, and finding them.

use std::{
    env,
    ffi::OsStr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// Runs a command whose output nobody needs; fails with its standard error when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// What a command wrote to standard output, trimmed; fails with its standard error when it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("`{shown}` did not start: is it installed?"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed ({}): {}", output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The first file of this name on `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Fails unless this is root, and these programs are here.
pub(crate) fn require(programs: &[&str]) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("this loads eBPF programs and makes network namespaces: run it as root");
    }
    for name in programs {
        if find_program(name).is_none() {
            bail!("`{name}` is missing: `.ci/run` names the packages that have all tools");
        }
    }
    Ok(())
}

/// A child that is killed when dropped.
pub(crate) struct Server(pub(crate) Child);

impl Server {
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Ok(Self(child.with_context(|| {
            format!("`{}` did not start", shown(command))
        })?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}
