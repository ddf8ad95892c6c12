//! The agent as a service: the unit's exposure, and capturing under the unit's restrictions.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::{
        fs::{PermissionsExt, chown},
        net::UnixDatagram,
    },
    path::PathBuf,
    process::Command,
};

use rustix::process::Signal;

use super::{
    PATIENCE,
    agent::{Installation, built_binary},
    eventually,
    flows::{assert_nothing_lost, stored_total},
    generators::ping,
    netns::Namespace,
    process::Process,
    skip,
    testbed::{LINK, Offloads, PEER_V4, PEER_V6, Testbed},
};

mod quota;

const UNIT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../deploy/systemd/probe-agent.service"
);
const CONFINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/confine.py");
const TOOLS: [&str; 6] = [
    "ip",
    "ethtool",
    "ping",
    "python3",
    "setpriv",
    "systemd-analyze",
];

/// Nobody's.
const USER_ID: u32 = 64_078;

/// A unit's settings of this name, as systemd reads them: several lines are one list.
fn unit_setting(name: &str) -> String {
    let unit = fs::read_to_string(UNIT).expect("the unit");
    let prefix = format!("{name}=");
    let lines = unit.lines().filter_map(|line| line.strip_prefix(&prefix));
    lines.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_exposure_of_the_unit_is_ok() {
    if !skip::kernel_or_skip(&["systemd-analyze"]) {
        return;
    }
    // 50 is where OK ends; the number is ten times what it prints.
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=true", "--threshold=49", "--no-pager"]);
    let output = analyze.arg(UNIT).output().expect("systemd-analyze runs");
    let told = String::from_utf8_lossy(&output.stdout);
    let verdict = told.lines().last().unwrap_or_default();
    assert!(output.status.success(), "{told}");
    assert!(
        verdict.contains(" OK ") || verdict.contains(" SAFE "),
        "{verdict}"
    );
}

/// The folders of the unit, writable for its user and nobody else.
struct Confined {
    installation: Installation,
    notifications: UnixDatagram,
}

impl Confined {
    fn new() -> Self {
        let installation = Installation::empty();
        let folder = installation.path().to_owned();
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("a folder");
        for name in ["state", "runtime"] {
            fs::create_dir(folder.join(name)).expect("a folder");
            chown(folder.join(name), Some(USER_ID), Some(USER_ID)).expect("root may");
        }
        // Not where it was built: that may be out of reach for other users.
        fs::copy(built_binary(), folder.join("probe-agent")).expect("a copy");
        let socket = folder.join("runtime/notify");
        let notifications = UnixDatagram::bind(&socket).expect("a socket");
        notifications
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout");
        chown(socket, Some(USER_ID), Some(USER_ID)).expect("root may");
        Self {
            installation,
            notifications,
        }
    }

    fn folder(&self) -> String {
        self.installation.path().display().to_string()
    }

    /// A command under the restrictions of the unit.
    fn command(&self, namespace: &Namespace, arguments: &[&str]) -> Command {
        let folder = self.folder();
        let mut command = namespace.command("python3");
        command.args([CONFINE, UNIT, &USER_ID.to_string()]);
        command.args([format!("{folder}/state"), format!("{folder}/runtime")]);
        command
            .arg("--")
            .arg(format!("{folder}/probe-agent"))
            .args(arguments);
        command.env_remove("RUST_LOG").env("NO_COLOR", "1");
        command
    }

    /// Waits for a message to the service manager.
    #[track_caller]
    fn wait_for(&self, message: &str) {
        let mut told = Vec::new();
        eventually(&format!("the agent tells {message}"), || {
            let mut buffer = [0; 4096];
            let length = self.notifications.recv(&mut buffer).ok()?;
            told.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            let lines = told.last().map_or("", String::as_str).lines();
            lines.into_iter().any(|line| line == message).then_some(())
        });
    }
}

/// The sets of capabilities of every thread, by the kernel's names and masks; and what else the
/// kernel tells about its restrictions.
fn restrictions(pid: u32) -> BTreeSet<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a living process");
    let mut lines = BTreeSet::new();
    for thread in threads.flatten() {
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else {
            continue;
        };
        let wanted = ["Cap", "NoNewPrivs:", "Seccomp:", "Uid:"];
        let is_wanted = |line: &&str| wanted.iter().any(|start| line.starts_with(start));
        let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        lines.extend(status.lines().filter(is_wanted).map(squeezed));
    }
    lines
}

/// Bits of CAP_NET_ADMIN (12), CAP_PERFMON (38) and CAP_BPF (39).
const NEEDED: u64 = 1 << 12 | 1 << 38 | 1 << 39;

