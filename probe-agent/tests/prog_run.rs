//! The loaded programs against the host's parser, packet by packet (`BPF_PROG_TEST_RUN`): each
//! must give the same record, byte for byte, or count the same loss.

#![expect(
    clippy::unwrap_used,
    reason = "a failing unwrap is how a test fails, also in a function of its own"
)]

use probe_agent::selftest::{
    bench::{self, PROGRAMS, Ran, UnderTest},
    expected::{expected_of, parse_on_host, without_end},
};
use probe_capture::source::{Drained, RecordSource};
use probe_common::{
    control::{Counters, programs},
    headers::{
        ETHERNET_LEN, IPV4_MIN_LEN,
        ip_protocol::{GRE, IPV4_IN_IP, TCP, UDP},
    },
    loss::Loss,
    record::Record,
};
use probe_datapath::{
    cache_parts::CacheParts,
    load::LoadOptions,
    ring_parts::RingParts,
    source::EbpfSource,
    test_run::{TEST_IFINDEX, TestFrame},
};
use probe_testkit::{captures, skip};

#[path = "../src/selftest/packets.rs"]
mod packets;

/// The loaded programs, and how many runs there were.
struct Bench {
    inner: bench::Bench,
    ran: usize,
    unfit: usize,
}

impl Bench {
    fn load() -> Self {
        Self::load_with(false)
    }

    fn load_with(ignore_vlans: bool) -> Self {
        Self {
            inner: bench::Bench::load(None, ignore_vlans).unwrap(),
            ran: 0,
            unfit: 0,
        }
    }

    /// Runs a program once. `None` if the kernel does not take such a frame.
    fn run(&mut self, under_test: UnderTest, frame: TestFrame<'_>) -> Option<Ran> {
        let ran = self.inner.run(under_test, frame).unwrap();
        match &ran {
            Some(ran) => {
                assert_eq!(ran.action, under_test.action, "the frame must go on");
                self.ran += 1;
            }
            None => self.unfit += 1,
        }
        ran
    }

    /// Runs all programs over a frame, and compares each with the host's parser.
    fn compare(&mut self, name: &str, frame: TestFrame<'_>) {
        for under_test in PROGRAMS {
            let Some(ran) = self.run(under_test, frame) else {
                continue;
            };
            let on_host = parse_on_host(under_test, frame.bytes);
            let mut expected = expected_of(under_test, &on_host, frame.bytes.len());
            if under_test.program == programs::XDP_INGRESS
                && let Some(linear_len) = frame.linear_len.map(u64::from)
                && expected.record.is_some()
                && expected.counted.recorded.bytes + ETHERNET_LEN as u64 <= linear_len
            {
                // Padding in another buffer than the packet is not searched for.
                expected.counted.seen.bytes = linear_len;
            }
            assert_eq!(
                ran,
                expected,
                "{name}: {} of {} bytes in {:?}; the host says {on_host:?}",
                under_test.program,
                frame.bytes.len(),
                frame.linear_len,
            );
        }
    }

    fn report(&self, what: &str) {
        assert!(self.ran > 0, "{what}: nothing was run");
        eprintln!(
            "{what}: {} runs agree with the host; {} frames that this kernel's BPF_PROG_TEST_RUN \
             does not take",
            self.ran, self.unfit
        );
    }
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_ne_bytes(bytes.try_into().unwrap())
}

const fn whole(bytes: &[u8]) -> TestFrame<'_> {
    TestFrame {
        bytes,
        linear_len: None,
        gso_size: 0,
        gso_segments: 0,
    }
}

#[test]
fn hand_built_packets_give_their_known_answers() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let mut bench = Bench::load();
    let mut too_short = 0;
    for case in packets::cases() {
        if case.frame.len() < ETHERNET_LEN {
            too_short += 1;
            continue;
        }
        let (frame, len) = (whole(&case.frame), case.frame.len());
        assert!(len <= case.wire_len, "{}", case.name);
        for under_test in PROGRAMS.into_iter().filter(|under_test| !under_test.is_l3) {
            let Some(ran) = bench.run(under_test, frame) else {
                continue;
            };
            let answer = without_end(case.expected, case.wire_len - len);
            let expected = expected_of(under_test, &answer, len);
            assert_eq!(ran, expected, "{}: {}", case.name, under_test.program);
        }
        bench.compare(case.name, frame);
    }
    bench.report("hand-built packets");
    eprintln!("{too_short} cases are shorter than an Ethernet header, which cannot be run");
}

