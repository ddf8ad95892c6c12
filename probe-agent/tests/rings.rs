//! The programs' rings, one for each CPU: which record takes which, that none is lost or told
//! twice, and that a CPU whose ring is full is the only one that loses (`BPF_PROG_TEST_RUN`).

#![expect(
    clippy::unwrap_used,
    reason = "a failing unwrap is how a test fails, also in a function of its own"
)]

use std::time::{Duration, Instant};

use probe_capture::source::{RecordSource as _, RecordStream};
use probe_common::{
    control::{Counters, programs},
    headers::{ETHERNET_LEN, IPV4_MIN_LEN},
    loss::Loss,
    record::{Record, RecordV4},
};
use probe_datapath::{
    cache_parts::CacheParts,
    load::LoadOptions,
    ring_parts::RingParts,
    source::EbpfSource,
    test_run::{TEST_IFINDEX, TestFrame},
};
use probe_testkit::skip;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

#[path = "cache/frames.rs"]
mod frames;

use frames::{frames, tcp4};

const RING_BYTES: u32 = 1 << 16;
/// IPv4 records that a ring holds, each with its header of 8 octets.
const CAPACITY: u64 = RING_BYTES as u64 / (8 + size_of::<RecordV4>() as u64);

/// The loaded programs, run on whatever CPU.
struct Programs {
    source: EbpfSource,
    stream: Box<dyn RecordStream>,
}

impl Programs {
    fn load(rings: u32, cache: CacheParts) -> Self {
        let mut source = EbpfSource::with_options(LoadOptions {
            rings: RingParts::new(rings, RING_BYTES),
            interfaces: 4,
            cache,
        })
        .unwrap();
        source.claim(TEST_IFINDEX, false).unwrap().unwrap();
        let stream = source.take_streams().pop().unwrap();
        Self { source, stream }
    }

    fn run(&mut self, cpu: usize, program: &'static str, frame: &[u8], repeat: u32) {
        pin(cpu);
        let frame = TestFrame {
            bytes: frame,
            linear_len: None,
            gso_size: 0,
            gso_segments: 0,
        };
        let object = self.source.object();
        object.test_run(program, frame, repeat).unwrap();
    }

    /// What a pass over the rings hands over, batch by batch.
    fn batches(&mut self) -> Vec<Vec<Told>> {
        let mut batches = Vec::new();
        let mut keep =
            |batch: &[Record<'_>]| batches.push(batch.iter().map(Told::from_record).collect());
        self.stream.drain(&mut keep).unwrap();
        batches
    }

    fn counters(&self) -> [Counters; 2] {
        self.source.counters(TEST_IFINDEX).unwrap()[0]
    }
}

/// What these tests compare of a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Told {
    host: u8,
    direction: u8,
    packets: u64,
    octets: u64,
}

impl Told {
    fn from_record(record: &Record<'_>) -> Self {
        let head = record.head();
        Self {
            host: match record {
                Record::V4(record) => record.key.src_addr[3],
                Record::V6(record) => record.key.src_addr[15],
            },
            direction: head.direction(),
            packets: head.packets.into(),
            octets: head.octets,
        }
    }
}

/// Binds this thread to a CPU.
fn pin(cpu: usize) {
    let mut one = CpuSet::new();
    one.set(cpu);
    sched_setaffinity(None, &one).unwrap();
}

/// Whether this test can load programs and run them on the first two CPUs.
#[track_caller]
fn two_cpus_or_skip() -> bool {
    if !skip::kernel_or_skip(&[]) {
        return false;
    }
    let cpus = sched_getaffinity(None).unwrap();
    let has_two = cpus.is_set(0) && cpus.is_set(1);
    if !has_two {
        skip::not_in_this_kernel("second CPU for us");
    }
    has_two
}

/// A frame of a host, with some octets changed.
fn changed(host: u8, at: usize, octets: &[u8]) -> Vec<u8> {
    let mut frame = tcp4(host, 0x10, false);
    frame[at..at + octets.len()].copy_from_slice(octets);
    frame
}

const FRAGMENT_AT: usize = ETHERNET_LEN + 6;
const PORTS_AT: usize = ETHERNET_LEN + IPV4_MIN_LEN;
const FIRST_FRAGMENT: [u8; 2] = [0x20, 0];
const LATER_FRAGMENT: [u8; 2] = [0, 2];
const EQUAL_PORTS: [u8; 4] = [0, 123, 0, 123];

