//! The probes that are compared: how each is started, and what it tells of its losses.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use probe_testkit::{
    agent::Agent,
    command::{find_program, output},
    eventually::try_within,
    process::Process,
    testbed::Testbed,
};
use rustix::process::Signal;

use super::generator::ifindex;
use crate::{
    Common,
    process::{cpu_ns, family, rss_bytes},
    programs::{Hook, Programs},
    testbed::LINK,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// CPU of the probes; the generator has the first.
const CPU: &str = "1";

/// A kind of probe.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// No probe: so it shows the noise of what the probes cost.
    None,
    /// An empty program: what any program at the hook costs.
    Empty(Hook),
    /// Our agent, on this hook.
    Probe(Hook),
    Softflowd,
    Nfpcapd,
    Pmacctd,
    /// Name, and a command line with `{iface}`.
    Other(String, String),
}

impl Kind {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::None => "none",
            Self::Empty(Hook::Tc) => "empty-tc",
            Self::Empty(Hook::Xdp) => "empty-xdp",
            Self::Probe(Hook::Tc) => "probe-tc",
            Self::Probe(Hook::Xdp) => "probe-xdp",
            Self::Softflowd => "softflowd",
            Self::Nfpcapd => "nfpcapd",
            Self::Pmacctd => "pmacctd",
            Self::Other(name, _) => name,
        }
    }

    /// Whether it can run here. Debian's packages: softflowd, nfdump (since 1.7), pmacct.
    pub(crate) fn is_here(&self) -> bool {
        match self {
            Self::None | Self::Empty(_) | Self::Probe(_) | Self::Other(..) => true,
            Self::Softflowd | Self::Nfpcapd | Self::Pmacctd => find_program(self.name()).is_some(),
        }
    }

    /// Whether we are compared with it.
    pub(crate) fn is_peer(&self) -> bool {
        !matches!(self, Self::None | Self::Empty(_) | Self::Probe(_))
    }

    /// Reads a probe from `NAME=command line`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, command) = text.split_once('=').ok_or("NAME=COMMAND is wanted")?;
        Ok(Self::Other(name.to_owned(), command.to_owned()))
    }
}

/// What a probe says that it has seen and lost; `None` where it does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    pub(crate) seen: Option<u64>,
    pub(crate) lost: Option<u64>,
    /// Seen, but neither in flows nor in a named loss.
    pub(crate) residue: Option<i64>,
}

impl std::ops::Add for Told {
    type Output = Self;

    /// Adds the results of two runs.
    fn add(self, other: Self) -> Self {
        Self {
            seen: self.seen.zip(other.seen).map(|(one, other)| one + other),
            lost: self.lost.zip(other.lost).map(|(one, other)| one + other),
            residue: (self.residue.zip(other.residue)).map(|(one, other)| one + other),
        }
    }
}

