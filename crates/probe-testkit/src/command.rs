//! Other programs: running them, and finding them.

use std::{
    env,
    ffi::OsStr,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// Runs a command to its end and returns what it wrote to standard output. Panics where it fails.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    match stdout(command) {
        Ok(text) => text,
        Err(error) => panic!("{error:#}"),
    }
}

/// What a command wrote to standard output, trimmed. The error of a command that fails holds what it
/// wrote to standard error.
///
/// # Errors
///
/// The command does not start, or its exit status is not 0.
pub fn output(command: &mut Command) -> Result<String> {
    Ok(stdout(command)?.trim().to_owned())
}

fn stdout(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("`{shown}` did not start: is it installed?"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed ({}): {}", output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first file of this name on `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Program and arguments of a command, as one types them.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{find_program, output};

    #[test]
    fn a_command_that_fails_says_why() {
        let told = output(Command::new("sh").args(["-c", "echo ' well '"]));
        assert_eq!(told.expect("sh runs"), "well");
        let mut failing = Command::new("sh");
        failing.args(["-c", "echo broken >&2; exit 3"]);
        let error = output(&mut failing).expect_err("it fails").to_string();
        assert!(error.ends_with("(exit status: 3): broken"), "{error}");
        let error = output(&mut Command::new("no-such-program")).expect_err("absent");
        assert!(error.to_string().contains("is it installed?"), "{error:#}");
        assert!(find_program("sh").is_some());
        assert_eq!(find_program("no-such-program"), None);
    }
}
