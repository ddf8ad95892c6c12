//! A running agent: the real binary, with a configuration and a folder of its own.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    command::run,
    eventually::{PATIENCE, eventually, try_within, within},
    metrics::Metrics,
    netns::Namespace,
    process::Process,
};

/// Within that an agent is ready that captures a thousand interfaces.
const START_PATIENCE: Duration = Duration::from_mins(1);

/// The built agent, which Cargo names to the tests of its package.
///
/// # Panics
///
/// In a test of another package.
#[track_caller]
pub fn built_binary() -> PathBuf {
    let binary = env::var_os("CARGO_BIN_EXE_probe-agent");
    let binary = binary.expect("Cargo or nextest runs a test of the package probe-agent");
    PathBuf::from(binary)
}

/// A configuration with the folder that its agents write to. The folder is removed when neither this
/// nor one of its agents is there any more.
#[derive(Clone, Debug)]
pub struct Installation(Arc<Folder>);

#[derive(Debug)]
struct Folder {
    folder: TempDir,
}

impl Installation {
    /// Captures `interfaces`, which is the YAML of that section in flow style, and stores what it saw
    /// each `interval`, which may be followed by other keys of `rotation`.
    #[track_caller]
    pub fn new(interfaces: &str, interval: &str) -> Self {
        Self::with_capture(interfaces, interval, "{}")
    }

    /// As [`Self::new`], with the YAML of `capture`.
    #[track_caller]
    pub fn with_capture(interfaces: &str, interval: &str, capture: &str) -> Self {
        let installation = Self::empty();
        let folder = installation.path().display();
        installation.configure(&format!(
            "interfaces: {interfaces}\n\
             capture: {capture}\n\
             rotation: {{ interval: {interval} }}\n\
             writeout:\n\
             - {{ type: parquet, path: {folder}/parquet }}\n\
             - {{ type: json, path: {folder}/json }}\n\
             {}",
            installation.own_sections()
        ));
        installation
    }

    /// A folder that waits for [`Self::configure`].
    #[track_caller]
    pub fn empty() -> Self {
        match Self::try_empty() {
            Ok(installation) => installation,
            Err(error) => panic!("{error:#}"),
        }
    }

    /// As [`Self::empty`], with an error instead of a panic.
    ///
    /// # Errors
    ///
    /// The system makes no temporary folder.
    pub fn try_empty() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("probe-test-").tempdir();
        let folder = folder.context("cannot make a folder for an agent")?;
        Ok(Self(Arc::new(Folder { folder })))
    }

    /// The section of the configuration that has the agent listen where [`Agent`] asks.
    fn own_sections(&self) -> String {
        let folder = self.path().display();
        format!("api: {{ addr: \"unix:{folder}/probe.sock\", metrics_addr: none }}\n")
    }

    /// Writes the configuration, which is read by the next start or reload.
    #[track_caller]
    pub fn configure(&self, yaml: &str) {
        fs::write(self.config(), yaml).expect("the configuration is written");
    }

    /// Path of the installation's folder.
    pub fn path(&self) -> &Path {
        self.0.folder.path()
    }

    /// The file with the configuration.
    fn config(&self) -> PathBuf {
        self.path().join("probe.yaml")
    }

    /// Where the Parquet sink writes.
    pub fn parquet(&self) -> PathBuf {
        self.path().join("parquet")
    }

    /// Where the JSON sink writes.
    pub fn json(&self) -> PathBuf {
        self.path().join("json")
    }

    /// What the agents logged so far. A thread of theirs writes it: what one has just done may be missing.
    pub fn log(&self) -> String {
        self.0.log()
    }

    /// Waits until they have logged this, and returns all that they logged.
    #[track_caller]
    pub fn log_that_says(&self, text: &str) -> String {
        eventually(&format!("the log says {text:?}"), || {
            Some(self.log()).filter(|log| log.contains(text))
        })
    }

    /// Starts the agent, by way of the words of `wrapper`, and does not wait for anything.
    #[track_caller]
    pub fn spawn(&self, namespace: &Namespace, wrapper: &[&str], binary: &Path) -> Process {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path().join("log"));
        let log = log.expect("a log");
        let mut words = wrapper
            .iter()
            .map(AsRef::as_ref)
            .chain([binary.as_os_str()]);
        let mut command = namespace.command(words.next().expect("a command"));
        command.args(words).args(["run", "--config"]);
        command.arg(self.config());
        command.env_remove("RUST_LOG").env("NO_COLOR", "1");
        command.stdout(log.try_clone().expect("a second handle"));
        Process::spawn(command.stderr(log))
    }

    /// Starts the agent and waits until it is ready.
    #[track_caller]
    pub fn start(&self, namespace: &Namespace) -> Agent {
        self.start_by(namespace, &[])
    }

    /// As [`Self::start`], by way of the words of `wrapper`, which become the agent.
    #[track_caller]
    pub fn start_by(&self, namespace: &Namespace, wrapper: &[&str]) -> Agent {
        let mut agent = Agent {
            process: self.spawn(namespace, wrapper, &built_binary()),
            installation: self.clone(),
        };
        if let Err(error) = agent.wait_until_ready(PATIENCE) {
            panic!("{error:#}");
        }
        agent
    }
}

