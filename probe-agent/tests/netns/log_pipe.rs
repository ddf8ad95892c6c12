//! A log that goes to a pipe, as under a supervisor that reads it.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::Command,
};

use rustix::{fs::OFlags, process::Signal};

use super::{
    eventually,
    reload::{configure, configured},
    run, skip,
    testbed::Testbed,
};

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    if !skip::kernel_or_skip(&["ip", "mkfifo"]) {
        return;
    }
    let testbed = Testbed::with_bridges(&["one", "two"]);
    let installation = configured("{ one: {} }", "");
    let pipe = installation.path().join("pipe");
    run(Command::new("mkfifo").arg(&pipe));
    let mut unread = open(&pipe, OpenOptions::new().read(true).write(true));
    let words = format!("exec \"$@\" 2>'{}'", pipe.display());
    let agent = installation.start_by(&testbed.host, &["sh", "-c", &words, "sh"]);
    let mut filling = open(&pipe, OpenOptions::new().write(true));
    let dots = ".".repeat(1 << 20);
    let filled = filling
        .write_all(dots.as_bytes())
        .expect_err("a pipe has an end");
    assert_eq!(filled.kind(), ErrorKind::WouldBlock);

    // Each is worth lines of the log.
    for interfaces in [
        "{ one: {}, two: {} }",
        "{ two: {} }",
        "{ one: {}, two: {} }",
    ] {
        let wanted = interfaces.matches(": {}").count();
        configure(&installation, interfaces, "");
        agent.signal(Signal::HUP);
        eventually("the new interfaces are captured", || {
            let metrics = agent.metrics();
            let captured = metrics.sum("probe_interfaces_capturing", "");
            (captured.cast_unsigned() == wanted as u64).then_some(())
        });
    }
    agent.try_rotate().expect("intervals are written");
    let (code, said) = agent.command(&["status"]);
    assert_eq!(code.code(), Some(0), "{said}");
    assert_eq!(agent.metrics().sum("probe_log_lines_lost_total", ""), 0);

    // Who reads late gets what was kept meanwhile.
    let mut log = String::new();
    eventually("the lines come", || {
        let _would_block = unread.read_to_string(&mut log);
        log.contains("reloaded: ").then_some(())
    });
    filling.write_all(dots.as_bytes()).expect_err("full again");
    assert!(agent.terminate().success(), "the agent's exit code");
}

/// A description of its own, which does not block.
fn open(pipe: &Path, options: &mut OpenOptions) -> File {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    options.custom_flags(flags).open(pipe).expect("a pipe")
}
