//! Where the workspace is, and how its tasks start other programs.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use probe_testkit::command::shown;
pub(crate) use probe_testkit::command::{find_program, output};

/// Root of the workspace, from the place of this crate at build time.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// What the variables start with that Cargo sets for the package which it compiles or runs.
const PACKAGE_VARIABLES: [&[u8]; 2] = [b"CARGO_MANIFEST_", b"CARGO_PKG_"];

/// The cargo that runs this task, so that every step uses one toolchain.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    // `cargo run` describes this package to this process. Build scripts that ask for such a variable
    // (ring's) would run again, and all that uses them be compiled again, where one of them differs
    // from the last build. By the name of a package cargo-machete tells that no `cargo machete` has
    // called it.
    let of_this_package = |name: &OsString| {
        PACKAGE_VARIABLES
            .iter()
            .any(|it| name.as_encoded_bytes().starts_with(it))
    };
    for name in env::vars_os().map(|(name, _)| name).filter(of_this_package) {
        cargo.env_remove(name);
    }
    cargo
}

/// Runs a command with its output visible; fails with the command line when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = spawn(command)?.wait()?;
    outcome(command, status)
}

/// Starts a command without an input.
pub(crate) fn spawn(command: &mut Command) -> Result<Child> {
    let spawned = command.stdin(Stdio::null()).spawn();
    spawned.with_context(|| format!("`{}` did not start: is it installed?", shown(command)))
}

/// Fails with the command line where the command has failed.
pub(crate) fn outcome(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::cargo;

    #[test]
    fn no_build_script_asks_for_what_is_set_for_this_process_alone() {
        // What ring's build script asks for. Cargo sets them for this test, too.
        for name in [
            "CARGO_MANIFEST_DIR",
            "CARGO_PKG_NAME",
            "CARGO_PKG_VERSION_MAJOR",
        ] {
            assert!(std::env::var_os(name).is_some(), "{name}");
            let cargo = cargo();
            let is_removed = cargo.get_envs().any(|it| it == (name.as_ref(), None));
            assert!(is_removed, "{name}");
        }
    }
}