impl Folder {
    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the agent's log ---\n{}---", self.log());
        }
    }
}

/// A running agent, killed when dropped. Its programs are held by links, so they go with it.
#[derive(Debug)]
pub struct Agent {
    // First, so that the process ends before its folder goes.
    process: Process,
    installation: Installation,
}

/// What a process holds in the kernel, by the kernel's numbers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Attached {
    pub programs: BTreeSet<u32>,
    pub links: BTreeSet<u32>,
}

impl Agent {
    /// Starts an agent with an installation of its own and waits until it is ready. `command` is the
    /// binary, possibly behind something that runs it. `sections` is the configuration but for `api`
    /// and for `writeout`, which stores JSON. The log goes where that of the caller goes.
    ///
    /// # Errors
    ///
    /// The configuration cannot be written, the command does not start, or the agent ends or is not
    /// ready within a minute.
    pub fn try_start(command: &mut Command, sections: &str) -> Result<Self> {
        let installation = Installation::try_empty()?;
        let json = installation.json();
        let own = installation.own_sections();
        let writeout = format!("writeout: [ {{ type: json, path: {} }} ]\n", json.display());
        fs::write(installation.config(), format!("{sections}{writeout}{own}"))?;
        command.args(["run", "--config"]).arg(installation.config());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut agent = Self {
            process: Process::try_spawn(command)?,
            installation,
        };
        agent.wait_until_ready(START_PATIENCE)?;
        Ok(agent)
    }

    fn wait_until_ready(&mut self, patience: Duration) -> Result<()> {
        try_within(patience, "the agent is ready", || {
            if let Some(status) = self.process.try_wait() {
                bail!("the agent ended at its start ({status})");
            }
            let answer = self.request("/readyz").unwrap_or_default();
            // It has nothing to capture yet, and waits for nothing else.
            let is_idle = answer.ends_with("waiting for:\nnothing_captured\n");
            let is_ready = answer.starts_with("HTTP/1.1 200") || is_idle;
            Ok(is_ready.then_some(()))
        })
    }

    /// Its configuration, and where it stores.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Asks on the socket; the whole answer.
    ///
    /// # Errors
    ///
    /// No agent listens on the socket, or it does not answer within a minute.
    pub fn request(&self, path: &str) -> std::io::Result<String> {
        self.send("GET", path, "")
    }

    /// Ends the running interval, and tells how many have been ended since the start.
    ///
    /// # Errors
    ///
    /// The agent does not answer, or not with status 200.
    pub fn try_rotate(&self) -> Result<usize> {
        let rotation = "/api/v1/rotation";
        body(self.send("POST", rotation, ""))?;
        let report = body(self.request(rotation))?;
        let count = report.split_once("\"count\":").map(|(_, rest)| {
            let digits = rest.find(|char: char| !char.is_ascii_digit());
            rest[..digits.unwrap_or(rest.len())].parse()
        });
        count
            .and_then(Result::ok)
            .with_context(|| format!("the agent does not count its rotations: {report}"))
    }

    /// What its commands take to find it: the value of `--addr`.
    pub fn address(&self) -> String {
        format!("unix:{}/probe.sock", self.installation.path().display())
    }

