//! The programs' flow cache, against a model on the host and against no cache at all
//! (`BPF_PROG_TEST_RUN`): what it holds back and what it lets go, to the packet.

#![expect(
    clippy::unwrap_used,
    reason = "a failing unwrap is how a test fails, also in a function of its own"
)]

use std::cell::RefCell;

use probe_agent::selftest::{
    bench::{PROGRAMS, UnderTest},
    expected::{expected_of, parse_on_host},
};
use probe_capture::source::{BankCounters, Drained, RecordSource as _, RecordStream};
use probe_common::{
    coalesce::{InsertBatch as _, InsertBatchV4, InsertBatchV6},
    control::{CounterBlock, FIRST_COUNTER_BLOCK, area, counter_block_index, maps},
    headers::{ETHERNET_LEN, IPV4_MIN_LEN},
    loss::Loss,
    parse::plain,
    record::{IntoRecord as _, Record, RecordHead},
};
use probe_datapath::{
    cache_parts::CacheParts,
    load::LoadOptions,
    ring_parts::RingParts,
    shared_array::{Entries, SharedArray},
    source::EbpfSource,
    test_run::{TEST_IFINDEX, TestFrame},
};
use probe_flow::{
    flow::FlowRow,
    flow_log::{FlowLog, FlowLogOptions},
};
use probe_testkit::skip;
use proptest::{prelude::*, sample::Index, test_runner::TestRunner};
use rustix::thread::{CpuSet, sched_setaffinity};

#[path = "cache/frames.rs"]
mod frames;
#[path = "cache/model.rs"]
mod model;

use frames::{frames, tcp4};
use model::{Lookup, Model, Owned, SLOTS, Slots};

/// A frame at a hook.
type Step = (UnderTest, Vec<u8>);

/// The loaded programs on one CPU, so that one area of the cache is in use.
struct Programs {
    source: EbpfSource,
    stream: Box<dyn RecordStream>,
    blocks: Entries<CounterBlock>,
    batches_v4: Entries<InsertBatchV4>,
    batches_v6: Entries<InsertBatchV6>,
}

const INTERFACES: u32 = 4;

impl Programs {
    fn load(cache: CacheParts, ring_buffer_bytes: u32) -> Self {
        let mut one = CpuSet::new();
        one.set(0);
        sched_setaffinity(None, &one).unwrap();
        let mut source = EbpfSource::with_options(LoadOptions {
            rings: RingParts::one(ring_buffer_bytes),
            interfaces: INTERFACES,
            cache,
        })
        .unwrap();
        source.claim(TEST_IFINDEX, false).unwrap().unwrap();
        let stream = source.take_streams().pop().unwrap();
        let object = source.object();
        let blocks = SharedArray::new(object, maps::COUNTERS).unwrap();
        let batches_v4 = SharedArray::new(object, maps::INSERT_BATCH_V4).unwrap();
        let batches_v6 = SharedArray::new(object, maps::INSERT_BATCH_V6).unwrap();
        Self {
            blocks: blocks.map(0..blocks.len()).unwrap(),
            batches_v4: batches_v4.map(0..batches_v4.len()).unwrap(),
            batches_v6: batches_v6.map(0..batches_v6.len()).unwrap(),
            source,
            stream,
        }
    }

    /// What the programs will look up in L1 for a frame. When they do is the subject of other tests; here it
    /// is what becomes of the packet.
    fn lookup(&self, (under_test, frame): &Step, bank: u8) -> Lookup {
        let area = area(0, bank.into());
        // The interface has the first slot.
        let index =
            (FIRST_COUNTER_BLOCK + counter_block_index(area, under_test.direction)) as usize;
        let mut batch_v4 = self.batches_v4.load(area as usize).unwrap();
        let mut batch_v6 = self.batches_v6.load(area as usize).unwrap();
        let frame = frame.as_slice();
        let bypasses = plain::parse_ipv4(frame).is_some() && batch_v4.bypass().is_active()
            || plain::parse_ipv6(frame).is_some() && batch_v6.bypass().is_active();
        let mut block = self.blocks.load(index).unwrap();
        // Programs count a packet first.
        block.counters.see(1, 0);
        match (bypasses, block.is_thrashing()) {
            (false, _) => Lookup::Set,
            (true, false) => Lookup::PreferredSlot,
            (true, true) => Lookup::None,
        }
    }

    fn run(&mut self, (under_test, frame): &Step) {
        let frame = TestFrame {
            bytes: frame,
            linear_len: None,
            gso_size: 0,
            gso_segments: 0,
        };
        let object = self.source.object();
        object.test_run(under_test.program, frame, 1).unwrap();
    }