fn assert_least_privileges(pid: u32, seccomp: u32, uid: u32, bounding: u64) {
    let needed = format!("{NEEDED:016x}");
    let expected = [
        "CapAmb: 0000000000000000".to_owned(),
        format!("CapBnd: {bounding:016x}"),
        format!("CapEff: {needed}"),
        "CapInh: 0000000000000000".to_owned(),
        format!("CapPrm: {needed}"),
        "NoNewPrivs: 1".to_owned(),
        format!("Seccomp: {seccomp}"),
        format!("Uid: {uid} {uid} {uid} {uid}"),
    ];
    let expected: BTreeSet<_> = expected.into_iter().collect();
    // One set of lines: every thread has the same.
    assert_eq!(restrictions(pid), expected);
}

#[test]
fn the_agent_works_under_the_restrictions_of_its_unit() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    if !cfg!(target_arch = "x86_64") {
        skip::not_in_this_kernel("system call numbers that the test knows");
        return;
    }
    let testbed = Testbed::new(Offloads::On);
    let confined = Confined::new();
    let folder = confined.folder();
    confined.installation.configure(&format!(
        "interfaces: {{ {LINK}: {{}} }}\n\
         rotation: {{ interval: 1d }}\n\
         writeout: [{{ type: json, path: {folder}/state/json }}]\n\
         api: {{ addr: \"unix:{folder}/runtime/probe.sock\", metrics_addr: \"127.0.0.1:9478\" }}\n"
    ));
    let config = format!("{folder}/probe.yaml");
    let log = fs::File::create(format!("{folder}/log")).expect("a log");
    let mut command = confined.command(&testbed.host, &["run", "--config", &config]);
    command.env("NOTIFY_SOCKET", format!("{folder}/runtime/notify"));
    command.env("WATCHDOG_USEC", "30000000");
    let mut agent = Process::spawn(command.stderr(log));
    confined.wait_for("READY=1");
    assert_least_privileges(agent.id(), 2, USER_ID, NEEDED);
    confined.wait_for("WATCHDOG=1");

    for to in [PEER_V4, PEER_V6] {
        ping(&testbed.host, to, 200);
    }
    // A link that comes back is attached again, with what is left of the capabilities.
    let attached = || {
        confined
            .installation
            .log()
            .matches("capture started")
            .count()
    };
    confined.installation.log_that_says("capture started");
    assert_eq!(attached(), 1);
    testbed.host.ip(&format!(
        "link set {LINK} down\nlink set {LINK} name probe9\n"
    ));
    eventually("the link is gone", || {
        confined
            .installation
            .log()
            .contains("capture closed")
            .then_some(())
    });
    testbed.host.ip(&format!(
        "link set probe9 name {LINK}\nlink set {LINK} up\n"
    ));
    eventually("the link is captured again", || {
        (attached() == 2).then_some(())
    });

    agent.signal(Signal::TERM);
    confined.wait_for("STOPPING=1");
    let status = agent.wait("the agent ends");
    assert!(status.success(), "{status}");
    let json = PathBuf::from(format!("{folder}/state/json"));
    assert_nothing_lost(&json);
    assert_eq!(stored_total(&json).packets_sent, 10);

    let output = confined.command(&testbed.host, &["detach"]).output();
    let output = output.expect("the command runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        told, "nothing of an earlier run is attached\n",
        "{output:?}"
    );
}

#[test]
fn root_gives_back_what_it_does_not_need() {
    if !skip::kernel_or_skip(&["ip", "ethtool"]) {
        return;
    }
    let testbed = Testbed::new(Offloads::On);
    let installation = Installation::new(&format!("{{ {LINK}: {{}} }}"), "1d");
    let agent = installation.start(&testbed.host);
    assert_least_privileges(agent.id(), 0, 0, NEEDED);
    installation.log_that_says("kept=CAP_BPF CAP_NET_ADMIN CAP_PERFMON");
    assert!(agent.terminate().success());
}

#[test]
fn missing_capabilities_are_named_before_anything_is_tried() {
    if !skip::kernel_or_skip(&["ip", "ethtool", "setpriv"]) {
        return;
    }
    let testbed = Testbed::new(Offloads::On);
    let installation = Installation::new(&format!("{{ {LINK}: {{ promisc: true }} }}"), "1d");
    let without = [
        "setpriv",
        "--bounding-set=-bpf,-perfmon,-net_raw,-sys_admin",
    ];
    let mut agent = installation.spawn(&testbed.host, &without, &built_binary());
    assert_eq!(agent.wait("the agent ends").code(), Some(1));
    let log = installation.log();
    let error = log.lines().last().unwrap_or_default();
    assert!(
        error.starts_with(&format!(
            "error: the agent lacks CAP_BPF (eBPF maps and programs), CAP_PERFMON (eBPF verifier), \
             CAP_NET_RAW (interfaces.{LINK}.promisc): start it as root"
        )),
        "{log}"
    );
    assert!(!installation.parquet().exists(), "nothing was tried");
}

#[test]
fn the_unit_and_the_code_want_the_same_capabilities() {
    let wanted = "CAP_BPF CAP_NET_ADMIN CAP_PERFMON";
    for setting in ["CapabilityBoundingSet", "AmbientCapabilities"] {
        assert_eq!(unit_setting(setting), wanted, "{setting}");
    }
}
