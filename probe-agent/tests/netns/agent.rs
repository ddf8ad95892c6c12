//! The agent under test: the real binary with a configuration and a folder of its own.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{
    lab::Namespace,
    metrics::Metrics,
    process::{PATIENCE, Process, eventually, run, within},
};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_probe-agent");

/// A configuration with the folder it writes to. Outlives the agents that are started with it.
pub(crate) struct Installation {
    folder: TempDir,
}

impl Installation {
    /// `interfaces` is the YAML of that section, in flow style.
    pub(crate) fn new(interfaces: &str, interval: &str) -> Self {
        Self::with_capture(interfaces, interval, "{}")
    }

    /// As [`Self::new`], with the YAML of `capture`.
    pub(crate) fn with_capture(interfaces: &str, interval: &str, capture: &str) -> Self {
        let installation = Self::empty();
        let folder = installation.path().display();
        installation.configure(&format!(
            "interfaces: {interfaces}\n\
             capture: {capture}\n\
             rotation: {{ interval: {interval} }}\n\
             writeout:\n\
             - {{ type: parquet, path: {folder}/parquet }}\n\
             - {{ type: json, path: {folder}/json }}\n\
             api: {{ addr: \"unix:{folder}/probe.sock\", metrics_addr: none }}\n"
        ));
        installation
    }

    /// A folder that waits for [`Self::configure`].
    pub(crate) fn empty() -> Self {
        let folder = tempfile::Builder::new().prefix("probe-test-").tempdir();
        Self {
            folder: folder.expect("a folder"),
        }
    }

    pub(crate) fn configure(&self, yaml: &str) {
        fs::write(self.path().join("probe.yaml"), yaml).expect("the configuration is written");
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where the Parquet sink writes.
    pub(crate) fn parquet(&self) -> PathBuf {
        self.path().join("parquet")
    }

    /// Where the JSON sink writes.
    pub(crate) fn json(&self) -> PathBuf {
        self.path().join("json")
    }

    /// What the agents logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// Starts the agent, by way of the words of `wrapper`, and does not wait for anything.
    pub(crate) fn spawn(&self, namespace: &Namespace, wrapper: &[&str], binary: &Path) -> Process {
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
        command.arg(self.path().join("probe.yaml"));
        command.env_remove("RUST_LOG").env("NO_COLOR", "1");
        command.stdout(log.try_clone().expect("a second handle"));
        Process::spawn(command.stderr(log))
    }

    /// Starts the agent and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(&self, namespace: &Namespace) -> Agent<'_> {
        let mut agent = Agent {
            process: self.spawn(namespace, &[], Path::new(BINARY)),
            installation: self,
        };
        eventually("the agent is ready", || {
            if let Some(status) = agent.process.try_wait() {
                panic!("the agent ended at its start ({status})");
            }
            let answer = agent.request("/readyz").ok()?;
            answer.starts_with("HTTP/1.1 200").then_some(())
        });
        agent
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the agent's log ---\n{}---", self.log());
        }
    }
}

/// A running agent, killed when dropped.
pub(crate) struct Agent<'a> {
    process: Process,
    installation: &'a Installation,
}

/// What a process holds in the kernel, by the kernel's numbers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Attached {
    pub(crate) programs: BTreeSet<u32>,
    pub(crate) links: BTreeSet<u32>,
}

impl Agent<'_> {
    /// Asks on the socket; the whole answer.
    pub(crate) fn request(&self, path: &str) -> std::io::Result<String> {
        let socket = self.installation.path().join("probe.sock");
        let mut stream = UnixStream::connect(socket)?;
        // A thousand clients are answered one after the other.
        stream.set_read_timeout(Some(3 * PATIENCE))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Runs a command that asks this agent: how it ended, and all that it said.
    pub(crate) fn command(&self, words: &[&str]) -> (ExitStatus, String) {
        let socket = self.installation.path().join("probe.sock");
        let addr = format!("unix:{}", socket.display());
        let mut command = Command::new(BINARY);
        command.args(words).args(["--addr", &addr]);
        let output = command.output().expect("the command runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status, String::from_utf8(said).expect("text"))
    }

    /// `/metrics` as Prometheus gets it.
    #[track_caller]
    pub(crate) fn exposition(&self) -> String {
        let answer = self.request("/metrics").expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        body.to_owned()
    }

    #[track_caller]
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::parse(&self.exposition())
    }

    /// The metrics once every packet that was seen has reached the flows.
    #[track_caller]
    pub(crate) fn settled_metrics(&self) -> Metrics {
        eventually("every packet has its address", || {
            let metrics = self.metrics();
            let residue = metrics.sum("probe_ledger_residue_packets", "");
            (residue == 0).then_some(metrics)
        })
    }

    /// The agent's map of this name, by the kernel's number.
    #[track_caller]
    pub(crate) fn map(&self, name: &str) -> u32 {
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
    pub(crate) fn attached(&self) -> Attached {
        // More than once: what was just detached may be gone before bpftool looks.
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
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends the agent a signal.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Bytes of the agent's maps, as the kernel accounts for them (6.4 and newer).
    pub(crate) fn map_bytes(&self) -> u64 {
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
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.wait("the agent ends")
    }

    /// Ends it as the kernel's out-of-memory killer does.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait("the agent is killed");
    }
}

impl Attached {
    /// Waits until the kernel knows none of these any more. It frees them shortly after the process
    /// has ended, once no packet can be in them.
    #[track_caller]
    pub(crate) fn wait_until_gone(&self) {
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
pub(crate) fn programs_on_links(namespace: &Namespace) -> String {
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
