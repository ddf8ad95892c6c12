//! The loaded programs with what they say: one run, one record, and what the counters grew by.

use std::{ops::RangeInclusive, time::Duration};

use probe_common::{
    control::{Counters, programs},
    headers::{ETHER_TYPE_OFFSET, ETHERNET_LEN, IPV4_MIN_LEN, IPV6_LEN, ether_type},
    parse::PacketBytes as _,
    record::{EGRESS, INGRESS, IntoRecord as _, Record, RecordHead},
};
use zerocopy::IntoBytes;

use super::SelftestError;
use probe_capture::source::{Drained, RecordSource, RecordStream};
use probe_datapath::{
    cache_parts::CacheParts,
    jiffies,
    load::LoadOptions,
    ring_parts::RingParts,
    source::EbpfSource,
    test_run::{TEST_IFINDEX, TestFrame},
};

/// What surely fits the one page of a test run's first buffer, beside headroom and tail.
const ONE_BUFFER_LEN: usize = 3000;
const XDP_PASS: u32 = 2;
/// `TC_ACT_UNSPEC` (-1) of linux/pkt_cls.h.
const TC_ACT_UNSPEC: u32 = u32::MAX;

/// A program, its answer and its direction.
#[derive(Clone, Copy, Debug)]
pub struct UnderTest {
    /// Name of the program.
    pub program: &'static str,
    /// What it must answer, so that the frame goes on.
    pub action: u32,
    /// Direction of the packet: [`INGRESS`] or [`EGRESS`].
    pub direction: u8,
    /// It is for devices without link header.
    pub is_l3: bool,
}

const fn under_test(program: &'static str, action: u32, direction: u8, is_l3: bool) -> UnderTest {
    UnderTest {
        program,
        action,
        direction,
        is_l3,
    }
}

/// All programs of the object.
pub const PROGRAMS: [UnderTest; 6] = [
    under_test(programs::XDP_INGRESS, XDP_PASS, INGRESS, false),
    under_test(programs::XDP_INGRESS_LINEAR, XDP_PASS, INGRESS, false),
    under_test(programs::TC_INGRESS, TC_ACT_UNSPEC, INGRESS, false),
    under_test(programs::TC_EGRESS, TC_ACT_UNSPEC, EGRESS, false),
    under_test(programs::TC_INGRESS_L3, TC_ACT_UNSPEC, INGRESS, true),
    under_test(programs::TC_EGRESS_L3, TC_ACT_UNSPEC, EGRESS, true),
];

/// What a program did with a frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ran {
    /// Action that the program returned.
    pub action: u32,
    /// The bytes of the record that it pushed.
    pub record: Option<Vec<u8>>,
    /// What the counters of its direction grew by.
    pub counted: Counters,
}

/// Runs programs and reads what they pushed and counted.
pub struct Bench {
    /// The source with the loaded programs.
    pub source: EbpfSource,
    /// Where their records come out.
    pub stream: Box<dyn RecordStream>,
    before: [Counters; 2],
    /// Time of the last run.
    pub last_run: Duration,
}

/// Loads an object as it runs in production, where the cache has two parts or, on many CPUs, one,
/// and where there are several rings or, on a single CPU, one. The bench does without cache, since
/// it compares packet by packet; the verifier has to see all of it all the same.
///
/// # Errors
///
/// [`SelftestError::Load`]: the kernel does not take the object with one of the caches.
pub fn load_with_cache(object: Option<&[u8]>) -> Result<[EbpfSource; 2], SelftestError> {
    Ok([
        load(object, CacheParts::new(1024, 1024), ONE_RING)?,
        load(object, CacheParts::new(1024, 0), SEVERAL_RINGS)?,
    ])
}

/// Loads an object with the sizes with which the agent would.
///
/// # Errors
///
/// [`SelftestError::Load`]: the kernel does not take the object.
pub fn load_as_run(
    object: Option<&[u8]>,
    options: LoadOptions,
) -> Result<EbpfSource, SelftestError> {
    Ok(match object {
        Some(object) => EbpfSource::with_object(object, options)?,
        None => EbpfSource::with_options(options)?,
    })
}

const ONE_RING: u32 = 1;
const SEVERAL_RINGS: u32 = 4;

fn load(object: Option<&[u8]>, cache: CacheParts, rings: u32) -> Result<EbpfSource, SelftestError> {
    let options = LoadOptions {
        rings: RingParts::new(rings, 1 << 16),
        interfaces: 4,
        cache,
    };
    load_as_run(object, options)
}

impl Bench {
    /// Loads an object, by default the embedded one.
    ///
    /// # Errors
    ///
    /// [`SelftestError::Load`]: the kernel does not take the object. [`SelftestError::Source`]: the
    /// interface of the test runs gets no slot. [`SelftestError::NoStream`]: the object has no
    /// ring.
    pub fn load(object: Option<&[u8]>, ignore_vlans: bool) -> Result<Self, SelftestError> {
        let mut source = load(object, CacheParts::NONE, SEVERAL_RINGS)?;
        let claimed = source.claim(TEST_IFINDEX, ignore_vlans)?;
        let stream = claimed.and_then(|()| source.take_streams().pop());
        Ok(Self {
            stream: stream.ok_or(SelftestError::NoStream)?,
            source,
            before: <[Counters; 2]>::default(),
            last_run: Duration::ZERO,
        })
    }

