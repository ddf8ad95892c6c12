//! Days of faults: each is made and ended in turn while the agent runs. The agent says so in `status`,
//! its exit code, `/readyz` and `/metrics`, and a Prometheus with the rules of `deploy/` has its alert,
//! as long as it lasts and no longer.

use std::{
    env,
    time::{Duration, Instant},
};

use rstest::rstest;

use self::{
    alerts::fires_after,
    day::{Day, Said},
    table::{CLIENTS, Fault, LINKS, SETTINGS, STORES},
};
use super::{skip, within};

mod alerts;
mod day;
mod table;

/// Within that the agent says what is wrong, and that it no longer is.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// How long each fault lasts, in seconds, unless `PROBE_FAULT_SECONDS` says otherwise.
const SECONDS: u64 = 1;

/// A sink gives up an interval after about four minutes.
const GIVES_UP_AFTER: Duration = Duration::from_mins(3);

/// Tools of all days.
const TOOLS: [&str; 9] = [
    "ip",
    "ethtool",
    "unshare",
    "nsenter",
    "mount",
    "cc",
    "bpftool",
    "prometheus",
    "python3",
];

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

/// How long each fault lasts.
fn duration() -> Duration {
    let seconds = env::var("PROBE_FAULT_SECONDS").ok();
    let seconds = seconds.map_or(SECONDS, |text| text.parse().expect("a number"));
    Duration::from_secs(seconds)
}

#[rstest]
#[case::links(&LINKS)]
#[case::settings(&SETTINGS)]
#[case::stores(&STORES)]
#[case::clients(&CLIENTS)]
fn each_fault_is_told_until_it_is_over(#[case] faults: &[Fault]) {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let only = env::var("PROBE_FAULT").unwrap_or_default();
    let is_wanted = |fault: &&Fault| fault.name.contains(&only);
    let day = Day::begin();
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
        if lasts > fires_after(&day.testbed, fault.alert) {
            fires(&day, fault, lasts);
        }
        soon(&format!("{} is told still", fault.name), || {
            day.tells(fault, false)
        });
        (fault.end)(&day);
        soon(&format!("all is well after {}", fault.name), || {
            day.is_good(faults)
        });
    }
    loses_nothing(&day);
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

/// No interval was lost, unless a sink had to give up.
fn loses_nothing(day: &Day) {
    let metrics = day.agent.metrics();
    let results: &[&str] = if duration() < GIVES_UP_AFTER {
        &["failed", "dropped"]
    } else {
        &["dropped"]
    };
    for result in results {
        let label = format!("result=\"{result}\"");
        assert_eq!(metrics.count("probe_writeout_intervals_total", &label), 0);
    }
    let log = day.installation.log();
    assert!(!log.contains("deleted the oldest"), "{log}");
}

/// The log says when a sink stores again, and only then.
fn tells_each_end(day: &Day, faults: &[Fault]) {
    let log = day.installation.log();
    for sink in ["json", "parquet"] {
        let of_sink = format!("sink=\"{sink}\"");
        let kept_it = faults
            .iter()
            .filter(|fault| fault.metric == ("probe_writeout_trouble", of_sink.as_str()));
        let again = format!("the sink stores again {of_sink}");
        assert_eq!(log.matches(&again).count(), kept_it.count(), "{log}");
    }
}