    /// What has left through the ring.
    fn ring(&mut self) -> Vec<Owned> {
        let mut records = Vec::new();
        let mut keep = |batch: &[Record<'_>]| {
            records.extend(batch.iter().map(|record| Owned::from_record(*record)));
        };
        while self.stream.drain(&mut keep).unwrap() != Drained::Idle {}
        records
    }

    /// What is open in a bank, which no program uses now.
    fn open(&mut self, bank: u8) -> Vec<Owned> {
        let mut records = Vec::new();
        let mut keep = |batch: &[Record<'_>]| {
            records.extend(batch.iter().map(|record| Owned::from_record(*record)));
        };
        self.stream.drain_closed(bank, &mut keep).unwrap();
        records
    }

    fn counters(&self) -> BankCounters {
        self.source.counters(TEST_IFINDEX).unwrap()
    }
}

fn parts([l1, l2]: Slots) -> CacheParts {
    CacheParts::new(l1, l2)
}

fn as_bytes(owned: &Owned) -> Vec<u8> {
    owned.record().as_bytes().to_vec()
}

fn sorted(mut records: Vec<Owned>) -> Vec<Owned> {
    records.sort_by_key(as_bytes);
    records
}

/// The record that the host makes of a packet, if it makes one.
fn on_host((under_test, frame): &Step, bank: u8) -> Option<Owned> {
    let parsed = parse_on_host(*under_test, frame);
    let bytes = expected_of(*under_test, &parsed, frame.len()).record?;
    let mut aligned = vec![0_u64; bytes.len() / 8];
    zerocopy::IntoBytes::as_mut_bytes(aligned.as_mut_slice()).copy_from_slice(&bytes);
    let record = Record::from_bytes(zerocopy::IntoBytes::as_bytes(aligned.as_slice()))?;
    let head = record.head();
    let placed = RecordHead {
        flags: head.flags | probe_common::record::origin_flags(0, bank),
        ..head
    };
    Some(match record {
        Record::V4(record) => Owned::V4(record.key.into_record(placed)),
        Record::V6(record) => Owned::V6(record.key.into_record(placed)),
    })
}

/// Frames of so many flows that a small L1 is thrashing.
fn many_flows() -> Vec<Vec<u8>> {
    // Of the client's address and port, behind an Ethernet header and an IPv4 header.
    const PORT: usize = ETHERNET_LEN + IPV4_MIN_LEN;
    let flows = (0..2000_u16).map(|flow| {
        let [port, host] = flow.to_be_bytes();
        let mut frame = tcp4(host, 0x10, false);
        frame[PORT + 1] = port;
        frame
    });
    flows.collect()
}

/// Random walks over the frames and over the hooks for Ethernet frames, some of them of many flows.
fn steps(riddles: bool) -> impl Strategy<Value = Vec<Step>> {
    let few = frames(riddles);
    let many = [few.clone(), many_flows()].concat();
    let step = (any::<Index>(), 0..4_usize);
    let steps = prop::collection::vec(step, 1..1200);
    (steps, any::<bool>()).prop_map(move |(steps, is_many)| {
        let frames = if is_many { &many } else { &few };
        steps
            .into_iter()
            .map(|(frame, program)| (PROGRAMS[program], frame.get(frames).clone()))
            .collect()
    })
}

fn runner() -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases: 32,
        failure_persistence: None,
        ..ProptestConfig::default()
    })
}

/// After each packet the ring has what the model lets go, and at the end the cache holds what the
/// model does; in both banks, which are used in turn.
#[test]
fn the_cache_does_what_its_model_does() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    for slots in SLOTS {
        let state = RefCell::new((Programs::load(parts(slots), 1 << 20), 0_u8, [0; 4]));
        let checked = runner().run(&steps(true), |steps| {
            let (programs, active, [displaced, kept, full_batches, past_l1]) =
                &mut *state.borrow_mut();
            let mut model = Model::new(slots);
            for step in &steps {
                let lookup = programs.lookup(step, *active);
                *past_l1 += usize::from(lookup == Lookup::None);
                programs.run(step);
                let record = on_host(step, *active);
                let leaves = record.map(|record| model.insert(record, lookup));
                let leaves = leaves.unwrap_or_default();
                let left = programs.ring();
                *displaced += left.len();
                prop_assert_eq!(left, leaves);
            }
            let closed = programs.source.switch_bank().unwrap();
            prop_assert_eq!(closed, *active);
            prop_assert_eq!(programs.open(1 - *active), []);
            let open = programs.open(*active);
            *kept += open.len();
            *full_batches += model.full_batches();
            prop_assert_eq!(sorted(open), sorted(model.open()));
            prop_assert_eq!(programs.open(*active), [], "taken out");
            *active = 1 - *active;
            Ok(())
        });
        checked.unwrap_or_else(|error| panic!("{slots:?} slots: {error}"));
        let (_, _, [displaced, kept, full_batches, past_l1]) = state.into_inner();
        assert!(displaced > 0 && kept > 0, "{slots:?}: {displaced} {kept}");
        if slots == SLOTS[1] {
            assert!(full_batches > 16, "some in each case: {full_batches}");
            assert!(past_l1 > 100, "some bypass L1: {past_l1}");
        }
    }
}