#[test]
fn every_prefix_of_the_hand_built_packets_agrees() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let mut bench = Bench::load();
    for case in packets::cases() {
        for len in ETHERNET_LEN..case.frame.len().min(200) {
            bench.compare(case.name, whole(&case.frame[..len]));
        }
    }
    bench.report("prefixes of hand-built packets");
}

#[test]
fn headers_outside_the_first_buffer_are_read_all_the_same() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let mut bench = Bench::load();
    for case in packets::cases() {
        for linear_len in ETHERNET_LEN..case.frame.len().min(150) {
            let frame = TestFrame {
                linear_len: u32::try_from(linear_len).ok(),
                ..whole(&case.frame)
            };
            bench.compare(case.name, frame);
        }
    }
    if bench.ran == 0 {
        eprintln!("this kernel cannot make frames in several buffers for a test run (6.18 can)");
        return;
    }
    bench.report("hand-built packets in two buffers");
}

#[test]
fn corpus_packets_agree() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let Some(corpus) = skip::corpus_or_skip() else {
        return;
    };
    let mut bench = Bench::load();
    let mut captures: Vec<_> = corpus
        .join("captures")
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    captures.sort();
    for capture in captures {
        let name = capture.file_name().unwrap().to_string_lossy().into_owned();
        for (number, frame) in captures::ethernet_frames(&capture).iter().enumerate() {
            if frame.len() >= ETHERNET_LEN {
                bench.compare(&format!("{name}, packet {}", number + 1), whole(frame));
            }
        }
    }
    bench.report("corpus");
}

#[test]
fn super_packets_count_as_their_segments() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let mut bench = Bench::load();
    // 54 octets of headers, 3,000 of payload: segments of 1,448, 1,448 and 104.
    let frame = tcp4_frame(3000);
    for (gso_segments, gso_size, packets) in [(3, 1448, 3), (0, 1448, 3), (0, 3000, 1), (1, 0, 1)] {
        for under_test in [PROGRAMS[2], PROGRAMS[3]] {
            let frame = TestFrame {
                gso_size,
                gso_segments,
                ..whole(&frame)
            };
            let ran = bench.run(under_test, frame).unwrap();
            let repeated = (packets - 1) * 40;
            let record = ran.record.unwrap();
            assert_eq!(word(&record[..8]), 3040 + repeated, "octets");
            let said = u64::from(u32::from_ne_bytes(record[8..12].try_into().unwrap()));
            assert_eq!(said, packets, "{gso_segments} segments of {gso_size}");
            assert_eq!(ran.counted.seen.packets, packets);
            assert_eq!(ran.counted.seen.bytes, 3054 + (packets - 1) * 54);
            assert_eq!(ran.counted.recorded.packets, packets);
            assert_eq!(ran.counted.recorded.bytes, 3040 + repeated);
        }
    }
}

/// The headers of a tunnel and those inside are repeated like the outermost ones.
#[test]
fn super_packets_in_tunnels_count_as_their_segments() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let mut bench = Bench::load();
    let inner = tcp4_frame(3000);
    let gre = [&[0, 0, 8, 0], &inner[ETHERNET_LEN..]].concat();
    let udp = [&[0x9c, 0x40, 0x12, 0xb5], &[0; 4][..]].concat();
    let vxlan = [&udp, &[8, 0, 0, 0, 0, 0, 7, 0][..], &inner].concat();
    for (protocol, payload) in [
        (IPV4_IN_IP, &inner[ETHERNET_LEN..]),
        (GRE, &gre),
        (UDP, &vxlan),
    ] {
        let frame = ip4_frame(protocol, payload);
        let headers = u64::try_from(frame.len() - 14 - 3000).unwrap();
        for under_test in [PROGRAMS[2], PROGRAMS[3]] {
            for gso_segments in [0, 3] {
                let frame = TestFrame {
                    gso_size: 1448,
                    gso_segments,
                    ..whole(&frame)
                };
                let ran = bench.run(under_test, frame).unwrap();
                assert_eq!(ran.counted.recorded.packets, 3, "protocol {protocol}");
                assert_eq!(ran.counted.recorded.bytes, 3000 + 3 * headers);
                assert_eq!(ran.counted.seen.bytes, 3000 + 3 * (headers + 14));
            }
        }
    }
}

