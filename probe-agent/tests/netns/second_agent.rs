//! Two agents on one host: the second learns of the first at once.

use std::time::Duration;

use rustix::process::Signal;

use super::{agent::built_binary, reload::configured, skip, testbed::Testbed, within};

/// No start waits for another process.
const AT_ONCE: Duration = Duration::from_secs(15);

#[test]
fn a_second_agent_learns_of_the_first_and_never_waits_for_it() {
    if !skip::kernel_or_skip(&["ip"]) {
        return;
    }
    let testbed = Testbed::with_bridges(&["one"]);
    let installation = configured("{ one: {} }", "");
    let first = installation.start(&testbed.host);
    let holder = format!("process {} (", first.id());

    // With a socket of its own the second captures beside the first.
    let beside = configured("{ one: {} }", "");
    let second = beside.start(&testbed.host);
    let log = beside.log();
    let told = log.contains("another agent captures in this network namespace already");
    assert!(told && log.contains(&holder), "{log}");
    assert!(second.terminate().success(), "the agent's exit code");

    // With the same socket it cannot, also where the first does not answer.
    first.signal(Signal::STOP);
    let mut third = installation.spawn(&testbed.host, &[], &built_binary());
    let ended = within(AT_ONCE, "the third ends", || third.try_wait());
    first.signal(Signal::CONT);
    assert!(!ended.success());
    let log = installation.log();
    let socket = installation.path().join("probe.sock");
    let error = format!("cannot listen on unix:{}: {holder}", socket.display());
    assert!(log.contains(&error), "{log}");
    assert!(first.terminate().success(), "the agent's exit code");
}