/// The flows of some packets, and the sums over them.
fn flows(programs: &mut Programs, steps: &[Step]) -> (Vec<FlowRow>, u64, u64) {
    let mut log = FlowLog::new(FlowLogOptions::default());
    for step in steps {
        programs.run(step);
    }
    let closed = programs.source.switch_bank().unwrap();
    let mut count = |batch: &[Record<'_>]| log.handle_records(batch);
    while programs.stream.drain(&mut count).unwrap() != Drained::Idle {}
    programs.stream.drain_closed(closed, &mut count).unwrap();
    let (flows, totals) = log.rotate();
    (flows.sorted_rows(), totals.packets(), totals.bytes())
}

/// What readers see of a flow, but for the times.
fn told(rows: &[FlowRow]) -> Vec<String> {
    let tell = |row: &FlowRow| {
        let FlowRow {
            src_addr,
            src_port,
            dst_addr,
            dst_port,
            ip_protocol,
            flow,
        } = row;
        let (counters, flags) = (flow.counters, flow.tcp_flags);
        let evidence = flow.evidence;
        format!(
            "{ip_protocol} {src_addr} {src_port} {dst_addr} {dst_port} {counters:?} {flags:#x} \
             {evidence:?}"
        )
    };
    rows.iter().map(tell).collect()
}

#[test]
fn flows_are_the_same_as_without_a_cache() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let load = |slots| (slots, Programs::load(parts(slots), 1 << 20));
    let state = RefCell::new((load([0, 0]).1, SLOTS.map(load)));
    let checked = runner().run(&steps(false), |steps| {
        let (without, with) = &mut *state.borrow_mut();
        let (expected, packets, bytes) = flows(without, &steps);
        for (slots, programs) in with {
            let (rows, its_packets, its_bytes) = flows(programs, &steps);
            prop_assert_eq!(
                (its_packets, its_bytes),
                (packets, bytes),
                "{:?} slots",
                slots
            );
            prop_assert_eq!(told(&rows), told(&expected), "{:?} slots", slots);
        }
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}

/// A record that finds no room in the ring is lost where its packets had been counted, which need
/// not be where the packet was that displaced it.
#[test]
fn what_the_ring_cannot_take_is_lost_where_it_was_counted() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    for slots in [[64, 0], [64, 128]] {
        lose_records(&mut Programs::load(parts(slots), 1 << 16));
    }
}

fn lose_records(programs: &mut Programs) {
    let [_, _, ingress, egress, ..] = PROGRAMS;
    let frames: Vec<_> = (0..=255).map(|host| tcp4(host, 0x10, false)).collect();
    for closed in [0, 1] {
        // Pairs of packets, which are added up, of many flows: more than the ring takes.
        for round in 0..3000 {
            let frame = frames[round % frames.len()].clone();
            let hook = if round % 3 == 0 { ingress } else { egress };
            let step = (hook, frame);
            programs.run(&step);
            programs.run(&step);
        }
        assert_eq!(programs.source.switch_bank().unwrap(), closed);
        let mut handed = [[0; 2]; 2];
        let records = programs.ring();
        for owned in records.into_iter().chain(programs.open(closed)) {
            let head = owned.record().head();
            assert_eq!(head.bank(), closed);
            let sum = &mut handed[usize::from(head.direction())];
            sum[0] += u64::from(head.packets);
            sum[1] += head.octets;
        }
        let counted = programs.counters()[usize::from(closed)];
        for (direction, [packets, octets]) in handed.into_iter().enumerate() {
            let counters = counted[direction];
            assert_eq!(counters.seen.packets, [2000, 4000][direction]);
            assert_eq!(counters.recorded.packets, counters.seen.packets);
            let lost = counters.loss(Loss::RingFull);
            assert!(lost.packets > 0, "{direction}: nothing was lost");
            assert_eq!(counters.recorded.packets - lost.packets, packets);
            assert_eq!(counters.recorded.bytes - lost.bytes, octets);
        }
    }
}
