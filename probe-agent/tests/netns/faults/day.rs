//! The agent of a day of faults, and what is done to it.

use std::{
    cell::RefCell,
    fs::{self, File},
    io::{ErrorKind, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::Command,
};

use probe_capture::{interface::Hook, trouble::TroubleKind};
use serde_json::Value;

use super::{
    alerts::{self, Alerts},
    disks::{Disks, Freezer},
    table::{Fault, GOOD},
};
use crate::{
    agent::{Agent, Installation},
    foreign::{Foreign, is_xdp},
    metrics::Metrics,
    odd_links::{LATIN_1, LATIN_1_SHOWN, add_odd_texts, ip},
    process::Process,
    prometheus::get,
    reload::reload,
    run,
    supervision::detach,
    testbed::{HOST_V4, Offloads, Testbed},
};

/// Makes faults inside of the agent's process.
const PRELOAD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/faults/preload.c");

/// Clients that hold connections.
const HOLDERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/faults/holders.py");

/// Where Prometheus asks the agent. Not at the loopback, whose clients have one share of the places.
const METRICS: u16 = 9478;

/// The agent, with a file system for each sink, and Prometheus. The mounts are the agent's own and end
/// with it.
pub(super) struct Day {
    /// First, so that a frozen agent can end.
    pub(super) freezer: RefCell<Option<Freezer>>,
    pub(super) testbed: Testbed,
    pub(super) installation: Installation,
    pub(super) agent: Agent,
    /// Of somebody else, where a program of the agent was.
    foreign: RefCell<Option<Foreign>>,
    holders: RefCell<Option<Process>>,
    disks: &'static Disks,
    _alerts: Alerts,
}

fn metrics_addr() -> String {
    SocketAddr::new(HOST_V4, METRICS).to_string()
}

/// What the agent and Prometheus say in all places at one time.
#[derive(Debug)]
pub(super) struct Said {
    exit_code: Option<i32>,
    status: Value,
    is_ready: bool,
    metrics: Metrics,
    alerts: Vec<Value>,
}

impl Said {
    /// Whether `troubles` has so many at least, each with a remedy, and the gauge counts as many of each kind.
    fn lists_troubles(&self, least: usize) -> bool {
        let listed = self.status["troubles"].as_array().expect("a list");
        let has_remedies = listed
            .iter()
            .all(|it| it["remedy"].as_str().is_some_and(|it| !it.is_empty()));
        let is_counted = TroubleKind::ALL.into_iter().all(|kind| {
            let label = format!("kind=\"{}\"", kind.name());
            let of_kind = listed.iter().filter(|it| it["kind"] == kind.name());
            self.metrics.count("probe_troubles", &label) == of_kind.count() as u64
        });
        has_remedies && is_counted && listed.len() >= least && (least > 0 || listed.is_empty())
    }
}

impl Day {
    pub(super) fn begin(disks: &'static Disks) -> Self {
        let testbed = Testbed::new(Offloads::Off);
        for link in ["one", "two", "three"] {
            testbed.host.ip(&format!("link add {link} type bridge\n"));
        }
        let installation = Installation::empty();
        configure(&installation, disks, GOOD);
        let library = installation.path().join("preload.so");
        let library = library.display().to_string();
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o", &library, PRELOAD]);
        run(cc.arg("-ldl"));
        let folder = installation.path().display();
        let mounts = disks.mounts(installation.path());
        let script =
            format!("set -e\n{mounts}\nexec env LD_PRELOAD={library} FAULTS={folder} \"$@\"");
        let wrapper = ["unshare", "--mount", "sh", "-c", &script, "sh"];
        let agent = installation.start_by(&testbed.host, &wrapper);
        let alerts = Alerts::start(&testbed, &installation, &metrics_addr());
        Self {
            freezer: RefCell::default(),
            disks,
            testbed,
            installation,
            agent,
            foreign: RefCell::default(),
            holders: RefCell::default(),
            _alerts: alerts,
        }
    }

    /// Sets the agent's clock ahead of that of the machine by so many seconds.
    pub(super) fn set_clock(&self, seconds: &str) {
        let folder = self.installation.path();
        fs::write(folder.join("ahead.new"), seconds).expect("written");
        fs::rename(folder.join("ahead.new"), folder.join("ahead")).expect("renamed");
    }

    /// Begins a fault of `preload.c`.
    pub(super) fn mark(&self, name: &str) {
        fs::write(self.installation.path().join(name), "").expect("written");
    }

    /// Ends it.
    pub(super) fn unmark(&self, name: &str) {
        fs::remove_file(self.installation.path().join(name)).expect("it is there");
    }

    pub(super) fn reload(&self, interfaces: &str) {
        configure(&self.installation, self.disks, interfaces);
        reload(&self.agent, &self.installation);
    }

    /// A link that is not captured, with texts that are no UTF-8.
    pub(super) fn add_odd_link(&self) {
        self.testbed.host.ip("link add odd0 type bridge\n");
        add_odd_texts(&self.testbed.host);
    }

    /// Two links whose names are shown alike, one of them no UTF-8.
    pub(super) fn add_twins(&self) {
        let host = &self.testbed.host;
        for name in [LATIN_1, LATIN_1_SHOWN] {
            ip(host, &[b"link", b"add", name, b"type", b"bridge"]);
        }
    }

    pub(super) fn delete_twins(&self) {
        for name in [LATIN_1, LATIN_1_SHOWN] {
            ip(&self.testbed.host, &[b"link", b"delete", name]);
        }
    }

    /// Removes the agent's XDP program, as an administrator would, and puts one of somebody else in its
    /// place.
    pub(super) fn take_hook(&self) {
        let mut foreign = Foreign::load(&self.testbed.host, "three", Hook::XdpGeneric);
        let links = self.agent.attached().links;
        links.into_iter().filter(|it| is_xdp(*it)).for_each(detach);
        foreign.attach(&self.testbed.host);
        self.foreign.replace(Some(foreign));
    }

    pub(super) fn free_hook(&self) {
        self.foreign.take();
    }

    /// Clients of the metrics on another host, which say nothing.
    pub(super) fn hold_places(&self) {
        let mut python = self.testbed.peer.command("python3");
        python.args([HOLDERS, &HOST_V4.to_string(), &METRICS.to_string()]);
        self.holders.replace(Some(Process::spawn(&mut python)));
    }

    pub(super) fn free_places(&self) {
        self.holders.take();
    }

    /// A path below the installation's folder, as seen from outside of the agent's mounts.
    pub(super) fn inside(&self, path: &str) -> PathBuf {
        let file = self.installation.path().join(path);
        let inside = file.strip_prefix("/").expect("an absolute path");
        PathBuf::from(format!("/proc/{}/root", self.agent.id())).join(inside)
    }

    /// A file that takes the room of a sink.
    pub(super) fn filler(&self, sink: &str) -> PathBuf {
        self.inside(sink).join("filler")
    }

    pub(super) fn fill_disk(&self) {
        let mut file = File::create(self.filler("json")).expect("a file");
        let full = loop {
            if let Err(error) = file.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull);
    }

    /// Lets the Parquet sink's file system be written or not.
    pub(super) fn remount(&self, mode: &str) {
        self.in_mounts(&format!("mount -o remount,{mode}"));
    }

    /// Runs a command about the Parquet sink's directory among the mounts of the agent.
    pub(super) fn in_mounts(&self, command: &str) {
        self.in_mounts_at(command, "parquet");
    }

    /// The same about another path of the installation.
    pub(super) fn in_mounts_at(&self, command: &str, path: &str) {
        let mut enter = Command::new("nsenter");
        enter.args(["--mount", "--target", &self.agent.id().to_string()]);
        enter.args(command.split(' '));
        run(enter.arg(self.installation.path().join(path)));
    }

    /// Gives what the agent sees of the installation another path.
    pub(super) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.inside(from), self.inside(to)).expect("renamed");
    }

    /// Mounts the file system of the Parquet sink where it was.
    pub(super) fn mount_kept(&self) {
        let kept = self.installation.path().join("kept");
        self.in_mounts(&format!("mount --bind {}", kept.display()));
    }

    /// The metrics, as an honest client without a key gets them.
    fn scrape(&self) -> Metrics {
        let answer = get(&self.testbed, &metrics_addr(), "/metrics");
        Metrics::parse(&answer.expect("an honest client is answered"))
    }

    fn ask(&self) -> Said {
        let (exit, answer) = self.agent.command(&["status", "--json"]);
        let ready = self.agent.request("/readyz").expect("an answer");
        Said {
            exit_code: exit.code(),
            status: serde_json::from_str(&answer).expect("one object"),
            is_ready: ready.starts_with("HTTP/1.1 200"),
            metrics: self.scrape(),
            alerts: alerts::active(&self.testbed),
        }
    }

    /// Whether the agent says in each place that a fault is there, and its alert is active. `must_fire`:
    /// it has been for so long that the alert fires.
    pub(super) fn tells(&self, fault: &Fault, must_fire: bool) -> Result<(), Said> {
        let said = self.ask();
        let (path, part) = fault.finding;
        let found = said.status.pointer(path).map(Value::to_string);
        let is_told = found.is_some_and(|found| found.contains(part))
            && said.exit_code == Some(5)
            && said.metrics.count(fault.metric.0, fault.metric.1) > 0
            && said.is_ready == fault.is_ready
            && said.lists_troubles(1)
            && alerts::is_told(&said.alerts, fault.alert, must_fire);
        if is_told { Ok(()) } else { Err(said) }
    }

    /// Whether the agent says in each place that nothing is wrong, and no alert is active.
    pub(super) fn is_good(&self, faults: &[Fault]) -> Result<(), Said> {
        let said = self.ask();
        let mut metrics = faults.iter().map(|fault| fault.metric);
        let is_good = said.exit_code == Some(0)
            && said.is_ready
            && metrics.all(|(name, label)| said.metrics.count(name, label) == 0)
            && said.lists_troubles(0)
            && alerts::is_quiet(&said.alerts);
        if is_good { Ok(()) } else { Err(said) }
    }
}

fn configure(installation: &Installation, disks: &Disks, interfaces: &str) {
    let folder = installation.path().display();
    let writeout = disks.writeout(installation.path());
    let metrics_addr = metrics_addr();
    let interval = disks.interval;
    installation.configure(&format!(
        "interfaces: {interfaces}\n\
         rotation: {{ interval: {interval} }}\n\
         writeout:\n{writeout}\
         api: {{ addr: \"unix:{folder}/probe.sock\", metrics_addr: \"{metrics_addr}\" }}\n"
    ));
}
