//! Hosts that make and remove links all day: nothing may grow.

use std::{fs, path::PathBuf, thread, time::Duration};

use super::{
    PATIENCE,
    agent::{Agent, Installation},
    skip,
    testbed::Testbed,
    within,
};

/// Pairs of links that come and go together, with both ends captured.
const PAIRS: usize = 50;

/// Rounds, unless `PROBE_CHURN_ROUNDS` says otherwise.
const ROUNDS: usize = 4;

/// Memory that may come and go with the allocator's mood (it keeps an arena for each thread), 1024
/// names that are remembered, and the series of 256 of them, which are there for ten minutes more.
const SLACK_KIB: u64 = 16 << 10;

/// What may be added to that in the second half of a long run (`PROBE_CHURN_ROUNDS=100`), when most
/// of it is there: a loss of 0.4 KiB with each link would be more.
const LATE_SLACK_KIB: u64 = 2 << 10;

/// Rounds of a run that is long enough for that.
const LONG: usize = 100;

#[derive(Clone, Debug)]
struct Held {
    resident_kib: u64,
    descriptors: usize,
    links: usize,
    programs: usize,
    map_bytes: u64,
}

#[test]
fn links_that_come_and_go_leave_nothing_behind() {
    if !skip::kernel_or_skip(&["ip", "bpftool"]) {
        return;
    }
    let rounds = std::env::var("PROBE_CHURN_ROUNDS").ok();
    let rounds = rounds.map_or(ROUNDS, |text| text.parse().expect("a number"));
    let testbed = Testbed::with_bridges(&["stays"]);
    let installation = Installation::empty();
    let folder = installation.path().display();
    installation.configure(&format!(
        "interfaces: {{ stays: {{}}, '/^c/': {{}} }}\nwriteout: []\n\
         api: {{ addr: \"unix:{folder}/probe.sock\", metrics_addr: none }}\n"
    ));
    let agent = installation.start(&testbed.host);
    let pid = agent.id();
    wait_for(&agent, 1);
    let links = agent.attached().links.len();
    let mut first = None;
    let mut middle = None;
    for round in 0..rounds {
        let names: Vec<_> = (0..PAIRS).map(|pair| format!("c{round}_{pair}")).collect();
        let batch = |command: fn(&str) -> String| {
            let lines: Vec<_> = names.iter().map(|name| command(name)).collect();
            lines.concat()
        };
        testbed.host.ip(&batch(|name| {
            format!("link add {name}a type veth peer name {name}b\n")
        }));
        wait_for(&agent, 1 + 2 * PAIRS);
        testbed
            .host
            .ip(&batch(|name| format!("link delete {name}a\n")));
        wait_for(&agent, 1);
        // A capture is over before its programs are detached, and a check of links has sockets.
        let before = first.as_ref().map(|first: &Held| first.descriptors);
        let now = within(PATIENCE, "no more is held than before", || {
            let now = held(&agent, pid);
            thread::sleep(Duration::from_millis(200));
            let then = held(&agent, pid).descriptors;
            let is_settled = now.links == links && now.descriptors == before.unwrap_or(then);
            is_settled.then_some(now)
        });
        // The first rounds make the programs, and what the allocator keeps.
        let first = first.get_or_insert_with(|| now.clone());
        assert_eq!(now.programs, first.programs, "round {round}: {now:?}");
        assert_eq!(now.map_bytes, first.map_bytes, "round {round}: {now:?}");
        let most = first.resident_kib + SLACK_KIB;
        assert!(now.resident_kib <= most, "round {round}: {now:?} {first:?}");
        if rounds >= LONG && round >= rounds / 2 {
            let middle = *middle.get_or_insert(now.resident_kib);
            let most = middle + LATE_SLACK_KIB;
            assert!(now.resident_kib <= most, "round {round}: {now:?} {middle}");
        }
        eprintln!("round {round}: {now:?}");
    }
    assert!(agent.terminate().success(), "the agent's exit code");
}

fn held(agent: &Agent, pid: u32) -> Held {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let status = fs::read_to_string(folder.join("status")).expect("a living agent");
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let resident = resident.and_then(|it| it.trim().trim_end_matches(" kB").parse().ok());
    let attached = agent.attached();
    Held {
        resident_kib: resident.expect("a number of kB"),
        descriptors: fs::read_dir(folder.join("fd"))
            .expect("descriptors")
            .count(),
        links: attached.links.len(),
        programs: attached.programs.len(),
        map_bytes: agent.map_bytes(),
    }
}

#[track_caller]
fn wait_for(agent: &Agent, interfaces: usize) {
    within(2 * PATIENCE, "so many interfaces are captured", || {
        let capturing = agent.metrics().sum("probe_interfaces_capturing", "");
        (capturing == interfaces.cast_signed() as i64).then_some(())
    });
}
