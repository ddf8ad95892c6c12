//! Days of faults: each is made and ended in turn while the agent runs. The agent says so in `status`,
//! its exit code, `/readyz` and `/metrics`, and a Prometheus with the rules of `deploy/` has its alert,
//! as long as it lasts and no longer.

use std::{
    env,
    time::{Duration, Instant},
};

use rstest::rstest;
use rustix::process::Signal;

use self::{
    alerts::fires_after,
    day::{Day, Said},
    disks::{DISK, Disks, PLAIN, QUIET, STORED},
    table::{CLIENTS, DISKS, Fault, LINKS, QUEUE, ROOM, SETTINGS, STORES, UNUSED},
};
use super::{eventually, skip, within};

mod alerts;
mod day;
mod disks;
mod table;

/// Within that the agent says what is wrong, and that it no longer is.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// How long each fault lasts, in seconds, unless `PROBE_FAULT_SECONDS` says otherwise.
const SECONDS: u64 = 1;

/// Within that Prometheus has two samples more of the agent that it scrapes at leisure.
const LEISURE: Duration = Duration::from_secs(20);

/// A sink gives up an interval after about four minutes.
const GIVES_UP_AFTER: Duration = Duration::from_mins(3);

/// Tools of all days.
const TOOLS: [&str; 12] = [
    "ip",
    "ethtool",
    "unshare",
    "nsenter",
    "mount",
    "cc",
    "bpftool",
    "prometheus",
    "python3",
    "mkfs.ext4",
    "chattr",
    "fsfreeze",
];

/// Within that a full queue is worked off.
const WORKED_OFF_WITHIN: Duration = Duration::from_mins(3);

/// Waits until it is so. Tells what the agent said last, if that takes too long.
#[track_caller]
fn soon(what: &str, check: impl FnMut() -> Result<(), Said>) {
    so_within(TOLD_WITHIN, what, check);
}

#[track_caller]
fn so_within(limit: Duration, what: &str, mut check: impl FnMut() -> Result<(), Said>) {
    let begun = Instant::now();
    let mut last = None;
    let is_so = within(2 * limit, what, || match check() {
        Ok(()) => Some(true),
        Err(said) => {
            last = Some(said);
            (begun.elapsed() > limit).then_some(false)
        }
    });
    assert!(is_so, "not within {limit:?}: {what}: {last:?}");
    eprintln!("{:.1} s: {what}", begun.elapsed().as_secs_f64());
}

/// How long each fault lasts.
fn duration() -> Duration {
    let seconds = env::var("PROBE_FAULT_SECONDS").ok();
    let seconds = seconds.map_or(SECONDS, |text| text.parse().expect("a number"));
    Duration::from_secs(seconds)
}

#[rstest]
#[case::links(&PLAIN, &LINKS)]
#[case::settings(&PLAIN, &SETTINGS)]
#[case::stores(&PLAIN, &STORES)]
#[case::unused(&QUIET, &UNUSED)]
#[case::clients(&PLAIN, &CLIENTS)]
#[case::room(&STORED, &ROOM)]
#[case::disks(&DISK, &DISKS)]
#[case::queue(&DISK, &QUEUE)]
fn each_fault_is_told_until_it_is_over(#[case] disks: &'static Disks, #[case] faults: &[Fault]) {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let only = env::var("PROBE_FAULT").unwrap_or_default();
    let is_wanted = |fault: &&Fault| fault.name.contains(&only);
    let day = Day::begin(disks);
    soon("all is well at the start", || day.is_good(faults));
    for fault in faults.iter().filter(is_wanted) {
        (fault.make)(&day);
        let made = Instant::now();
        soon(&format!("{} is told", fault.name), || {
            day.tells(fault, false)
        });
        let lasts = duration();
        within(lasts + TOLD_WITHIN, "it lasts", || {
            (made.elapsed() >= lasts).then_some(())
        });
        if lasts > fires_after(&day.testbed, fault.alert) + LEISURE {
            fires(&day, fault, lasts);
        }
        soon(&format!("{} is told still", fault.name), || {
            day.tells(fault, false)
        });
        (fault.end)(&day);
        let limit = if fault.loses_intervals() {
            WORKED_OFF_WITHIN
        } else {
            TOLD_WITHIN
        };
        so_within(limit, &format!("all is well after {}", fault.name), || {
            day.is_good(faults)
        });
    }
    loses_nothing(&day, faults);
    if only.is_empty() {
        tells_each_end(&day, faults);
    }
    assert!(day.agent.terminate().success(), "the agent's exit code");
}

/// The alert of a fault fires that has been there for so long.
fn fires(day: &Day, fault: &Fault, lasts: Duration) {
    let what = format!("{} fires: {}", fault.alert.0, fault.name);
    within(lasts, &what, || day.tells(fault, true).ok());
    eprintln!("{what}");
}

/// No interval was lost, unless a sink had to give up, and none deleted that had not to be.
fn loses_nothing(day: &Day, faults: &[Fault]) {
    let metrics = day.agent.metrics();
    let results: &[&str] = if faults.iter().any(Fault::loses_intervals) {
        &["failed"]
    } else if duration() < GIVES_UP_AFTER {
        &["failed", "dropped"]
    } else {
        &["dropped"]
    };
    for result in results {
        let label = format!("result=\"{result}\"");
        assert_eq!(metrics.count("probe_writeout_intervals_total", &label), 0);
    }
    let log = day.installation.log();
    let may_delete = faults.iter().any(Fault::deletes_days);
    assert!(may_delete || !log.contains("deleted the oldest"), "{log}");
}

/// The kernel takes connections for an agent that is stopped.
#[test]
fn a_stopped_agent_is_told_by_commands_and_alert() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let day = Day::begin(&PLAIN);
    soon("all is well at the start", || day.is_good(&CLIENTS));
    day.agent.signal(Signal::STOP);
    let remedy = format!("`kill -CONT {}`", day.agent.id());
    for words in [&["status"][..], &["flows"], &["reload"]] {
        let asked = Instant::now();
        let (exit, said) = day.agent.command(words);
        assert_eq!(exit.code(), Some(4), "{said}");
        assert!(said.contains(&remedy), "{said}");
        assert!(asked.elapsed() < TOLD_WITHIN, "{:?}", asked.elapsed());
        eprintln!("{:.1} s: {said}", asked.elapsed().as_secs_f64());
    }
    let down = ("ProbeDown", "job", "probe");
    within(TOLD_WITHIN, "the alert of a stopped agent", || {
        let active = alerts::active(&day.testbed);
        alerts::is_told(&active, down, false).then_some(())
    });
    day.agent.signal(Signal::CONT);
    soon("all is well when it goes on", || day.is_good(&CLIENTS));
}

/// The log says when a sink stores again, or can, and only then.
fn tells_each_end(day: &Day, faults: &[Fault]) {
    for sink in ["json", "parquet"] {
        let of_sink = format!("sink=\"{sink}\"");
        let labels = [of_sink.clone(), format!("kind=\"failing\",{of_sink}")];
        let kept_it = faults.iter().filter(|fault| {
            let (name, label) = fault.metric;
            name == "probe_writeout_trouble" && labels.iter().any(|it| it == label)
        });
        let kept_it = kept_it.count();
        let again = ["stores", "can store"].map(|it| format!("the sink {it} again {of_sink}"));
        eventually("the log tells each end", || {
            let log = day.installation.log();
            let told = again.iter().map(|again| log.matches(again).count());
            (told.sum::<usize>() == kept_it).then_some(())
        });
    }
}
