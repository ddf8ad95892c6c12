//! What the programs log reaches the agent's log. Needs an object with the programs' messages, which
//! `cargo xtask build-ebpf --log FILE` builds and `PROBE_BPF_LOG_OBJECT` names.

use std::{
    fs,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use log::{LevelFilter, Log, Metadata, Record};
use probe_common::control::programs;
use probe_datapath::{
    options::{CacheSlots, SourceOptions},
    source::EbpfSource,
    test_run::{TEST_IFINDEX, TestFrame},
};
use probe_testkit::skip;

/// The agent's log, as far as `aya-log` sees it.
struct Heard(Mutex<Vec<String>>);

static HEARD: Heard = Heard(Mutex::new(Vec::new()));

impl Log for Heard {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(format!("{} {}", record.level(), record.args()));
    }

    fn flush(&self) {}
}

fn heard(what: &str) -> bool {
    let lines = HEARD.0.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().any(|line| line.contains(what))
}

#[test]
fn a_message_of_a_program_is_in_the_log() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let remedy = "`cargo xtask build-ebpf --log FILE` builds one with messages";
    let Some(object) = skip::file_or_skip("PROBE_BPF_LOG_OBJECT", remedy) else {
        return;
    };
    log::set_logger(&HEARD).expect("the first logger");
    log::set_max_level(LevelFilter::Trace);
    let options = SourceOptions {
        ring_buffer_bytes: 1 << 20,
        cache_slots: CacheSlots::PerCpu(64),
        interfaces: 1,
    };
    let object = fs::read(object).expect("the object is there");
    let mut source = EbpfSource::with_object(&object, options.load_options()).expect("loaded");
    // An IPv4 frame of an interface without a capture.
    let mut frame = [0; 60];
    frame[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
    let frame = TestFrame {
        bytes: &frame,
        ..TestFrame::default()
    };
    let object = source.object();
    object
        .test_run(programs::TC_INGRESS, frame, 1)
        .expect("run");

    let deadline = Instant::now() + Duration::from_secs(10);
    let expected = format!("interface {TEST_IFINDEX}");
    while !heard(&expected) {
        assert!(Instant::now() < deadline, "heard only {:?}", HEARD.0.lock());
        thread::sleep(Duration::from_millis(5));
    }
}
