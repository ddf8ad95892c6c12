//! `capture.expedite_attach`: the machine's setting is there while many interfaces are attached or
//! detached, and never afterwards, not even after SIGKILL.
//!
//! No other test runs beside these (.config/nextest.toml): every agent that starts puts back what a
//! killed one has left.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rustix::process::Signal;

use super::{
    agent::{BINARY, Installation},
    lab::Lab,
    process::{Process, eventually, run},
    skip,
};

const SETTING: &str = "/sys/kernel/rcu_expedited";

const UNIT: &str = include_str!("../../../deploy/systemd/probe-agent.service");
const DROP_IN: &str = include_str!("../../../deploy/systemd/expedite.conf");

/// As many as leave time to look at the setting, and to kill in the middle.
const PAIRS: usize = 30;

/// What the agent writes, less the number of its process.
const MARK: u32 = 1_800_000_000;

/// Where tests are threads of one process.
static ALONE: Mutex<()> = Mutex::new(());

/// The machine's setting, put back in the end whatever happens.
struct Setting {
    before: String,
    _alone: MutexGuard<'static, ()>,
}

impl Setting {
    /// Nothing if the setting is not at its default: then the agent leaves it alone.
    #[track_caller]
    fn take() -> Option<Self> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let before = fs::read_to_string(SETTING).ok()?;
        let normal = fs::read_to_string("/sys/kernel/rcu_normal").ok()?;
        let is_default = before.trim() == "0" && normal.trim() == "0";
        if !is_default {
            skip::not_in_this_kernel("rcu_expedited and rcu_normal at 0, where this can be tried");
        }
        is_default.then_some(Self {
            before,
            _alone: alone,
        })
    }

    fn read() -> u32 {
        let text = fs::read_to_string(SETTING).expect("the setting");
        text.trim().parse().expect("a number")
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        drop(fs::write(SETTING, &self.before));
    }
}

fn lab_with_links() -> Lab {
    let lab = Lab::without_links();
    let pairs = (0..PAIRS).map(|pair| format!("link add c{pair}a type veth peer name c{pair}b\n"));
    lab.host.ip(&pairs.collect::<String>());
    lab
}

fn installation(expedite: bool) -> Installation {
    let capture = format!("{{ expedite_attach: {expedite} }}");
    Installation::with_capture("{ '/^c/': {} }", "1d", &capture)
}

/// Everything but 0 that the setting is while `body` runs.
fn seen_during<T>(body: impl FnOnce() -> T) -> (Vec<u32>, T) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut seen = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let now = Setting::read();
                if now != 0 && seen.last() != Some(&now) {
                    seen.push(now);
                }
            }
            seen
        });
        let result = body();
        is_over.store(true, Ordering::Relaxed);
        (watching.join().expect("it only reads"), result)
    })
}

#[test]
fn expedited_while_many_are_attached_and_detached_and_not_afterwards() {
    if !skip::kernel_or_skip(&["ip"]) {
        return;
    }
    let Some(_setting) = Setting::take() else {
        return;
    };
    let lab = lab_with_links();
    let slow = installation(false);
    let (seen, status) = seen_during(|| slow.start(&lab.host).terminate());
    assert_eq!((seen, status.code()), (Vec::new(), Some(0)), "the default");

    let fast = installation(true);
    let (seen, agent) = seen_during(|| fast.start(&lab.host));
    assert_eq!(seen, [MARK + agent.id()], "while it attaches");
    assert_eq!(Setting::read(), 0, "when it is ready");
    let id = agent.id();
    let (seen, status) = seen_during(|| agent.terminate());
    assert_eq!(
        (seen, status.code()),
        (vec![MARK + id], Some(0)),
        "at the end"
    );
    assert_eq!(Setting::read(), 0);
}

/// Starts an agent and kills it in the middle of attaching.
fn kill_while_attaching(installation: &Installation, lab: &Lab) {
    let mut agent = installation.spawn(&lab.host, &[], Path::new(BINARY));
    let mark = MARK + agent.id();
    wait_for_mark(mark, &mut agent);
    agent.signal(Signal::KILL);
    agent.wait("it is killed");
    assert_eq!(Setting::read(), mark, "nobody could put it back");
}

/// Without a pause: it is there for a tenth of a second.
fn wait_for_mark(mark: u32, agent: &mut Process) {
    while Setting::read() != mark {
        assert_eq!(agent.try_wait(), None, "it ends before it attaches");
    }
}

