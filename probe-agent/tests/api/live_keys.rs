//! Each live key of the configuration file through a running agent: a reload applies its change. A
//! key that is missing here fails the test.

use std::{
    cell::Cell,
    collections::BTreeSet,
    env, fs,
    path::PathBuf,
    process::Command,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use probe_agent::{
    agent::bind_with_file,
    config::{Change, LoggingConfig, reference},
    reload::{ConfigFile, Reloader},
    telemetry,
};
use probe_api::reload::Reload as _;
use probe_capture::{
    interface::{Hook, InterfaceConfig},
    manager::Manager,
};
use tokio::sync::oneshot;
use tracing::Level;

use crate::source::Script;

/// Every host has it, with this index.
const LOOPBACK: u32 = 1;

/// No change takes longer: the file is checked every second, and must be quiet for two.
const PATIENCE: Duration = Duration::from_secs(20);

/// One live key: a document before and after its change, and what the agent does after it only.
struct Step {
    key: &'static str,
    before: &'static str,
    after: &'static str,
    is_applied: fn(&Agent) -> bool,
    /// How long nothing must happen before the change.
    quiet: Duration,
}

const fn step(
    key: &'static str,
    before: &'static str,
    after: &'static str,
    is_applied: fn(&Agent) -> bool,
) -> Step {
    Step {
        key,
        before,
        after,
        is_applied,
        quiet: Duration::ZERO,
    }
}

const STEPS: &[Step] = &[
    step(
        "interfaces.<name>.hook",
        "interfaces: { lo: {} }",
        "interfaces: { lo: { hook: tc } }",
        |agent| agent.has_loopback(|config| config.hook == Hook::Tc),
    ),
    step(
        "interfaces.<name>.promisc",
        "interfaces: { lo: {} }",
        "interfaces: { lo: { promisc: true } }",
        |agent| agent.has_loopback(|config| config.promisc),
    ),
    step(
        "interfaces.<name>.ignore_vlans",
        "interfaces: { lo: {} }",
        "interfaces: { lo: { ignore_vlans: true } }",
        |agent| agent.has_loopback(|config| config.ignore_vlans),
    ),
    step(
        "interfaces.<name>.disable",
        "interfaces: { lo: {}, absent0: {} }",
        "interfaces: { lo: { disable: true }, absent0: {} }",
        |agent| !agent.has_loopback(|_| true),
    ),
    step(
        "autodetection.enabled",
        "interfaces: { absent0: {} }\nautodetection: { exclude: [] }",
        "autodetection: { enabled: true, exclude: [] }",
        |agent| agent.has_loopback(|_| true),
    ),
    step(
        "autodetection.exclude",
        "autodetection: { enabled: true, exclude: [/./] }",
        "autodetection: { enabled: true, exclude: [] }",
        |agent| agent.has_loopback(|_| true),
    ),
    step(
        "capture.max_flows_total",
        "interfaces: { lo: {} }\ncapture: { expedite_attach: false, max_flows_total: 1000 }",
        "interfaces: { lo: {} }\ncapture: { expedite_attach: false, max_flows_total: 1 }",
        Agent::folds_a_new_flow,
    ),
    step(
        "rotation.interval",
        "interfaces: { lo: {} }\nrotation: { interval: 1d }",
        "interfaces: { lo: {} }\nrotation: { interval: 1s }",
        |agent| agent.manager.last_rotation() > agent.manager.started_at(),
    ),
    step(
        "logging.level",
        "interfaces: { lo: {} }",
        "interfaces: { lo: {} }\nlogging: { level: debug }",
        |_| tracing::enabled!(target: "probe_capture::manager", Level::DEBUG),
    ),
    Step {
        quiet: Duration::from_secs(4),
        ..step(
            "reload.watch",
            "interfaces: { lo: {} }",
            "interfaces: { lo: {} }\nreload: { watch: true }",
            Agent::follows_an_edit,
        )
    },
];

/// The test of this key makes links for it: `netns/plan/selection.rs`.
const OF_LINKS: &str = "autodetection.stacked";

/// An agent with a scripted source, stopped on drop.
pub(crate) struct Agent {
    pub(crate) folder: tempfile::TempDir,
    script: Script,
    manager: Arc<Manager>,
    pub(crate) reloader: Arc<Reloader>,
    next_server: Cell<u8>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Agent {
    pub(crate) fn start(document: &str) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("probe.yaml");
        let document = document.replace("FOLDER", &folder.path().display().to_string());
        fs::write(&path, document).expect("written");
        let script = Script::default();
        let source = script.clone();
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let (file, config) = ConfigFile::load(&path).expect("a good file");
            let source = Box::new(move |_: &_| Ok(Box::new(source) as _));
            let bound = bind_with_file(config, Some(file), source).expect("bound");
            tell.send((bound.manager(), bound.reloader()))
                .expect("the test waits");
            let shutdown = || async {
                let _ = stopped.await;
            };
            let ended = bound.run(shutdown).expect("ran");
            assert!(ended.failure.is_none(), "{ended:?}");
        });
        let (manager, reloader) = told.recv().expect("the agent starts");
        Self {
            folder,
            script,
            manager,
            reloader,
            next_server: Cell::new(0),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("probe.yaml")
    }

    fn has_loopback(&self, is_wanted: fn(&InterfaceConfig) -> bool) -> bool {
        self.script
            .attached(LOOPBACK)
            .as_ref()
            .is_some_and(is_wanted)
    }

    /// Sees a packet of a flow that is new, as long as there are some: too few for the limit before
    /// the change.
    fn folds_a_new_flow(&self) -> bool {
        let Some(server) = self.next_server.get().checked_add(1) else {
            return false;
        };
        self.next_server.set(server);
        self.script.packet(LOOPBACK, server, 100, false);
        self.script.settle();
        let (rows, all) = mpsc::sync_channel(8);
        self.manager
            .flush_and_send_flows(|row| row.flow.is_overflow, &[], &rows);
        drop(rows);
        all.into_iter().any(|(_, rows)| !rows.is_empty())
    }

    /// Edits the file, unless that is done.
    fn follows_an_edit(&self) -> bool {
        let edited = with_rest("interfaces: { lo: { promisc: true } }\nreload: { watch: true }");
        if fs::read_to_string(self.path()).expect("a file") != edited {
            fs::write(self.path(), edited).expect("written");
        }
        self.has_loopback(|config| config.promisc)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.take();
        let ended = self.thread.take().map(thread::JoinHandle::join);
        if !thread::panicking() {
            ended.expect("a thread").expect("the agent ends well");
        }
    }
}

