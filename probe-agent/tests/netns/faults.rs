//! A day of faults: each is made and ended in turn while the agent runs. The agent says so in `status`,
//! `/readyz` and `/metrics`, as long as it lasts and no longer.

use std::{
    env,
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    agent::{Agent, Installation},
    metrics::Metrics,
    reload::reload,
    run, skip,
    testbed::Testbed,
    within,
};

/// Within that the agent says what is wrong, and that it no longer is.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// How long each fault lasts, in seconds, unless `PROBE_FAULT_SECONDS` says otherwise.
const SECONDS: u64 = 1;

/// Room of each sink's file system, for more than an hour.
const ROOM: &str = "64m";

/// Gives the agent a clock of its own.
const SET_CLOCK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/set_clock.c");

/// Seconds of a thousand days, by which the clock is set ahead.
const AHEAD: &str = "86400000";

const GOOD: &str = "{ one: {}, two: {} }";

/// What goes wrong, and what tells it.
struct Fault {
    name: &'static str,
    make: fn(&Day),
    end: fn(&Day),
    /// A metric with a label, which is 1 as long as it lasts.
    metric: (&'static str, &'static str),
    /// In the answer of `status --json`: a path, and a part of what is there.
    finding: (&'static str, &'static str),
    /// Whether the agent is in service all the same.
    is_ready: bool,
}

const FAULTS: [Fault; 7] = [
    Fault {
        name: "a configured interface that does not exist",
        make: |day| day.testbed.host.ip("link set two name elsewhere\n"),
        end: |day| day.testbed.host.ip("link set elsewhere name two\n"),
        metric: ("probe_troubles", "kind=\"interface_missing\""),
        finding: ("/troubles/0/kind", "interface_missing"),
        is_ready: true,
    },
    Fault {
        name: "a full disk",
        make: Day::fill_disk,
        end: |day| fs::remove_file(day.filler()).expect("it is there"),
        metric: ("probe_writeout_trouble", "sink=\"json\""),
        finding: ("/sinks/json/trouble/error", "No space left on device"),
        is_ready: false,
    },
    Fault {
        name: "a refused reload",
        make: |day| day.reload("{ one: { hoook: tc } }"),
        end: |day| day.reload(GOOD),
        metric: ("probe_troubles", "kind=\"reload_refused\""),
        finding: ("/troubles/0/cause", "hoook"),
        is_ready: true,
    },
    Fault {
        name: "a clock that is set ahead by a thousand days",
        make: |day| day.set_clock(AHEAD),
        end: |day| day.set_clock("0"),
        metric: ("probe_retention_held", "sink=\"json\""),
        finding: ("/sinks/json/store/held/ahead_seconds", "86"),
        is_ready: true,
    },
    Fault {
        name: "a second sink whose file system is read-only",
        make: |day| day.remount("ro"),
        end: |day| day.remount("rw"),
        metric: ("probe_writeout_trouble", "sink=\"parquet\""),
        finding: ("/sinks/parquet/trouble/error", "Read-only file system"),
        is_ready: false,
    },
    Fault {
        name: "a store whose file system is unmounted",
        make: |day| day.in_mounts("umount --lazy"),
        end: |day| day.in_mounts("mount -t tmpfs none"),
        metric: ("probe_store_moved", "sink=\"parquet\""),
        finding: ("/sinks/parquet/store/moved", "was on the file system of"),
        is_ready: true,
    },
    Fault {
        name: "settings that the kernel refuses",
        make: |day| day.reload("{ one: { hook: xdp-native }, two: {} }"),
        end: |day| day.reload(GOOD),
        metric: ("probe_troubles", "kind=\"interface_refused\""),
        finding: ("/troubles/0/cause", "EOPNOTSUPP"),
        is_ready: true,
    },
];

/// What the agent says in all places at one time.
#[derive(Debug)]
struct Said {
    exit_code: Option<i32>,
    status: Value,
    is_ready: bool,
    metrics: Metrics,
}

/// The agent, with a file system for each sink. The mounts are its own and end with it.
struct Day {
    testbed: Testbed,
    installation: Installation,
    agent: Agent,
}

impl Day {
    fn begin() -> Self {
        let testbed = Testbed::without_links();
        testbed
            .host
            .ip("link add one type bridge\nlink add two type bridge\n");
        let installation = Installation::empty();
        configure(&installation, GOOD);
        let path = |name| installation.path().join(name).display().to_string();
        run(Command::new("cc").args([
            "-shared",
            "-fPIC",
            "-O1",
            "-o",
            &path("set_clock.so"),
            SET_CLOCK,
        ]));
        let [json, parquet] = [installation.json(), installation.parquet()].map(|path| {
            format!(
                "mkdir {0} && mount -t tmpfs -o size={ROOM} none {0}",
                path.display()
            )
        });
        let (library, ahead) = (path("set_clock.so"), path("ahead"));
        let script = format!(
            "{json} && {parquet} && exec env LD_PRELOAD={library} CLOCK_AHEAD={ahead} \"$@\""
        );
        let wrapper = ["unshare", "--mount", "sh", "-c", &script, "sh"];
        let agent = installation.start_by(&testbed.host, &wrapper);
        Self {
            testbed,
            installation,
            agent,
        }
    }