#[test]
fn what_sigkill_leaves_is_put_back_by_detach_and_by_the_next_start() {
    if !skip::kernel_or_skip(&["ip"]) {
        return;
    }
    let Some(_setting) = Setting::take() else {
        return;
    };
    let lab = lab_with_links();
    let fast = installation(true);
    kill_while_attaching(&fast, &lab);
    let told = run(lab.host.command(BINARY).arg("detach"));
    assert_eq!(Setting::read(), 0);
    assert!(
        told.contains("rcu_expedited back to 0, which process"),
        "{told}"
    );
    let told = run(Command::new(BINARY).arg("detach"));
    assert!(!told.contains("rcu_expedited"), "once: {told}");

    kill_while_attaching(&fast, &lab);
    // Also one that would not set it.
    let slow = installation(false);
    let agent = slow.start(&lab.host);
    assert_eq!(Setting::read(), 0);
    assert!(
        slow.log().contains("rcu_expedited back to 0"),
        "{}",
        slow.log()
    );
    assert_eq!(agent.terminate().code(), Some(0));
}

/// Ctrl-C while it starts, before it would drain.
#[test]
fn a_signal_while_attaching_puts_it_back() {
    if !skip::kernel_or_skip(&["ip"]) {
        return;
    }
    let Some(_setting) = Setting::take() else {
        return;
    };
    let lab = lab_with_links();
    let fast = installation(true);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut agent = fast.spawn(&lab.host, &[], Path::new(BINARY));
        wait_for_mark(MARK + agent.id(), &mut agent);
        agent.signal(signal);
        assert_eq!(agent.wait("it ends").code(), Some(code));
        assert_eq!(Setting::read(), 0);
    }
}

/// The commands of a setting of the drop-in, as the shell gets them.
fn drop_in(name: &str) -> String {
    let prefix = format!("{name}=-+/bin/sh -c '");
    let mut lines = DROP_IN.lines();
    let command = lines.find_map(|line| line.strip_prefix(&prefix)?.strip_suffix('\''));
    command.expect("one command").to_owned()
}

#[test]
fn the_drop_in_puts_back_what_it_set_and_leaves_what_others_did() {
    if !skip::kernel_or_skip(&["sh", "grep"]) {
        return;
    }
    let Some(_setting) = Setting::take() else {
        return;
    };
    let setting_after = |name| {
        // It fails where it does nothing, which the dash in front makes good.
        let mut shell = Command::new("sh");
        let status = shell.args(["-c", &drop_in(name)]).status();
        status.expect("the shell runs");
        Setting::read()
    };
    for (set, put_back) in [
        ("ExecStartPre", "ExecStartPost"),
        ("ExecStartPre", "ExecStopPost"),
        ("ExecStop", "ExecStopPost"),
    ] {
        assert_eq!((setting_after(set), setting_after(put_back)), (2, 0));
        fs::write(SETTING, "1").expect("root may");
        assert_eq!((setting_after(set), setting_after(put_back)), (1, 1));
        fs::write(SETTING, "0").expect("root may");
    }
}

#[test]
fn systemd_understands_the_drop_in() {
    if !skip::kernel_or_skip(&["systemd-analyze"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let unit = folder.path().join("probe-agent.service");
    let drop_ins = folder.path().join("probe-agent.service.d");
    fs::create_dir(&drop_ins).expect("a folder");
    // It looks for the programs.
    let installed = UNIT.replace("/usr/local/bin/probe-agent", BINARY);
    fs::write(&unit, installed).expect("written");
    fs::write(drop_ins.join("expedite.conf"), DROP_IN).expect("written");
    let mut analyze = Command::new("systemd-analyze");
    let output = analyze.arg("verify").arg(&unit).output();
    let output = output.expect("systemd-analyze runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(!told.contains("expedite.conf"), "{told}");
}

/// Without the right to write there the agent goes on, and says so with the remedy.
#[test]
fn what_cannot_be_written_is_told_once() {
    if !skip::kernel_or_skip(&["ip", "unshare", "mount"]) {
        return;
    }
    let Some(_setting) = Setting::take() else {
        return;
    };
    let lab = lab_with_links();
    let fast = installation(true);
    let script = "mount -o remount,bind,ro /sys && exec \"$@\"";
    let wrapper = ["unshare", "--mount", "sh", "-c", script, "sh"];
    let (seen, mut agent) = seen_during(|| {
        let agent = fast.spawn(&lab.host, &wrapper, Path::new(BINARY));
        eventually("it is ready", || {
            fast.log().contains("serving the API").then_some(())
        });
        agent
    });
    assert!(seen.is_empty(), "{seen:?}");
    assert_eq!(fast.log().matches("capture started").count(), 2 * PAIRS);
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait("it ends").code(), Some(0));
    let log = fast.log();
    assert_eq!(
        log.matches("attaching and detaching go on slowly").count(),
        1,
        "{log}"
    );
    assert!(log.contains("deploy/systemd/expedite.conf"), "{log}");
}
