//! Agents that watch links while traffic passes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::super::{
    agent::{Agent, Installation},
    eventually,
    flows::files,
    netns::Namespace,
    reload::{configure, reload},
    testbed::Testbed,
    topology::{counters, disconnect},
};

/// Interfaces of an agent that has nothing to do.
const NONE: &str = "{ absent0: {} }";

/// Who watches.
pub(super) enum Observer<'a> {
    /// An agent for this traffic alone.
    Own,
    /// An agent that runs before and after.
    Shared(&'a SharedAgent),
}

/// What an observer stored.
pub(super) struct Stored {
    json: PathBuf,
    /// Holds the folder.
    _installation: Installation,
}

impl Stored {
    /// The flows and ledgers of all links.
    pub(super) fn all(&self) -> &Path {
        &self.json
    }

    /// The flows and ledgers of one link.
    pub(super) fn of(&self, link: &str) -> PathBuf {
        self.json.join(format!("iface={link}"))
    }
}

impl Observer<'_> {
    /// Captures the links, which are up, from before the traffic to its end.
    #[track_caller]
    pub(super) fn observe<T>(
        &self,
        testbed: &Testbed,
        links: &[&str],
        traffic: impl FnOnce() -> T,
    ) -> (Stored, T) {
        let interfaces: Vec<_> = links.iter().map(|link| format!("{link}: {{}}")).collect();
        let interfaces = format!("{{ {} }}", interfaces.join(", "));
        match self {
            Self::Own => {
                let installation = Installation::new(&interfaces, "1d");
                let agent = installation.start(&testbed.host);
                assert_captured(&agent, links);
                let result = traffic();
                agent.settled_metrics();
                assert!(agent.terminate().success(), "the agent's exit code");
                let stored = Stored {
                    json: installation.json(),
                    _installation: installation,
                };
                (stored, result)
            }
            Self::Shared(shared) => {
                wait_until_silent(&testbed.host);
                shared.capture(&interfaces);
                assert_captured(&shared.0, links);
                let result = traffic();
                shared.0.settled_metrics();
                shared.capture(NONE);
                let json = shared.0.installation().json();
                eventually("all links are stored", || {
                    let is_stored = |link: &&str| {
                        let tree = json.join(format!("iface={link}"));
                        tree.is_dir() && !files(&tree, "jsonl").is_empty()
                    };
                    links.iter().all(is_stored).then_some(())
                });
                let stored = Stored {
                    json,
                    _installation: shared.0.installation().clone(),
                };
                (stored, result)
            }
        }
    }
}

#[track_caller]
fn assert_captured(agent: &Agent, links: &[&str]) {
    let captured = agent.metrics().sum("probe_interfaces_capturing", "");
    assert_eq!(captured, i64::try_from(links.len()).expect("few"));
}

/// Links say who they are when they come up, within milliseconds. That is over once no counter has
/// moved in so many readings.
#[track_caller]
fn wait_until_silent(namespace: &Namespace) {
    const READINGS: u32 = 20;
    let mut before = String::new();
    let mut unmoved = 0;
    eventually("the links are silent", || {
        let now = counters(namespace);
        unmoved = if before == now { unmoved + 1 } else { 0 };
        before = now;
        (unmoved == READINGS).then_some(())
    });
}

/// An agent for several scenarios, one after the other.
pub(super) struct SharedAgent(Agent);

impl SharedAgent {
    /// Starts it with nothing to capture.
    #[track_caller]
    pub(super) fn start(testbed: &Testbed) -> Self {
        let installation = Installation::empty();
        configure(&installation, NONE, "");
        Self(installation.start(&testbed.host))
    }

    /// Captures these interfaces and no others.
    #[track_caller]
    fn capture(&self, interfaces: &str) {
        let installation = self.0.installation();
        configure(installation, interfaces, "");
        let told = reload(&self.0, installation);
        assert!(!told.contains("failed"), "{told}");
    }

    /// Deletes what a scenario left behind, so that the next one starts from nothing.
    #[track_caller]
    pub(super) fn forget(&self, testbed: &Testbed) {
        if self.0.metrics().sum("probe_interfaces_capturing", "") > 0 {
            // The scenario failed in the midst of it.
            self.capture(NONE);
        }
        disconnect(testbed);
        match fs::remove_dir_all(self.0.installation().json()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                panic!("what was stored: {error}")
            }
            _ => {}
        }
    }

    /// Asks for the end as a service manager does.
    #[track_caller]
    pub(super) fn terminate(self) -> std::process::ExitStatus {
        self.0.terminate()
    }
}