    /// Sets the agent's clock ahead of that of the machine by so many seconds.
    fn set_clock(&self, seconds: &str) {
        let folder = self.installation.path();
        fs::write(folder.join("ahead.new"), seconds).expect("written");
        fs::rename(folder.join("ahead.new"), folder.join("ahead")).expect("renamed");
    }

    fn reload(&self, interfaces: &str) {
        configure(&self.installation, interfaces);
        reload(&self.agent, &self.installation);
    }

    /// A file that takes the room of the JSON sink, as seen from outside of the agent's mounts.
    fn filler(&self) -> PathBuf {
        let file = self.installation.json().join("filler");
        let inside = file.strip_prefix("/").expect("an absolute path");
        PathBuf::from(format!("/proc/{}/root", self.agent.id())).join(inside)
    }

    fn fill_disk(&self) {
        let mut file = File::create(self.filler()).expect("a file");
        let full = loop {
            if let Err(error) = file.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull);
    }

    /// Lets the Parquet sink's file system be written or not.
    fn remount(&self, mode: &str) {
        self.in_mounts(&format!("mount -o remount,{mode}"));
    }

    /// Runs a command about the Parquet sink's directory among the mounts of the agent.
    fn in_mounts(&self, command: &str) {
        let mut enter = Command::new("nsenter");
        enter.args(["--mount", "--target", &self.agent.id().to_string()]);
        enter.args(command.split(' '));
        run(enter.arg(self.installation.parquet()));
    }

    fn ask(&self) -> Said {
        let (exit, answer) = self.agent.command(&["status", "--json"]);
        let ready = self.agent.request("/readyz").expect("an answer");
        Said {
            exit_code: exit.code(),
            status: serde_json::from_str(&answer).expect("one object"),
            is_ready: ready.starts_with("HTTP/1.1 200"),
            metrics: self.agent.metrics(),
        }
    }

    /// Whether the agent says in each place that a fault is there.
    fn tells(&self, fault: &Fault) -> Result<(), Said> {
        let said = self.ask();
        let (path, part) = fault.finding;
        let found = said.status.pointer(path).map(Value::to_string);
        let is_told = found.is_some_and(|found| found.contains(part))
            && said.exit_code == Some(5)
            && said.metrics.sum(fault.metric.0, fault.metric.1) == 1
            && said.is_ready == fault.is_ready;
        if is_told { Ok(()) } else { Err(said) }
    }

    /// Whether the agent says in each place that nothing is wrong.
    fn is_good(&self) -> Result<(), Said> {
        let said = self.ask();
        let is_good = said.exit_code == Some(0)
            && said.is_ready
            && FAULTS
                .iter()
                .all(|fault| said.metrics.sum(fault.metric.0, "") == 0);
        if is_good { Ok(()) } else { Err(said) }
    }
}

fn configure(installation: &Installation, interfaces: &str) {
    let folder = installation.path().display();
    installation.configure(&format!(
        "interfaces: {interfaces}\n\
         rotation: {{ interval: 1s }}\n\
         writeout:\n\
         - {{ type: json, path: {folder}/json }}\n\
         - {{ type: parquet, path: {folder}/parquet }}\n\
         api: {{ addr: \"unix:{folder}/probe.sock\", metrics_addr: none }}\n"
    ));
}

/// Waits until it is so. Tells what the agent said last, if that takes too long.
#[track_caller]
fn soon(what: &str, mut check: impl FnMut() -> Result<(), Said>) {
    let begun = Instant::now();
    let mut last = None;
    let is_so = within(2 * TOLD_WITHIN, what, || match check() {
        Ok(()) => Some(true),
        Err(said) => {
            last = Some(said);
            (begun.elapsed() > TOLD_WITHIN).then_some(false)
        }
    });
    assert!(is_so, "not within {TOLD_WITHIN:?}: {what}: {last:?}");
    eprintln!("{:.1} s: {what}", begun.elapsed().as_secs_f64());
}

#[test]
fn each_fault_is_told_until_it_is_over() {
    if !skip::kernel_or_skip(&["ip", "unshare", "nsenter", "mount", "cc"]) {
        return;
    }
    let seconds = env::var("PROBE_FAULT_SECONDS").ok();
    let seconds = seconds.map_or(SECONDS, |text| text.parse().expect("a number"));
    let day = Day::begin();
    soon("all is well at the start", || day.is_good());
    for fault in &FAULTS {
        (fault.make)(&day);
        let made = Instant::now();
        soon(&format!("{} is told", fault.name), || day.tells(fault));
        let lasts = Duration::from_secs(seconds);
        within(lasts + TOLD_WITHIN, "it lasts", || {
            (made.elapsed() >= lasts).then_some(())
        });
        if let Err(said) = day.tells(fault) {
            panic!("{} is told no longer: {said:?}", fault.name);
        }
        (fault.end)(&day);
        soon(&format!("all is well after {}", fault.name), || {
            day.is_good()
        });
    }
    let metrics = day.agent.metrics();
    for result in ["failed", "dropped"] {
        let label = format!("result=\"{result}\"");
        assert_eq!(metrics.count("probe_writeout_intervals_total", &label), 0);
    }
    let log = day.installation.log();
    for sink in ["json", "parquet"] {
        let again = format!("the sink stores again sink=\"{sink}\"");
        assert_eq!(log.matches(&again).count(), 1, "{log}");
    }
    assert!(!log.contains("deleted the oldest"), "{log}");
    assert!(day.agent.terminate().success(), "the agent's exit code");
}