/// The document with what all of them have: no address, no sink, nothing of the whole machine.
fn with_rest(document: &str) -> String {
    let has_capture = document.contains("capture:");
    let capture = if has_capture {
        ""
    } else {
        "capture: { expedite_attach: false }\n"
    };
    format!("{document}\n{capture}writeout: []\napi: {{ addr: none, metrics_addr: none }}\n")
}

/// The keys for which a reload does this.
pub(crate) fn keys(change: Change) -> BTreeSet<&'static str> {
    let keys = reference::keys().iter().filter(|key| key.change == change);
    keys.map(|key| key.path.as_str()).collect()
}

#[test]
fn each_live_key_is_applied_by_a_running_agent() {
    const CHILD: &str = "PROBE_TEST_LIVE_KEYS";
    if env::var_os(CHILD).is_none() {
        // In a process of its own, whose log has the level of its file.
        let name = "live_keys::each_live_key_is_applied_by_a_running_agent";
        let mut child = Command::new(env::current_exe().expect("the test"));
        child.args([name, "--exact", "--nocapture"]).env(CHILD, "1");
        let ended = child.env_remove("RUST_LOG").output().expect("started");
        let told = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{told}");
        return;
    }
    telemetry::init(&LoggingConfig::default()).expect("the only log");
    let walked = STEPS.iter().map(|step| step.key);
    let walked: BTreeSet<_> = walked.chain([OF_LINKS]).collect();
    assert_eq!(walked, keys(Change::Live), "each live key has its step");
    for step in STEPS {
        let key = step.key;
        let agent = Agent::start(&with_rest(step.before));
        let begin = Instant::now();
        loop {
            assert!(!(step.is_applied)(&agent), "{key}: before the change");
            if begin.elapsed() >= step.quiet {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        fs::write(agent.path(), with_rest(step.after)).expect("written");
        let report = agent.reloader.reload(false);
        let report = report.unwrap_or_else(|error| panic!("{key}: {error}"));
        assert!(report.is_clean(), "{key}: {report:?}");
        let begin = Instant::now();
        while !(step.is_applied)(&agent) {
            assert!(
                begin.elapsed() < PATIENCE,
                "{key} was not applied: {report:?}"
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}
