//! A network namespace of our own.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Write,
    os::fd::AsFd,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
};

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::command::output;

const PREFIX: &str = "probe-test-";

/// A namespace, deleted when dropped. Its links go with it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one, whose name ends with its role, and has a number that no other has. Panics where that
    /// fails.
    #[track_caller]
    pub fn new(role: &str) -> Self {
        match Self::try_new(role) {
            Ok(namespace) => namespace,
            Err(error) => panic!("{error:#}"),
        }
    }

    /// As [`Self::new`], with an error instead of a panic.
    ///
    /// # Errors
    ///
    /// `ip netns add` does not start, or the kernel refuses the namespace.
    pub fn try_new(role: &str) -> Result<Self> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Relaxed);
        let name = format!("{PREFIX}{}-{serial}-{role}", std::process::id());
        output(Command::new("ip").args(["netns", "add", &name]))?;
        Ok(Self { name })
    }

    /// As `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside; its process replaces that of `ip`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a closure inside, on a thread of its own. Sockets that it returns stay inside. A panic of
    /// the closure is one of the caller.
    #[track_caller]
    pub fn enter<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        match self.try_enter(|| Ok(body())) {
            Ok(result) => result,
            Err(error) => panic!("{error:#}"),
        }
    }

    /// As [`Self::enter`], for a closure that may fail.
    ///
    /// # Errors
    ///
    /// The namespace cannot be entered, or `body` returns an error.
    pub fn try_enter<T: Send>(&self, body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let inside = || {
            self.move_in()?;
            body()
        };
        thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Moves the calling thread inside, for good. Threads that it starts are inside, too.
    ///
    /// # Errors
    ///
    /// The namespace is gone, or `CAP_SYS_ADMIN` is missing.
    pub fn move_in(&self) -> Result<()> {
        let path = format!("/run/netns/{}", self.name);
        let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("cannot enter the namespace {}", self.name))
    }

    /// Runs lines of `ip` commands. Panics where one fails.
    #[track_caller]
    pub fn ip(&self, batch: &str) {
        if let Err(error) = self.try_ip(batch) {
            panic!("{error:#}");
        }
    }

    /// As [`Self::ip`], with an error instead of a panic.
    ///
    /// # Errors
    ///
    /// `ip` does not start, or refuses a line: the text has what it says.
    pub fn try_ip(&self, batch: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["-netns", &self.name, "-batch", "-"]);
        let mut ip = command
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("`ip` did not start: is it installed?")?;
        let mut stdin = ip.stdin.take().context("`ip` takes no commands")?;
        stdin.write_all(batch.as_bytes())?;
        drop(stdin);
        let output = ip.wait_with_output()?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("`ip` failed: {}\n{batch}", errors.trim());
        }
        Ok(())
    }

    /// Writes a setting below `/proc/sys/net` of this namespace.
    ///
    /// # Errors
    ///
    /// The namespace cannot be entered, or the kernel refuses setting or value.
    pub fn try_set(&self, path: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys/net").join(path);
        self.try_enter(|| {
            fs::write(&path, value).with_context(|| format!("cannot write {}", path.display()))
        })
    }

    /// As [`Self::try_set`], with a panic where it fails.
    #[track_caller]
    pub fn set(&self, path: &str, value: &str) {
        if let Err(error) = self.try_set(path, value) {
            panic!("{error:#}");
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A panic while panicking would abort and leave the rest behind.
        if let Err(error) = output(Command::new("ip").args(["netns", "delete", &self.name])) {
            eprintln!("cannot delete the namespace {}: {error:#}", self.name);
        }
    }
}

/// Deletes the namespaces of processes that were killed and could not do it.
pub fn delete_orphans() {
    let Ok(namespaces) = fs::read_dir("/run/netns") else {
        return;
    };
    for namespace in namespaces.flatten() {
        let name = namespace.file_name().to_string_lossy().into_owned();
        let Some((pid, _)) = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('-'))
        else {
            continue;
        };
        if !Path::new("/proc").join(pid).exists() {
            // May fail: another process does the same.
            drop(Namespace { name });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, panic::catch_unwind, path::PathBuf, sync::mpsc};

    use super::Namespace;
    use crate::skip;

    #[test]
    fn a_namespace_and_its_links_go_with_their_guard() {
        if !skip::kernel_or_skip(&["ip"]) {
            return;
        }
        let namespace = Namespace::new("guard");
        namespace.ip("link add guard0 type veth peer name guard1\n");
        let links = namespace.enter(|| fs::read_to_string("/proc/thread-self/net/dev"));
        assert!(links.expect("links").contains("guard0"));
        let path = PathBuf::from("/run/netns").join(namespace.name());
        assert!(path.exists());
        drop(namespace);
        assert!(!path.exists());
    }

    #[test]
    fn a_panic_removes_it_too() {
        if !skip::kernel_or_skip(&["ip"]) {
            return;
        }
        let (tell, told) = mpsc::channel();
        let panic = catch_unwind(move || {
            let namespace = Namespace::new("panic");
            tell.send(namespace.name().to_owned()).expect("heard");
            namespace.enter(|| panic!("inside"));
        });
        assert!(panic.is_err(), "a panic inside is one of the caller");
        let name = told.recv().expect("the namespace was made");
        assert!(!PathBuf::from("/run/netns").join(name).exists());
    }
}