#[test]
fn tagged_frames_are_filtered_where_that_is_configured() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let mut bench = Bench::load_with(true);
    let plain = tcp4_frame(6);
    for tpid in [[0x81, 0x00], [0x88, 0xa8], [0x91, 0x00]] {
        let tagged = [&plain[..12], &tpid, &[0, 7], &plain[12..]].concat();
        for under_test in PROGRAMS.into_iter().filter(|under_test| !under_test.is_l3) {
            let ran = bench.run(under_test, whole(&tagged)).unwrap();
            let mut counted = Counters::default();
            counted.seen.add(1, tagged.len() as u64);
            counted.losses[Loss::Filtered as usize].add(1, tagged.len() as u64);
            let expected = Ran {
                action: under_test.action,
                record: None,
                counted,
            };
            assert_eq!(ran, expected, "{tpid:x?} {}", under_test.program);
        }
    }
    bench.compare("without tag", whole(&plain));
}

#[test]
fn a_full_ring_is_counted_to_the_packet() {
    const PACKETS: u32 = 5_000;
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let mut bench = Bench::load();
    let frame = tcp4_frame(6);
    let object = bench.inner.source.object();
    object
        .test_run(programs::TC_INGRESS, whole(&frame), PACKETS)
        .unwrap();
    let [[counted, _], _] = bench.inner.source.counters(TEST_IFINDEX).unwrap();
    assert_eq!(counted.seen.packets, u64::from(PACKETS));
    assert!(
        counted.loss(Loss::RingFull).packets > 0,
        "64 KiB cannot hold 5,000"
    );
    assert_eq!(
        counted.loss(Loss::RingFull).bytes,
        counted.loss(Loss::RingFull).packets * 46
    );
    assert_eq!(counted.recorded.packets, u64::from(PACKETS));
    let mut records = 0;
    while bench
        .inner
        .stream
        .drain(&mut |batch| records += batch.len() as u64)
        .unwrap()
        != Drained::Idle
    {}
    assert_eq!(
        records,
        counted.recorded.packets - counted.loss(Loss::RingFull).packets
    );
}

#[test]
fn a_bank_switch_splits_counters_and_records_alike() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let mut bench = Bench::load();
    let frame = tcp4_frame(6);
    for (round, closed) in [0u8, 1, 0].into_iter().enumerate() {
        for _ in 0..=round {
            let object = bench.inner.source.object();
            object
                .test_run(programs::XDP_INGRESS, whole(&frame), 1)
                .unwrap();
        }
        assert_eq!(bench.inner.source.switch_bank().unwrap(), closed);
    }
    let mut records = [0; 2];
    let mut count = |batch: &[Record<'_>]| {
        for record in batch {
            records[usize::from(record.head().bank())] += 1;
        }
    };
    while bench.inner.stream.drain(&mut count).unwrap() != Drained::Idle {}
    assert_eq!(records, [4, 2]);
    let [[first, _], [second, _]] = bench.inner.source.counters(TEST_IFINDEX).unwrap();
    assert_eq!([first.seen.packets, second.seen.packets], [4, 2]);
}

#[test]
fn frames_on_an_unknown_interface_are_counted_as_such() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let mut source = EbpfSource::with_options(LoadOptions {
        rings: RingParts::one(1 << 16),
        interfaces: 1,
        cache: CacheParts::NONE,
    })
    .unwrap();
    let frame = tcp4_frame(6);
    for under_test in PROGRAMS {
        source
            .object()
            .test_run(under_test.program, whole(&frame), 1)
            .unwrap();
    }
    let unknown_interface = source.unknown_interface().unwrap();
    assert_eq!(unknown_interface.packets, PROGRAMS.len() as u64);
    assert_eq!(
        unknown_interface.bytes,
        (PROGRAMS.len() * frame.len()) as u64
    );
}

/// Ethernet, IPv4 and TCP headers of 54 octets, and so much payload.
fn tcp4_frame(payload: usize) -> Vec<u8> {
    let mut tcp = vec![
        0x9c, 0x40, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0, 0, 0, 0, 0, 0,
    ];
    tcp.resize(20 + payload, 0);
    ip4_frame(TCP, &tcp)
}

/// An IPv4 packet behind an Ethernet header.
fn ip4_frame(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(IPV4_MIN_LEN + payload.len())
        .unwrap()
        .to_be_bytes();
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00];
    frame.extend([0x45, 0, high, low, 0, 1, 0x40, 0, 64, protocol, 0, 0]);
    frame.extend([198, 18, 0, 1, 198, 18, 0, 2]);
    frame.extend(payload);
    frame
}