#[test]
fn a_cpu_has_its_ring_and_what_goes_by_order_has_the_first() {
    if !two_cpus_or_skip() {
        return;
    }
    let steps = [
        (0, tcp4(0, 0x10, false)),
        (1, tcp4(1, 0x10, false)),
        (1, changed(2, FRAGMENT_AT, &FIRST_FRAGMENT)),
        (0, changed(3, FRAGMENT_AT, &LATER_FRAGMENT)),
        (1, changed(4, PORTS_AT, &EQUAL_PORTS)),
        (0, tcp4(5, 0x10, false)),
        (1, changed(6, FRAGMENT_AT, &LATER_FRAGMENT)),
        (1, tcp4(7, 0x10, false)),
        (0, changed(8, PORTS_AT, &EQUAL_PORTS)),
    ];
    let hosts = |rings| {
        let mut programs = Programs::load(rings, CacheParts::NONE);
        for (cpu, frame) in &steps {
            programs.run(*cpu, programs::TC_INGRESS, frame, 1);
        }
        let [ingress, _] = programs.counters();
        assert_eq!(ingress.recorded.packets, steps.len() as u64);
        assert_eq!(ingress.loss(Loss::RingFull).packets, 0);
        let batches = programs.batches();
        assert_eq!(programs.batches(), Vec::<Vec<_>>::new(), "told once");
        let hosts = |batch: Vec<Told>| batch.into_iter().map(|it| it.host).collect::<Vec<_>>();
        batches.into_iter().map(hosts).collect::<Vec<_>>()
    };
    // A batch is of one ring, and the first is read first.
    let two = vec![vec![0, 2, 3, 4, 5, 6, 8], vec![1, 7]];
    assert_eq!(hosts(2), two);
    assert_eq!(hosts(4), two, "of which no CPU uses the others");
    assert_eq!(hosts(1), vec![(0..9).collect::<Vec<_>>()]);
}

#[test]
fn a_full_ring_loses_nothing_of_other_cpus() {
    if !two_cpus_or_skip() {
        return;
    }
    let mut programs = Programs::load(2, CacheParts::NONE);
    let flood = tcp4(1, 0x10, false);
    let runs = 2 * CAPACITY;
    programs.run(1, programs::TC_INGRESS, &flood, runs.try_into().unwrap());
    programs.run(0, programs::TC_EGRESS, &tcp4(0, 0x10, false), 1000);
    // Its ring is not that of CPU 1.
    let fragment = changed(2, FRAGMENT_AT, &FIRST_FRAGMENT);
    programs.run(1, programs::TC_EGRESS, &fragment, 100);

    let [ingress, egress] = programs.counters();
    assert_eq!(ingress.recorded.packets, runs);
    assert_eq!(ingress.loss(Loss::RingFull).packets, runs - CAPACITY);
    assert_eq!(egress.recorded.packets, 1100);
    assert_eq!(egress.loss(Loss::RingFull).packets, 0);
    let told = programs.batches().concat();
    let of = |host| told.iter().filter(|it| it.host == host).count() as u64;
    assert_eq!([of(0), of(1), of(2)], [1000, CAPACITY, 100]);
    let octets: u64 = told.iter().map(|it| it.octets).sum();
    let lost = ingress.loss(Loss::RingFull).bytes;
    assert_eq!(
        ingress.recorded.bytes + egress.recorded.bytes,
        octets + lost
    );
}

#[test]
fn every_packet_of_both_cpus_is_told_once() {
    if !two_cpus_or_skip() {
        return;
    }
    let hooks = [programs::TC_INGRESS, programs::TC_EGRESS];
    for cache in [CacheParts::new(64, 0), CacheParts::new(64, 64)] {
        let mut programs = Programs::load(2, cache);
        let mut frames = frames(true);
        // More flows than the cache holds.
        frames.extend((0..=255).map(|host| tcp4(host, 0x10, false)));
        for (index, frame) in frames.iter().enumerate() {
            for cpu in [0, 1] {
                programs.run(cpu, hooks[index % 2], frame, 3);
            }
        }
        let mut batches = programs.batches();
        assert!(batches.concat().len() > 200, "displaced");
        assert_eq!(programs.source.switch_bank().unwrap(), 0);
        let mut keep =
            |batch: &[Record<'_>]| batches.push(batch.iter().map(Told::from_record).collect());
        programs.stream.drain_closed(0, &mut keep).unwrap();
        let told = batches.concat();
        for (direction, counters) in programs.counters().into_iter().enumerate() {
            let of_it = || {
                told.iter()
                    .filter(|it| usize::from(it.direction) == direction)
            };
            let [packets, octets] = [
                of_it().map(|it| it.packets).sum::<u64>(),
                of_it().map(|it| it.octets).sum::<u64>(),
            ];
            assert_eq!(counters.loss(Loss::RingFull).packets, 0);
            assert!(packets > 800, "{direction}: {packets}");
            assert_eq!(counters.recorded.packets, packets, "{direction}");
            assert_eq!(counters.recorded.bytes, octets, "{direction}");
        }
    }
}

#[test]
fn each_ring_wakes_its_reader() {
    if !two_cpus_or_skip() {
        return;
    }
    for cpu in [0, 1] {
        let mut programs = Programs::load(2, CacheParts::NONE);
        let frame = tcp4(0, 0x10, false);
        let sleeps_for = |programs: &mut Programs| {
            let began = Instant::now();
            programs.stream.wait(0);
            began.elapsed()
        };
        let nearly_a_quarter = u32::try_from(CAPACITY / 4 - 2).unwrap();
        programs.run(cpu, programs::TC_INGRESS, &frame, nearly_a_quarter);
        assert!(sleeps_for(&mut programs) > Duration::from_millis(900));
        programs.run(cpu, programs::TC_INGRESS, &frame, 10);
        assert!(sleeps_for(&mut programs) < Duration::from_millis(500));
    }
}