/// A running probe. Stopped when dropped.
pub(crate) enum Running {
    None,
    /// Its programs, which are attached as long as they are there.
    Empty(#[expect(dead_code, reason = "held to be dropped")] Box<Programs>),
    Probe(Agent),
    Peer(Peer),
}

/// Somebody else's probe, with a folder for what it writes.
pub(crate) struct Peer {
    kind: Kind,
    process: Process,
    folder: PathBuf,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Children of pmacctd end with their parent, if that can tell them.
        if self.process.try_wait().is_none() {
            self.process.signal(Signal::TERM);
        }
        let patience = Duration::from_secs(5);
        drop(try_within(patience, "it ends", || {
            Ok(self.process.try_wait())
        }));
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// Starts a probe on the host's end of the link, and waits until it watches.
pub(crate) fn start(
    kind: &Kind,
    testbed: &Testbed,
    common: &Common,
    capture: &str,
) -> Result<Running> {
    match kind {
        Kind::None => Ok(Running::None),
        Kind::Empty(hook) => {
            let mut programs = Box::new(Programs::load(&common.programs, 1)?);
            testbed
                .host
                .try_enter(|| programs.attach_empty(*hook, LINK))?;
            Ok(Running::Empty(programs))
        }
        Kind::Probe(hook) => {
            let hook = match hook {
                Hook::Tc => "tc",
                Hook::Xdp => "xdp-native",
            };
            let configuration = format!(
                "interfaces: {{ {LINK}: {{ hook: {hook} }} }}\ncapture: {capture}\n\
                 rotation: {{ interval: 1h }}\nlogging: {{ level: error }}\n"
            );
            let mut command = pinned(testbed, common.agent.as_os_str());
            Ok(Running::Probe(Agent::try_start(
                &mut command,
                &configuration,
            )?))
        }
        _ => Ok(Running::Peer(start_peer(kind, testbed)?)),
    }
}

fn start_peer(kind: &Kind, testbed: &Testbed) -> Result<Peer> {
    let folder = format!("probe-bench-{}-{}", std::process::id(), kind.name());
    let folder = std::env::temp_dir().join(folder);
    fs::create_dir_all(&folder)?;
    let mut command = peer_command(kind, testbed, &folder)?;
    let log = File::create(folder.join("log"))?;
    command
        .current_dir(&folder)
        .stdout(log.try_clone()?)
        .stderr(log);
    let mut peer = Peer {
        kind: kind.clone(),
        process: Process::try_spawn(&mut command)?,
        folder,
    };
    peer.wait_until_it_watches(testbed)?;
    Ok(peer)
}

/// As their manuals have it: flows by the five-tuple, room for all of them, no export.
fn peer_command(kind: &Kind, testbed: &Testbed, folder: &Path) -> Result<Command> {
    let here = folder.display();
    let mut command = pinned(testbed, kind.name().as_ref());
    match kind {
        Kind::Softflowd => {
            command.args(["-d", "-i", LINK, "-m", "2000000", "-n", "127.0.0.1:9995"]);
            command.args(["-p", &format!("{here}/pid"), "-c", &format!("{here}/ctl")]);
        }
        Kind::Nfpcapd => {
            command.args(["-i", LINK, "-v", "-w", &here.to_string()]);
        }
        Kind::Pmacctd => {
            let configuration = format!(
                "daemonize: false\npcap_interface: {LINK}\n\
                 aggregate: src_host, dst_host, src_port, dst_port, proto\n\
                 plugins: print\nprint_output_file: /dev/null\nprint_refresh_time: 3600\n\
                 plugin_pipe_size: 67108864\nplugin_buffer_size: 65536\n"
            );
            fs::write(folder.join("conf"), configuration)?;
            command.args(["-f", &format!("{here}/conf")]);
        }
        Kind::Other(_, line) => {
            command = pinned(testbed, "sh".as_ref());
            command.args(["-c", &format!("exec {}", line.replace("{iface}", LINK))]);
        }
        Kind::None | Kind::Empty(_) | Kind::Probe(_) => bail!("{} is no peer", kind.name()),
    }
    Ok(command)
}

/// In the host's namespace, on the CPU of the probes where there are several.
fn pinned(testbed: &Testbed, program: &std::ffi::OsStr) -> Command {
    if thread::available_parallelism().is_ok_and(|cpus| cpus.get() == 1) {
        return testbed.host.command(program);
    }
    let mut command = testbed.host.command("taskset");
    command.args(["--cpu-list", CPU]).arg(program);
    command
}

impl Peer {
    /// A socket of the packet family is bound to the link; what has none is given a second.
    fn wait_until_it_watches(&mut self, testbed: &Testbed) -> Result<()> {
        let ifindex = ifindex(&testbed.host, LINK)?.to_string();
        let began = Instant::now();
        let patience = match self.kind {
            Kind::Other(..) => Duration::from_secs(1),
            _ => PATIENCE,
        };
        while began.elapsed() < patience {
            if let Some(status) = self.process.try_wait() {
                bail!("{} ended ({status}): {}", self.kind.name(), self.log());
            }
            let path = format!("/proc/{}/net/packet", self.process.id());
            let sockets = fs::read_to_string(path).unwrap_or_default();
            let mut interfaces = sockets.lines().skip(1);
            if interfaces.any(|line| line.split_whitespace().nth(4) == Some(&ifindex)) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        match self.kind {
            Kind::Other(..) => Ok(()),
            _ => bail!(
                "{} does not watch the link: {}",
                self.kind.name(),
                self.log()
            ),
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// The last number behind a word in what it wrote.
    fn logged(&self, word: &str) -> Option<u64> {
        number_behind(&self.log(), word)
    }

    fn told(&mut self) -> Result<Told> {
        let (seen, lost) = match self.kind {
            Kind::Softflowd => {
                let mut control = Command::new("softflowctl");
                control.arg("-c").arg(self.folder.join("ctl"));
                let text = output(control.arg("statistics"))?;
                (
                    number_behind(&text, "Packets processed:"),
                    number_behind(&text, "dropped by libpcap:"),
                )
            }
            Kind::Nfpcapd => {
                // It tells at its end.
                self.process.signal(Signal::TERM);
                self.process.wait_forever();
                (
                    self.logged("Total: Processed:"),
                    self.logged("dropped by OS/Buffer:"),
                )
            }
            Kind::Pmacctd => {
                self.process.signal(Signal::USR1);
                let deadline = Instant::now() + PATIENCE;
                while self.logged("dropped_packets=").is_none() && Instant::now() < deadline {
                    thread::sleep(Duration::from_millis(50));
                }
                (
                    self.logged("received_packets="),
                    self.logged("dropped_packets="),
                )
            }
            _ => (None, None),
        };
        Ok(Told {
            seen,
            lost,
            residue: None,
        })
    }
}

impl Running {
    fn pids(&self) -> Vec<u32> {
        match self {
            Self::None | Self::Empty(_) => Vec::new(),
            Self::Probe(agent) => family(agent.id()),
            Self::Peer(peer) => family(peer.process.id()),
        }
    }

    /// CPU time of all its processes so far, in ns.
    pub(crate) fn cpu_ns(&self) -> u64 {
        self.pids().into_iter().map(cpu_ns).sum()
    }

    /// Resident memory of all its processes, in bytes.
    pub(crate) fn rss_bytes(&self) -> u64 {
        let sizes = self.pids().into_iter().map(rss_bytes);
        sizes.filter_map(Result::ok).sum()
    }

    /// What it says that it has seen and lost. It may have ended afterwards.
    pub(crate) fn told(&mut self) -> Result<Told> {
        match self {
            Self::None | Self::Empty(_) => Ok(Told::default()),
            Self::Probe(agent) => settled(agent),
            Self::Peer(peer) => peer.told(),
        }
    }
}

/// What the agent tells once every packet that was seen has its address.
fn settled(agent: &Agent) -> Result<Told> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = agent.try_metrics()?;
        let residue = metrics.sum("probe_ledger_residue_packets", "");
        if residue == 0 || Instant::now() > deadline {
            let lost = metrics.count("probe_packets_dropped_total", "");
            let unknown_interface = metrics.count("probe_unknown_interface_packets_total", "");
            return Ok(Told {
                seen: Some(metrics.count("probe_packets_seen_total", "")),
                lost: Some(lost + unknown_interface),
                residue: Some(residue),
            });
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// The last number that follows a text.
fn number_behind(text: &str, before: &str) -> Option<u64> {
    let rest = text.rsplit_once(before)?.1.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Kind, number_behind};

    #[test]
    fn the_last_number_behind_a_text_counts() {
        let text = "dropped by OS/Buffer: 1, x\ndropped by OS/Buffer: 27, freeze";
        assert_eq!(number_behind(text, "dropped by OS/Buffer:"), Some(27));
        assert_eq!(number_behind(text, "dropped_packets="), None);
    }

    #[test]
    fn another_probe_has_a_name_and_a_command() {
        let other = Kind::parse("x=run -i {iface} a=b").expect("a probe");
        assert_eq!(other, Kind::Other("x".into(), "run -i {iface} a=b".into()));
        assert!(Kind::parse("x").is_err());
    }
}