    /// Runs a program once. `None` if a test run cannot be made with such a frame.
    ///
    /// # Errors
    ///
    /// [`SelftestError::Run`]: the program cannot be loaded or run. [`SelftestError::Source`]:
    /// records or counters cannot be read. [`SelftestError::Records`] and
    /// [`SelftestError::WrongCounters`]: the program pushed or counted what it must not.
    pub fn run(
        &mut self,
        under_test: UnderTest,
        frame: TestFrame<'_>,
    ) -> Result<Option<Ran>, SelftestError> {
        // A test run does give it the first of several buffers, which no attachment does.
        let is_cut = frame.linear_len.is_some() || frame.bytes.len() > ONE_BUFFER_LEN;
        if under_test.program == programs::XDP_INGRESS_LINEAR && is_cut {
            return Ok(None);
        }
        let began = jiffies::now(self.source.object())?;
        let run = self.source.object().test_run(under_test.program, frame, 1);
        let outcome = match run {
            Ok(outcome) => outcome,
            Err(error) if error.is_unfit_frame() && is_known_unfit(under_test, frame) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let ended = jiffies::now(self.source.object())?;
        self.last_run = outcome.per_run;
        let mut records = Vec::new();
        let mut keep = |batch: &[Record<'_>]| {
            let times = began..=ended;
            records.extend(batch.iter().map(|it| without_times(*it, times.clone())));
        };
        while self.stream.drain(&mut keep)? != Drained::Idle {}
        let counted = self.newly_counted(under_test)?;
        if records.len() > 1 {
            return Err(SelftestError::Records {
                program: under_test.program,
                records: records.len(),
            });
        }
        Ok(Some(Ran {
            action: outcome.action,
            record: records.pop(),
            counted,
        }))
    }

    /// What the counters of the program's direction grew by; no others may.
    fn newly_counted(&mut self, under_test: UnderTest) -> Result<Counters, SelftestError> {
        let [bank, idle] = self.source.counters(TEST_IFINDEX)?;
        let grown = [0, 1].map(|direction| minus(&bank[direction], &self.before[direction]));
        self.before = bank;
        let here = usize::from(under_test.direction);
        if grown[1 - here] != Counters::default() || idle != <[Counters; 2]>::default() {
            return Err(SelftestError::WrongCounters {
                program: under_test.program,
            });
        }
        Ok(grown[here])
    }
}

/// The bytes of the record of one packet, with times of 0 if they are those of the run.
fn without_times(record: Record<'_>, ran: RangeInclusive<u32>) -> Vec<u8> {
    let RecordHead { first, .. } = record.head();
    let (since, took) = (
        first.wrapping_sub(*ran.start()),
        ran.end().wrapping_sub(*ran.start()),
    );
    let is_right = since <= took && record.head().last() == first;
    let timeless = |head: RecordHead| RecordHead {
        first: 0,
        last_or_fragment_id: head.fragment_id(),
        ..head
    };
    match record {
        Record::V4(record) if is_right => record
            .key
            .into_record(timeless(record.head()))
            .as_bytes()
            .to_vec(),
        Record::V6(record) if is_right => record
            .key
            .into_record(timeless(record.head()))
            .as_bytes()
            .to_vec(),
        _ => record.as_bytes().to_vec(),
    }
}

/// What `BPF_PROG_TEST_RUN` refuses: in TC frames in several buffers, frames longer than a page,
/// and IP packets cut in the fixed part of their header; before 6.18 also XDP frames with a first
/// buffer of our choice.
fn is_known_unfit(under_test: UnderTest, frame: TestFrame<'_>) -> bool {
    let is_in_buffers = frame.linear_len.is_some() || frame.bytes.len() > ONE_BUFFER_LEN;
    let is_tc = under_test.action == TC_ACT_UNSPEC;
    let ip_len = match frame.bytes.load(ETHER_TYPE_OFFSET).map(u16::from_be_bytes) {
        Ok(ether_type::IPV4) => IPV4_MIN_LEN,
        Ok(ether_type::IPV6) => IPV6_LEN,
        _ => 0,
    };
    is_in_buffers || (is_tc && frame.bytes.len() < ETHERNET_LEN + ip_len)
}

fn minus(now: &Counters, before: &Counters) -> Counters {
    let mut difference = *now;
    let numbers = difference.as_mut_bytes().chunks_exact_mut(8);
    for (now, before) in numbers.zip(before.as_bytes().chunks_exact(8)) {
        let grown = word(now).wrapping_sub(word(before));
        now.copy_from_slice(&grown.to_ne_bytes());
    }
    difference
}

fn word(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}
