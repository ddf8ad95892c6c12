//! `capture.expedite_attach`: the machine's setting is there while many interfaces are attached or
//! detached, and never afterwards, not even after SIGKILL.
//!
//! No other test runs beside these (.config/nextest.toml): every agent that starts puts back what a
//! killed one has left.

use std::{
    fs,
    process::Command,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rustix::process::Signal;

use super::{
    agent::{Installation, built_binary},
    process::Process,
    run, skip,
    testbed::Testbed,
};

mod unit;

const SETTING: &str = "/sys/kernel/rcu_expedited";
const ISOLATED: &str = "/sys/devices/system/cpu/isolated";

/// As many as leave time to check the setting, and to kill in the middle.
const PAIRS: usize = 30;

/// All of them.
const LINKS: &str = "{ '/^c/': {} }";

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
        let isolated = fs::read_to_string(ISOLATED).is_ok_and(|cpus| !cpus.trim().is_empty());
        let is_default = is_default && !isolated;
        if !is_default {
            skip::not_in_this_kernel(
                "rcu_expedited and rcu_normal at 0, and no isolated CPUs, where this can be tried",
            );
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

fn testbed_with_links() -> Testbed {
    let testbed = Testbed::without_links();
    let pairs = (0..PAIRS).map(|pair| format!("link add c{pair}a type veth peer name c{pair}b\n"));
    testbed.host.ip(&pairs.collect::<String>());
    testbed
}

/// The setting and a testbed, where this can be tried.
#[track_caller]
fn prepare() -> Option<(Setting, Testbed)> {
    if !skip::kernel_or_skip(&["ip"]) {
        return None;
    }
    Some((Setting::take()?, testbed_with_links()))
}

fn installation(expedite: &str) -> Installation {
    let capture = format!("{{ expedite_attach: {expedite} }}");
    Installation::with_capture(LINKS, "1d", &capture)
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
    let Some((_setting, testbed)) = prepare() else {
        return;
    };
    let slow = installation("false");
    let (seen, status) = seen_during(|| slow.start(&testbed.host).terminate());
    assert_eq!((seen, status.code()), (Vec::new(), Some(0)), "unwanted");

    let by_default = Installation::new(LINKS, "1d");
    for fast in [by_default, installation("true")] {
        let (seen, agent) = seen_during(|| fast.start(&testbed.host));
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
}

/// Few interfaces take no time worth it.
#[test]
fn few_interfaces_leave_the_machine_alone() {
    let Some((_setting, testbed)) = prepare() else {
        return;
    };
    let few = Installation::new("{ '/^c[0-9]a$/': {} }", "1d");
    let (seen, status) = seen_during(|| few.start(&testbed.host).terminate());
    assert_eq!((seen, status.code()), (Vec::new(), Some(0)));
    assert_eq!(few.log().matches("capture started").count(), 10);
}

/// Starts an agent and kills it in the middle of attaching.
fn kill_while_attaching(installation: &Installation, testbed: &Testbed) {
    let mut agent = installation.spawn(&testbed.host, &[], &built_binary());
    let mark = MARK + agent.id();
    wait_for_mark(mark, &mut agent);
    agent.signal(Signal::KILL);
    agent.wait("it is killed");
    assert_eq!(Setting::read(), mark, "the setting stays");
}

/// Without a pause: it is there for a tenth of a second.
fn wait_for_mark(mark: u32, agent: &mut Process) {
    while Setting::read() != mark {
        assert_eq!(agent.try_wait(), None, "it ends before it attaches");
    }
}

#[test]
fn what_sigkill_leaves_is_put_back_by_detach_and_by_the_next_start() {
    let Some((_setting, testbed)) = prepare() else {
        return;
    };
    let fast = installation("true");
    kill_while_attaching(&fast, &testbed);
    let told = run(testbed.host.command(built_binary()).arg("detach"));
    assert_eq!(Setting::read(), 0);
    assert!(
        told.contains("rcu_expedited back to 0, which process"),
        "{told}"
    );
    let told = run(Command::new(built_binary()).arg("detach"));
    assert!(!told.contains("rcu_expedited"), "once: {told}");

    kill_while_attaching(&fast, &testbed);
    // Also one that would not set it.
    let slow = installation("false");
    let agent = slow.start(&testbed.host);
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
    let Some((_setting, testbed)) = prepare() else {
        return;
    };
    let fast = installation("true");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut agent = fast.spawn(&testbed.host, &[], &built_binary());
        wait_for_mark(MARK + agent.id(), &mut agent);
        agent.signal(signal);
        assert_eq!(agent.wait("it ends").code(), Some(code));
        assert_eq!(Setting::read(), 0);
    }
}

/// Runs an agent in a mount namespace that the script has prepared. What it logged, and that the
/// setting was left alone.
fn without_hurry(installation: &Installation, testbed: &Testbed, prepare: &str) -> String {
    let script = format!("{prepare} && exec \"$@\"");
    let wrapper = ["unshare", "--mount", "sh", "-c", &script, "sh"];
    let (seen, mut agent) = seen_during(|| {
        let agent = installation.spawn(&testbed.host, &wrapper, &built_binary());
        installation.log_that_says("serving the API");
        agent
    });
    let log = installation.log();
    assert_eq!(log.matches("capture started").count(), 2 * PAIRS, "{log}");
    let (seen_at_end, status) = seen_during(|| {
        agent.signal(Signal::TERM);
        agent.wait("it ends")
    });
    assert_eq!(status.code(), Some(0));
    assert_eq!((seen, seen_at_end), (Vec::new(), Vec::new()));
    installation.log()
}

/// Without the right to write there the agent goes on, and says so if it was asked for it.
#[test]
fn what_cannot_be_written_is_told_once() {
    if !skip::kernel_or_skip(&["ip", "unshare", "mount"]) {
        return;
    }
    let Some(_setting) = Setting::take() else {
        return;
    };
    let testbed = testbed_with_links();
    let read_only = "mount -o remount,bind,ro /sys";
    let log = without_hurry(&installation("true"), &testbed, read_only);
    let told = log.matches("attaching and detaching go on slowly").count();
    assert_eq!(told, 1, "{log}");
    let remedy = "deploy/systemd/probe-agent.service";
    assert!(log.contains(remedy), "{log}");

    let log = without_hurry(&installation("auto"), &testbed, read_only);
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

/// On a host with isolated CPUs, as far as the agent can see.
#[test]
fn isolated_cpus_are_left_in_peace_by_default() {
    if !skip::kernel_or_skip(&["ip", "unshare", "mount"]) {
        return;
    }
    let Some(_setting) = Setting::take() else {
        return;
    };
    let testbed = testbed_with_links();
    let by_default = Installation::new(LINKS, "1d");
    let list = by_default.path().join("isolated");
    fs::write(&list, "1\n").expect("written");
    let isolated = format!("mount --bind {} {ISOLATED}", list.display());
    let log = without_hurry(&by_default, &testbed, &isolated);
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}
