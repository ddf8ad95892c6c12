//! Signals, sent to real processes: the test runs itself again as a child.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};

use probe_agent::{
    config::LoggingConfig,
    lifecycle::shutdown::{Request, Signals, StopSignal},
};
use rustix::process::{Pid, Signal, kill_process};

const CHILD: &str = "PROBE_TEST_CHILD";

/// What the child does: waits for a signal, tells it, and then never comes to an end by itself.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut signals = Signals::new().expect("signals");
        println!("\nwaiting");
        let stop = loop {
            match signals.request().await {
                Request::Stop(stop) => break stop,
                Request::Reload => println!("reloading"),
            }
        };
        assert!(matches!(
            stop,
            StopSignal::Interrupt | StopSignal::Terminate
        ));
        signals.exit_on_next();
        println!("stopping on {stop}");
        std::future::pending::<()>().await;
    });
}

/// What another child does: logs to where nothing can be written.
#[test]
fn child_that_logs() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    probe_agent::telemetry::init(&LoggingConfig::default()).expect("the first to set it up");
    tracing::info!("cannot be written");
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("Linux");
    let status = Command::new(std::env::current_exe().expect("the test"))
        .args(["child_that_logs", "--exact", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::null())
        .stderr(full)
        .status()
        .expect("the test runs again");
    assert!(status.success(), "{status}");
}

/// Killed when dropped.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn new() -> Self {
        let mut child = Command::new(std::env::current_exe().expect("the test"))
            .args(["child", "--exact", "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the test runs again");
        let stdout = child.stdout.take().expect("piped");
        let lines = BufReader::new(stdout).lines();
        let mut running = Self { child, lines };
        running.wait_for("waiting");
        running
    }

    fn wait_for(&mut self, wanted: &str) {
        let found = self.lines.any(|line| line.expect("text") == wanted);
        assert!(found, "the child ended without {wanted:?}");
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process"), signal).expect("sent");
    }

    fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("ended")
    }
}

#[test]
fn the_second_signal_ends_the_process_at_once() {
    let mut running = Running::new();
    running.signal(Signal::TERM);
    running.wait_for("stopping on SIGTERM");
    // At once it is the same request again; later somebody is tired of waiting.
    running.signal(Signal::TERM);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(
        running.child.try_wait().expect("a child").is_none(),
        "the drain goes on"
    );
    running.signal(Signal::INT);
    let status = running.wait();
    assert_eq!((status.code(), status.signal()), (Some(130), None));
}

#[test]
fn a_signal_of_other_programs_stops_nothing() {
    let mut running = Running::new();
    running.signal(Signal::USR1);
    running.signal(Signal::USR2);
    // What a write beyond `LimitFSIZE=` sends; the write fails then, and the sink tells it.
    running.signal(Signal::XFSZ);
    running.signal(Signal::TERM);
    running.wait_for("stopping on SIGTERM");
}

#[test]
fn a_hangup_stops_nothing() {
    let mut running = Running::new();
    running.signal(Signal::HUP);
    running.wait_for("reloading");
    running.signal(Signal::INT);
    running.wait_for("stopping on SIGINT");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    running.signal(Signal::HUP);
    running.signal(Signal::TERM);
    assert_eq!(running.wait().code(), Some(143));
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
