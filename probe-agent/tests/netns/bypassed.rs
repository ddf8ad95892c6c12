//! Packets that a program of somebody else lets pass without ours.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use super::{
    PATIENCE,
    agent::Installation,
    netns::Namespace,
    run,
    segmentation::{SEND_SEGMENTS, testbed_with_super_packets},
    skip,
    supervision::ifindex,
    testbed::{HOST_V4, LINK, PEER_V4, Testbed},
    within,
};

const TCX_AHEAD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/tcx_ahead.py");

/// The counter of a veth and ours count super-packets differently, so only octets tell that most are missing.
#[test]
fn super_packets_that_pass_without_us_are_told() {
    if !skip::kernel_or_skip(&["ip", "ethtool", "python3", "sysctl"]) {
        return;
    }
    let testbed = testbed_with_super_packets(None);
    let installation = Installation::new(&format!("{{ {LINK}: {{ hook: tc }} }}"), "1d");
    let agent = installation.start(&testbed.host);
    let wait_for = |state: &str| {
        let label = format!("state=\"{state}\"");
        within(PATIENCE, &format!("the capture is {state}"), || {
            send_super_packets(&testbed);
            (agent.metrics().sum("probe_capture_state", &label) == 1).then_some(())
        });
    };
    wait_for("ok");
    let ahead = Ahead::attach(&testbed.host);
    wait_for("partial");
    installation.log_that_says("runs before ours and may drop");
    drop(ahead);
    wait_for("ok");
    assert!(agent.terminate().success(), "the agent's exit code");
}

/// Frames of 21 packets each, for a part of a second.
fn send_super_packets(testbed: &Testbed) {
    let mut python = testbed.peer.command("python3");
    let ends = [PEER_V4, HOST_V4].map(|end| end.to_string());
    run(python
        .arg(SEND_SEGMENTS)
        .args(ends)
        .args(["7000", "1000", "20500", "100"]));
}

/// A TCX program before ours.
struct Ahead(Child);

impl Ahead {
    fn attach(namespace: &Namespace) -> Self {
        let index = namespace.enter(|| ifindex(LINK));
        let mut python = namespace.command("python3");
        python.args([TCX_AHEAD, &index.to_string()]);
        let piped = python.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().expect("python3 starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("a line");
        assert_eq!(line, "attached\n");
        Self(child)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let ended = self.0.wait();
        assert!(ended.is_ok_and(|it| it.success()), "it detaches");
    }
}
