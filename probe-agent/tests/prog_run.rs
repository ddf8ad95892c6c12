//! The loaded programs against the host's parser, packet by packet (`BPF_PROG_TEST_RUN`): each
//! must give the same record, byte for byte, or count the same loss.

#![expect(
    clippy::unwrap_used,
    reason = "a failing unwrap is how a test fails, also in a function of its own"
)]

use probe_agent::{
    datapath::{
        load::LoadOptions,
        test_run::{TEST_IFINDEX, TestFrame},
    },
    source::{Drained, RecordStream, Source, ebpf::EbpfSource},
};
use probe_common::{
    control::{Counters, programs},
    parse::{OutOfBounds, Packet, PacketBytes, ParseError, link},
    record::{
        EGRESS, INGRESS, IntoRecord, NOTE_LATER_FRAGMENT, NOTE_SHORT_TRANSPORT, Record, RecordHead,
    },
};
use zerocopy::IntoBytes;

#[path = "support/captures.rs"]
mod captures;
#[path = "../../probe-common/tests/support/packets.rs"]
mod packets;
#[path = "support/skip.rs"]
mod skip;

const ETHERNET_LEN: usize = 14;
/// What surely fits the one page of a test run's first buffer, beside headroom and tail.
const ONE_BUFFER_LEN: usize = 3000;
const XDP_PASS: u32 = 2;
const TC_ACT_UNSPEC: u32 = u32::MAX;

/// A program, its answer and its direction.
#[derive(Clone, Copy)]
struct UnderTest {
    program: &'static str,
    action: u32,
    direction: u8,
    is_l3: bool,
}

const fn under_test(program: &'static str, action: u32, direction: u8, is_l3: bool) -> UnderTest {
    UnderTest {
        program,
        action,
        direction,
        is_l3,
    }
}

const PROGRAMS: [UnderTest; 6] = [
    under_test(programs::XDP_INGRESS, XDP_PASS, INGRESS, false),
    under_test(programs::XDP_INGRESS_LINEAR, XDP_PASS, INGRESS, false),
    under_test(programs::TC_INGRESS, TC_ACT_UNSPEC, INGRESS, false),
    under_test(programs::TC_EGRESS, TC_ACT_UNSPEC, EGRESS, false),
    under_test(programs::TC_INGRESS_L3, TC_ACT_UNSPEC, INGRESS, true),
    under_test(programs::TC_EGRESS_L3, TC_ACT_UNSPEC, EGRESS, true),
];

/// The frame as the programs for devices without link header see it in a test run: the kernel has
/// found the network header behind the Ethernet header, and counts that header in the length.
struct FromNetworkHeader<'a>(&'a [u8]);

impl PacketBytes for FromNetworkHeader<'_> {
    fn load<const N: usize>(&self, offset: usize) -> Result<[u8; N], OutOfBounds> {
        self.0.load(ETHERNET_LEN + offset)
    }

    fn wire_len(&self) -> usize {
        self.0.len()
    }
}

/// What `BPF_PROG_TEST_RUN` refuses: in TC frames in several buffers, frames longer than a page,
/// and IP packets cut in the fixed part of their header; before 6.18 also XDP frames with a first
/// buffer of our choice.
fn is_known_unfit(under_test: UnderTest, frame: TestFrame<'_>) -> bool {
    let is_in_buffers = frame.linear_len.is_some() || frame.bytes.len() > ONE_BUFFER_LEN;
    let is_tc = under_test.action == TC_ACT_UNSPEC;
    let ip_len = match frame.bytes[12..ETHERNET_LEN] {
        [0x08, 0x00] => 20,
        [0x86, 0xdd] => 40,
        _ => 0,
    };
    is_in_buffers || (is_tc && frame.bytes.len() < ETHERNET_LEN + ip_len)
}

/// The loaded programs with what they say.
struct Bench {
    source: EbpfSource,
    stream: Box<dyn RecordStream>,
    before: [Counters; 2],
    ran: usize,
    unfit: usize,
}

impl Bench {
    fn load() -> Self {
        Self::load_with(false)
    }