    /// Sends a request with a document in YAML, or without one if that is empty; the whole answer.
    ///
    /// # Errors
    ///
    /// As [`Self::request`].
    pub fn send(&self, method: &str, path: &str, yaml: &str) -> std::io::Result<String> {
        let socket = self.installation.path().join("probe.sock");
        let mut stream = UnixStream::connect(socket)?;
        // A thousand clients are answered one after the other.
        stream.set_read_timeout(Some(3 * PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n"
        )?;
        if !yaml.is_empty() {
            let octets = yaml.len();
            write!(
                stream,
                "Content-Type: application/yaml\r\nContent-Length: {octets}\r\n"
            )?;
        }
        write!(stream, "\r\n{yaml}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Runs a command that asks this agent: how it ended, and all that it said.
    pub fn command(&self, words: &[&str]) -> (ExitStatus, String) {
        let mut command = Command::new(built_binary());
        command.args(words).args(["--addr", &self.address()]);
        let output = command.output().expect("the command runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status, String::from_utf8(said).expect("text"))
    }

    /// `/metrics` as Prometheus gets it.
    #[track_caller]
    pub fn exposition(&self) -> String {
        match self.try_exposition() {
            Ok(text) => text,
            Err(error) => panic!("{error:#}"),
        }
    }

    /// As [`Self::exposition`], with an error instead of a panic.
    ///
    /// # Errors
    ///
    /// The agent does not answer, or not with status 200.
    pub fn try_exposition(&self) -> Result<String> {
        body(self.request("/metrics"))
    }

    /// Scrapes the metrics of the agent.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        Metrics::parse(&self.exposition())
    }

    /// As [`Self::metrics`], with an error instead of a panic.
    ///
    /// # Errors
    ///
    /// As [`Self::try_exposition`].
    pub fn try_metrics(&self) -> Result<Metrics> {
        Ok(Metrics::parse(&self.try_exposition()?))
    }

    /// The metrics once every packet that was seen has reached the flows.
    #[track_caller]
    pub fn settled_metrics(&self) -> Metrics {
        eventually("every packet has its address", || {
            let metrics = self.metrics();
            let residue = metrics.sum("probe_ledger_residue_packets", "");
            (residue == 0).then_some(metrics)
        })
    }

    /// The agent's map of this name, by the kernel's number.
    #[track_caller]
    pub fn map(&self, name: &str) -> u32 {
        let is_it = |id: &u32| {
            let mut bpftool = Command::new("bpftool");
            let shown = run(bpftool.args(["map", "show", "id", &id.to_string()]));
            shown.contains(&format!("name {name} "))
        };
        let maps = self.numbers("map_id:");
        maps.into_iter().find(is_it).expect("a map of this name")
    }

    /// Values of a key in the descriptions of what the agent has open.
    #[track_caller]
    fn numbers(&self, key: &str) -> BTreeSet<u32> {
        let folder = format!("/proc/{}/fdinfo", self.process.id());
        let files = fs::read_dir(folder).expect("a living agent").flatten();
        let number = |text: String| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim().parse().ok()
        };
        files
            .filter_map(|file| number(fs::read_to_string(file.path()).ok()?))
            .collect()
    }

    /// The programs and links that the agent holds now, which the kernel knows.
    #[track_caller]
    pub fn attached(&self) -> Attached {
        // More than once: what was just detached may be gone before bpftool asks for it.
        let attached = within(PATIENCE, "bpftool shows all programs and links", || {
            let attached = Attached {
                programs: self.numbers("prog_id:"),
                links: self.numbers("link_id:"),
            };
            let is_all_known = attached.ids().all(|(kind, id)| is_known(kind, id));
            is_all_known.then_some(attached)
        });
        assert!(!attached.programs.is_empty(), "no program is loaded");
        assert!(!attached.links.is_empty(), "programs are held by links");
        attached
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends the agent a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Bytes of the agent's maps, as the kernel accounts for them (6.4 and newer).
    pub fn map_bytes(&self) -> u64 {
        let folder = format!("/proc/{}/fdinfo", self.process.id());
        let mut maps = std::collections::BTreeMap::new();
        for file in fs::read_dir(folder).expect("a living agent").flatten() {
            let text = fs::read_to_string(file.path()).unwrap_or_default();
            let number = |key: &str| -> Option<u64> {
                let line = text.lines().find_map(|line| line.strip_prefix(key))?;
                line.trim().parse().ok()
            };
            maps.extend(number("map_id:").zip(number("memlock:")));
        }
        maps.values().sum()
    }

    /// Asks for the end as a service manager does, and waits for it.
    #[track_caller]
    pub fn terminate(mut self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.wait("the agent ends")
    }

    /// Asks for the end, and waits for it as long as it takes. An error unless the agent ends well.
    ///
    /// # Errors
    ///
    /// The exit status of the agent is not 0.
    pub fn try_stop(&mut self) -> Result<()> {
        self.process.signal(Signal::TERM);
        let status = self.process.wait_forever();
        if !status.success() {
            bail!("the agent did not end well ({status})");
        }
        Ok(())
    }

    /// Ends it as the kernel's out-of-memory killer does.
    #[track_caller]
    pub fn kill(mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait("the agent is killed");
    }
}

/// The body of an answer that is good.
fn body(answer: std::io::Result<String>) -> Result<String> {
    let answer = answer.context("the agent does not answer")?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => bail!("the agent refuses: {answer}"),
    }
}

impl Attached {
    /// Waits until the kernel knows none of these any more. It frees them shortly after the process
    /// has ended, once no packet can be in them.
    #[track_caller]
    pub fn wait_until_gone(&self) {
        for (kind, id) in self.ids() {
            eventually(&format!("{kind} {id} is gone"), || {
                (!is_known(kind, id)).then_some(())
            });
        }
    }

    fn ids(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let programs = self.programs.iter().map(|id| ("prog", *id));
        programs.chain(self.links.iter().map(|id| ("link", *id)))
    }
}

/// Whether the kernel has a program (`prog`) or link of this number.
fn is_known(kind: &str, id: u32) -> bool {
    let mut bpftool = Command::new("bpftool");
    let shown = bpftool.args([kind, "show", "id", &id.to_string()]).output();
    shown.expect("bpftool runs").status.success()
}

/// What is attached to the links of a namespace, as the links themselves tell it.
pub fn programs_on_links(namespace: &Namespace) -> String {
    let mut ip = Command::new("ip");
    ip.args(["-netns", namespace.name(), "-details", "link", "show"]);
    let links = run(&mut ip);
    let xdp: Vec<_> = links.lines().filter(|line| line.contains("xdp")).collect();
    let qdiscs = run(Command::new("tc").args(["-netns", namespace.name(), "qdisc", "show"]));
    format!(
        "{}\n{qdiscs}{}",
        xdp.join("\n"),
        run(namespace.command("bpftool").args(["net"]))
    )
}
