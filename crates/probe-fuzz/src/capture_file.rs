//! Capture files: pcap and pcapng.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Write,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use probe_capture::{
    interface::{Interface, InterfaceConfig},
    source::{Drained, Hooks, RecordSource, RecordStream},
};
use probe_flow::ledger::{Identity, Ledger};
use probe_pcap::{PcapSource, Playback};
use rustix::fs::{MemfdFlags, memfd_create};

/// Replays a file with a rotation in its middle. Every packet must be in a record or a named loss,
/// every record must be of an interface and a time of the file, and the replay must end.
pub fn check(input: &[u8]) {
    let (file, path) = in_memory(input);
    match PcapSource::open(&path) {
        Ok((source, interfaces)) => replay(source, &interfaces, input.len()),
        Err(error) => super::assert_printable(&error.to_string()),
    }
    drop(file);
}

/// A file that is never on a disk, and a path to it.
fn in_memory(input: &[u8]) -> (File, PathBuf) {
    let descriptor = memfd_create("capture", MemfdFlags::CLOEXEC).expect("a file in memory");
    let mut file = File::from(descriptor);
    file.write_all(input).expect("memory for the input");
    let path = Path::new("/proc/self/fd").join(file.as_raw_fd().to_string());
    (file, path)
}

fn replay(mut source: PcapSource, interfaces: &[Interface], input_len: usize) {
    let playback = source.playback();
    for message in &playback.warnings() {
        super::assert_printable(message);
    }
    for (position, interface) in interfaces.iter().enumerate() {
        super::assert_printable(&interface.name);
        let config = InterfaceConfig {
            ignore_vlans: position % 2 == 1,
            ..InterfaceConfig::default()
        };
        source
            .attach(interface, &config)
            .expect("it is in the file");
    }
    let mut ledgers = vec![Ledger::default(); interfaces.len()];
    let ticks = drain(&mut source, &mut ledgers);
    check_ending(&playback, input_len);
    check_times(&source, &playback, &ticks);

    for (interface, ledger) in interfaces.iter().zip(&mut ledgers) {
        let banks = source.counters(interface.ifindex).expect("attached");
        for counters in banks.iter().flatten() {
            ledger.on_source_counters(counters);
        }
        for identity in Identity::ALL {
            let violation = ledger.violation(identity);
            assert_eq!(violation, 0, "{}: {ledger}", identity.formula());
        }
        assert_eq!(ledger.residue(), 0, "{ledger}");
        // A packet takes at least a header of the file.
        assert!(ledger.seen.packets <= input_len as u64, "{ledger}");
    }
}

/// Takes all records, and switches the bank once. Returns their ticks, each once.
fn drain(source: &mut PcapSource, ledgers: &mut [Ledger]) -> BTreeSet<u32> {
    let mut ticks = BTreeSet::new();
    let mut streams = source.take_streams();
    let stream: &mut dyn RecordStream = streams.first_mut().expect("a stream").as_mut();
    let mut has_switched = false;
    loop {
        let drained = stream.drain(&mut |records| {
            for record in records {
                let head = record.head();
                ticks.extend([head.first, head.last()]);
                let position = head.ifindex as usize - 1;
                ledgers[position]
                    .flows
                    .add(head.packets.into(), head.octets);
            }
        });
        match drained.expect("a file has no ring to fail") {
            Drained::End => return ticks,
            Drained::Idle => panic!("all interfaces are attached, and nothing begins"),
            Drained::Records(_) if !has_switched => {
                source.switch_bank().expect("switched");
                has_switched = true;
            }
            Drained::Records(_) => {}
        }
    }
}

/// A tick is a time between the first and the last of the file, or none.
fn check_times(source: &PcapSource, playback: &Playback, ticks: &BTreeSet<u32>) {
    let clock = source.tick_clock();
    let times = ticks.iter().filter_map(|tick| clock.known_time_of(*tick));
    for at in times {
        let (first, last) = playback.time_range().expect("there is a time");
        let ms = at.as_millisecond();
        assert!(
            first.as_millisecond() <= ms && ms <= last.as_millisecond(),
            "{first} {at} {last}"
        );
    }
}

fn check_ending(playback: &Playback, input_len: usize) {
    let ending = playback.ending().expect("the replay is over");
    super::assert_printable(&ending.to_string());
    let times = playback.time_range();
    assert!(times.is_none_or(|(first, last)| first <= last), "{times:?}");
    assert!(playback.read_bytes() <= input_len as u64);
}