    fn load_with(ignore_vlans: bool) -> Self {
        let mut source = EbpfSource::with_options(LoadOptions {
            ring_buffer_bytes: 1 << 16,
            interfaces: 4,
        })
        .unwrap();
        source.claim(TEST_IFINDEX, ignore_vlans).unwrap().unwrap();
        let stream = source.take_streams().pop().unwrap();
        Self {
            source,
            stream,
            before: <[Counters; 2]>::default(),
            ran: 0,
            unfit: 0,
        }
    }

    /// Runs a program once and returns what it counted and the bytes of what it pushed. `None` if
    /// the kernel does not take such a frame.
    fn run(&mut self, under_test: UnderTest, frame: TestFrame<'_>) -> Option<Ran> {
        // A test run does give it the first of several buffers, which no attachment does.
        let is_cut = frame.linear_len.is_some() || frame.bytes.len() > ONE_BUFFER_LEN;
        if under_test.program == programs::XDP_INGRESS_LINEAR && is_cut {
            self.unfit += 1;
            return None;
        }
        let outcome = match self.source.object().test_run(under_test.program, frame, 1) {
            Ok(outcome) => outcome,
            Err(error) if error.is_unfit_frame() => {
                assert!(is_known_unfit(under_test, frame), "{error}");
                self.unfit += 1;
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(outcome.action, under_test.action, "the frame must go on");
        self.ran += 1;
        let mut records = Vec::new();
        let mut keep = |record: Record<'_>| records.push(record.as_bytes().to_vec());
        while self.stream.drain(&mut keep).unwrap() != Drained::Idle {}
        assert!(records.len() <= 1, "one packet, {} records", records.len());
        let [bank, other] = self.source.counters(TEST_IFINDEX).unwrap();
        assert_eq!(other, <[Counters; 2]>::default(), "the idle bank moved");
        let counted = [0, 1].map(|direction| minus(&bank[direction], &self.before[direction]));
        self.before = bank;
        let (here, there) = (
            usize::from(under_test.direction),
            1 - usize::from(under_test.direction),
        );
        assert_eq!(counted[there], Counters::default(), "the other direction");
        Some(Ran {
            record: records.pop(),
            counted: counted[here],
        })
    }

    /// Runs all programs over a frame, and compares each with the host's parser.
    fn compare(&mut self, name: &str, frame: TestFrame<'_>) {
        for under_test in PROGRAMS {
            let Some(ran) = self.run(under_test, frame) else {
                continue;
            };
            let on_host = parse_on_host(under_test, frame.bytes);
            let mut expected = expected_of(&on_host, under_test.direction, frame.bytes.len());
            if under_test.program == programs::XDP_INGRESS
                && let Some(linear_len) = frame.linear_len.map(u64::from)
                && expected.record.is_some()
                && expected.counted.recorded.bytes + ETHERNET_LEN as u64 <= linear_len
            {
                // Padding in another buffer than the packet is not looked for.
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

#[derive(Debug, PartialEq)]
struct Ran {
    record: Option<Vec<u8>>,
    counted: Counters,
}

fn parse_on_host(under_test: UnderTest, frame: &[u8]) -> Result<Packet, ParseError> {
    if !under_test.is_l3 {
        return link::parse_ethernet(frame);
    }
    let ether_type = u16::from_be_bytes(frame.load(12).unwrap());
    link::parse_ether_type(&FromNetworkHeader(frame), 0, ether_type)
}

/// What a program must push and count for a packet that the host parses like this.
fn expected_of(parsed: &Result<Packet, ParseError>, direction: u8, frame_len: usize) -> Ran {
    let mut counted = Counters::default();
    counted.seen.add(1, frame_len as u64);
    let (record, head) = match parsed {
        Ok(Packet::V4(seen)) => {
            let head = head_of(direction, seen.octets, seen.tcp_flags, seen.aux, seen.notes);
            (seen.key.into_record(head).as_bytes().to_vec(), head)
        }
        Ok(Packet::V6(seen)) => {
            let head = head_of(direction, seen.octets, seen.tcp_flags, seen.aux, seen.notes);
            (seen.key.into_record(head).as_bytes().to_vec(), head)
        }
        Err(error) => {
            counted.unparsed[error.index()].add(1, frame_len as u64);
            return Ran {
                record: None,
                counted,
            };
        }
    };
    counted.recorded.add(1, head.octets);
    counted.later_fragments = u64::from(head.notes & NOTE_LATER_FRAGMENT != 0);
    counted.short_transports = u64::from(head.notes & NOTE_SHORT_TRANSPORT != 0);
    Ran {
        record: Some(record),
        counted,
    }
}

fn head_of(direction: u8, octets: u32, tcp_flags: u8, aux: u8, notes: u8) -> RecordHead {
    RecordHead {
        octets: u64::from(octets),
        packets: 1,
        ifindex: TEST_IFINDEX,
        direction,
        tcp_flags,
        aux,
        notes,
        ..RecordHead::default()
    }
}

fn minus(now: &Counters, before: &Counters) -> Counters {
    let mut difference = *now;
    let pairs = difference.as_mut_bytes().chunks_exact_mut(8);
    for (now, before) in pairs.zip(before.as_bytes().chunks_exact(8)) {
        let grown = word(now) - word(before);
        now.copy_from_slice(&grown.to_ne_bytes());
    }
    difference
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
            let expected = expected_of(&case.expected, under_test.direction, len);
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
    let gre = [&[0, 0, 8, 0], &inner[14..]].concat();
    let udp = [&[0x9c, 0x40, 0x12, 0xb5], &[0; 4][..]].concat();
    let vxlan = [&udp, &[8, 0, 0, 0, 0, 0, 7, 0][..], &inner].concat();
    for (protocol, payload) in [(4, &inner[14..]), (47, &gre), (17, &vxlan)] {
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
            counted.filtered.add(1, tagged.len() as u64);
            let expected = Ran {
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
    let object = bench.source.object();
    object
        .test_run(programs::TC_INGRESS, whole(&frame), PACKETS)
        .unwrap();
    let [[counted, _], _] = bench.source.counters(TEST_IFINDEX).unwrap();
    assert_eq!(counted.seen.packets, u64::from(PACKETS));
    assert!(counted.ring_full.packets > 0, "64 KiB cannot hold 5,000");
    assert_eq!(counted.ring_full.bytes, counted.ring_full.packets * 46);
    assert_eq!(
        counted.recorded.packets + counted.ring_full.packets,
        u64::from(PACKETS)
    );
    let mut records = 0;
    while bench.stream.drain(&mut |_| records += 1).unwrap() != Drained::Idle {}
    assert_eq!(records, counted.recorded.packets);
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
            let object = bench.source.object();
            object
                .test_run(programs::XDP_INGRESS, whole(&frame), 1)
                .unwrap();
        }
        assert_eq!(bench.source.switch_bank().unwrap(), closed);
    }
    let mut records = [0; 2];
    let mut count = |record: Record<'_>| records[usize::from(record.head().bank)] += 1;
    while bench.stream.drain(&mut count).unwrap() != Drained::Idle {}
    assert_eq!(records, [4, 2]);
    let [[first, _], [second, _]] = bench.source.counters(TEST_IFINDEX).unwrap();
    assert_eq!([first.seen.packets, second.seen.packets], [4, 2]);
}

#[test]
fn frames_on_an_unknown_interface_are_counted_as_unclaimed() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let mut source = EbpfSource::with_options(LoadOptions {
        ring_buffer_bytes: 1 << 16,
        interfaces: 1,
    })
    .unwrap();
    let frame = tcp4_frame(6);
    for under_test in PROGRAMS {
        source
            .object()
            .test_run(under_test.program, whole(&frame), 1)
            .unwrap();
    }
    let unclaimed = source.unclaimed().unwrap();
    assert_eq!(unclaimed.packets, PROGRAMS.len() as u64);
    assert_eq!(unclaimed.bytes, (PROGRAMS.len() * frame.len()) as u64);
}

/// Ethernet, IPv4 and TCP headers of 54 octets, and so much payload.
fn tcp4_frame(payload: usize) -> Vec<u8> {
    let mut tcp = vec![
        0x9c, 0x40, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0, 0, 0, 0, 0, 0,
    ];
    tcp.resize(20 + payload, 0);
    ip4_frame(6, &tcp)
}

/// An IPv4 packet behind an Ethernet header.
fn ip4_frame(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00];
    frame.extend([0x45, 0, high, low, 0, 1, 0x40, 0, 64, protocol, 0, 0]);
    frame.extend([198, 18, 0, 1, 198, 18, 0, 2]);
    frame.extend(payload);
    frame
}
