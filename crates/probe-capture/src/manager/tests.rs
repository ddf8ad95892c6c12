mod clock;
mod kernel;
mod schedule;
mod troubles;
mod updates;

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use probe_common::control::{Counters, Tally};
use proptest::prelude::*;

use self::kernel::Kernel;
use super::{Changes, Manager, ManagerOptions};
use crate::{
    interface::{Hook, Interface, InterfaceConfig},
    status::StatusReader,
};
use probe_flow::{
    flow_log::{FlowBudget, FlowLogOptions},
    interval::Interval,
    ledger::{Identity, Ledger, Loss},
    local_buffer::LocalBuffersConfig,
};

/// A manager over a kernel in a box, and the intervals it wrote.
struct Bench {
    kernel: Kernel,
    manager: Manager,
    written: Arc<Mutex<Vec<Interval>>>,
}

impl Bench {
    fn new(size_limit_bytes: usize) -> Self {
        Self::with_budget(size_limit_bytes, Arc::default())
    }

    fn with_budget(size_limit_bytes: usize, flow_budget: Arc<FlowBudget>) -> Self {
        let kernel = Kernel::default();
        let written = Arc::new(Mutex::new(Vec::new()));
        let output = written.clone();
        let options = ManagerOptions {
            flow_log: FlowLogOptions {
                max_flows: 5000,
                ..FlowLogOptions::default()
            },
            flow_budget,
            local_buffers: LocalBuffersConfig {
                num: 1,
                size_limit_bytes,
            },
            writeout: Box::new(move |interval| output.lock().push(interval)),
            ..ManagerOptions::default()
        };
        let manager = Manager::new(Box::new(kernel.clone()), options).unwrap();
        Self {
            kernel,
            manager,
            written,
        }
    }

    fn want(&self, wanted: &[(u32, Hook)]) -> Changes {
        let wanted = wanted.iter().map(|&(ifindex, hook)| {
            let interface = Interface {
                name: format!("eth{ifindex}").into(),
                ifindex,
            };
            (
                interface,
                InterfaceConfig {
                    hook,
                    ..InterfaceConfig::default()
                },
            )
        });
        self.manager.update(wanted).unwrap()
    }

    /// Sums of all written intervals of an interface: packets in flows, and packets lost for want
    /// of room. Checks that every single one balances.
    fn written(&self, iface: &str) -> (u64, u64) {
        let written = self.written.lock();
        let mut sums = (0, 0);
        for interval in written.iter().filter(|interval| &*interval.iface == iface) {
            assert_eq!(interval.ledger.residue(), 0, "{}", interval.ledger);
            assert_eq!(interval.ledger.flows.packets, interval.totals.packets());
            let rows: u64 = interval
                .flows
                .rows()
                .map(|row| row.flow.counters.packets())
                .sum();
            assert_eq!(rows, interval.totals.packets());
            sums.0 += interval.totals.packets();
            for loss in [Loss::LocalBufferFull, Loss::RingFull] {
                sums.1 += interval.ledger.loss(loss).packets;
            }
        }
        sums
    }
}

impl Bench {
    /// The running intervals, by interface.
    fn running(&self) -> Vec<(Arc<str>, Interval)> {
        let mut all = Vec::new();
        self.manager.flush_and_visit_intervals(&[], |interval| {
            all.push((Arc::clone(&interval.iface), interval));
            ControlFlow::Continue(())
        });
        all
    }

    /// Reads the running intervals: what ended before each of them is with the writeout.
    fn check_that_nothing_is_in_neither(&self) {
        for (iface, running) in self.running() {
            accounted(&running);
            let written = self.written.lock();
            let of_iface = written.iter().filter(|interval| interval.iface == iface);
            let before = of_iface.filter(|interval| interval.end <= running.start);
            let last = before.map(|interval| interval.end).max();
            assert!(
                last.is_none_or(|end| end == running.start),
                "an interval between {last:?} and {} is missing",
                running.start
            );
        }
    }
}

/// Packets of an interval, in flows and lost for want of room. Checks that it balances.
fn accounted(interval: &Interval) -> u64 {
    assert_eq!(interval.ledger.residue(), 0, "{}", interval.ledger);
    let rows = interval.flows.rows();
    let rows: u64 = rows.map(|row| row.flow.counters.packets()).sum();
    assert_eq!(rows, interval.totals.packets());
    assert_eq!(rows, interval.ledger.flows.packets);
    let lost = [Loss::LocalBufferFull, Loss::RingFull];
    rows + lost
        .map(|loss| interval.ledger.loss(loss).packets)
        .into_iter()
        .sum::<u64>()
}

fn names(changes: &[super::Change]) -> Vec<(&str, bool)> {
    changes
        .iter()
        .map(|change| (&*change.iface, change.result.is_ok()))
        .collect()
}

const AUTO: Hook = Hook::Auto;

#[test]
fn update_says_what_it_enabled_updated_and_disabled() {
    let bench = Bench::new(1 << 20);
    let changes = bench.want(&[(1, AUTO), (2, AUTO), (3, AUTO)]);
    assert_eq!(
        names(&changes.enabled),
        [("eth1", true), ("eth2", true), ("eth3", true)]
    );
    let changes = bench.want(&[(1, AUTO), (2, Hook::Tc), (4, AUTO)]);
    assert_eq!(names(&changes.enabled), [("eth4", true)]);
    assert_eq!(names(&changes.updated), [("eth2", true)]);
    assert_eq!(names(&changes.disabled), [("eth3", true)]);
    let changes = bench.want(&[(1, AUTO), (2, Hook::Tc), (4, AUTO)]);
    assert!(changes.enabled.is_empty() && changes.updated.is_empty());
    assert!(changes.disabled.is_empty());
    assert_eq!(
        bench.written.lock().len(),
        2,
        "one final writeout each for eth2 and eth3"
    );
}

#[test]
fn programs_are_loaded_before_an_interval_starts_or_a_capture_ends() {
    const LOADING: Duration = Duration::from_millis(500);
    let bench = Bench::new(1 << 20);
    *bench.kernel.0.loading.lock() = LOADING;
    let begun = Timestamp::now();
    bench.want(&[(1, AUTO)]);
    bench.manager.rotate().unwrap();
    let start = bench.written.lock()[0].start;
    let loading: Duration = start.duration_since(begun).unsigned_abs();
    assert!(loading >= LOADING, "the interval has {loading:?} of it");

    let changes = bench.want(&[(1, Hook::Tc)]);
    let gap = changes.updated[0].gap.unwrap();
    assert!(gap < LOADING, "nothing was captured for {gap:?}");
    // What of a link passes then is seen nowhere: the status tells how long that was.
    let status = bench.manager.flush_and_read();
    assert_eq!(status.interfaces["eth1"].watch.detached, gap);
}

#[test]
fn a_failed_update_leaves_the_interface_as_it_was() {
    let bench = Bench::new(1 << 20);
    bench.kernel.0.picky.lock().insert(1);
    bench.want(&[(1, AUTO), (2, AUTO)]);
    let changes = bench.want(&[(1, Hook::XdpNative), (2, Hook::XdpNative), (3, AUTO)]);
    assert_eq!(names(&changes.updated), [("eth1", false), ("eth2", true)]);
    assert_eq!(names(&changes.enabled), [("eth3", true)]);
    assert_eq!(changes.failures().count(), 1);
    assert_eq!(
        bench.manager.config(&["eth1"])["eth1"].hook,
        AUTO,
        "restored"
    );
    bench.kernel.packet(1, 1);
    bench.manager.rotate().unwrap();
    assert_eq!(bench.written("eth1"), (1, 0));
}

#[test]
fn an_interface_that_starts_again_counts_on() {
    let bench = Bench::new(1 << 20);
    bench.want(&[(1, AUTO)]);
    let started_at = bench.manager.flush_and_read().interfaces["eth1"].started_at;
    for hook in [Hook::Tc, Hook::Xdp, AUTO] {
        for flow in 0..100 {
            bench.kernel.packet(1, flow);
        }
        bench.want(&[(1, hook)]);
    }
    bench.want(&[]);
    bench.want(&[(1, AUTO)]);
    let status = &bench.manager.flush_and_read().interfaces["eth1"];
    assert_eq!(status.ledger.seen.packets, 300);
    assert_eq!(status.totals.packets_rcvd, 255);
    assert_eq!(status.ledger.residue(), 0);
    assert_eq!(status.started_at, started_at);
}

#[test]
fn a_switch_that_fails_loses_nothing() {
    let bench = Bench::new(1 << 20);
    bench.want(&[(1, AUTO)]);
    bench.kernel.packet(1, 1);
    for _ in 0..2 {
        *bench.kernel.0.fails_to_switch.lock() = Some(1);
        assert!(bench.manager.rotate().is_err());
        bench.kernel.packet(1, 1);
    }
    assert_eq!(bench.written("eth1").0, 0, "the interval goes on");
    bench.manager.rotate().unwrap();
    assert_eq!(bench.written("eth1").0, 3);
    bench.manager.rotate().unwrap();
    assert_eq!(
        bench.written("eth1"),
        (5, 0),
        "with those of the other bank"
    );
}

#[test]
fn closing_one_interface_writes_its_flows_and_leaves_the_others_alone() {
    let bench = Bench::new(1 << 20);
    bench.want(&[(1, AUTO), (2, AUTO)]);
    for flow in 0..100 {
        bench.kernel.packet(1, flow);
        bench.kernel.packet(2, flow);
    }
    bench.manager.close(&["eth1"]).unwrap();
    assert_eq!(bench.written("eth1").0, 85);
    assert_eq!(bench.written("eth2").0, 0, "its interval goes on");
    bench.kernel.packet(2, 1);
    bench.manager.close(&[]).unwrap();
    assert_eq!(bench.written("eth2").0, 86);
    assert!(bench.manager.flush_and_read().interfaces.is_empty());
}

#[test]
fn interfaces_share_a_budget_of_flows_and_give_it_back() {
    let budget = Arc::new(FlowBudget::new(60));
    let bench = Bench::with_budget(1 << 20, budget.clone());
    bench.want(&[(1, AUTO), (2, AUTO)]);
    for flow in 0..100 {
        bench.kernel.packet(1, flow);
        bench.kernel.packet(2, flow);
    }
    let interfaces = bench.manager.flush_and_read().interfaces;
    let flows: u64 = interfaces.values().map(|it| it.flows).sum();
    assert_eq!((flows, budget.taken()), (60, 60));
    let overflow = |it: &Ledger| it.overflow_packets;
    let folded: u64 = interfaces.values().map(|it| overflow(&it.ledger)).sum();
    assert_eq!(folded, 2 * 85 - 60, "one packet a flow");
    bench.manager.close(&[]).unwrap();
    let written = bench.written.lock();
    assert_eq!(
        written.iter().map(|it| overflow(&it.ledger)).sum::<u64>(),
        folded
    );
    drop(written);
    assert_eq!((bench.written("eth1").0, bench.written("eth2").0), (85, 85));
    assert_eq!(budget.taken(), 0);
}

#[test]
fn reading_changes_nothing_and_totals_only_grow() {
    let bench = Bench::new(1 << 20);
    bench.want(&[(1, AUTO)]);
    for flow in 0..100 {
        bench.kernel.packet(1, flow);
    }
    bench.manager.rotate().unwrap();
    for flow in 0..100 {
        bench.kernel.packet(1, flow);
    }
    bench.manager.flush().unwrap();
    let first = bench.manager.flush_and_read().interfaces["eth1"].clone();
    let second = bench.manager.flush_and_read().interfaces["eth1"].clone();
    assert_eq!(first.ledger, second.ledger);
    assert_eq!(
        first.ledger.seen,
        Tally {
            packets: 200,
            bytes: 22_800
        }
    );
    assert_eq!(first.ledger.residue(), 0);
    let (out, flows) = std::sync::mpsc::sync_channel(1);
    bench
        .manager
        .flush_and_send_flows(|row| row.dst_port == 1, &[], &out);
    assert_eq!(flows.recv().unwrap().1.len(), 1);
    bench.manager.rotate().unwrap();
    assert_eq!(bench.written("eth1").0, 170);
}

/// Traffic from two CPUs on two interfaces while the main thread rotates and reads. Returns the
/// packets lost because a local buffer was full.
fn rotate_under_load(size_limit_bytes: usize) -> u64 {
    let bench = Bench::new(size_limit_bytes);
    bench.want(&[(1, AUTO), (2, AUTO)]);
    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let cpus: Vec<_> = (0..2_u16)
            .map(|cpu| {
                let (kernel, stop) = (&bench.kernel, &stop);
                scope.spawn(move || {
                    let mut sent = 0_u64;
                    loop {
                        for flow in (cpu..3000).step_by(2) {
                            kernel.packet(u32::from(1 + flow % 2), flow);
                            sent += u64::from(!flow.is_multiple_of(7));
                        }
                        if stop.load(Ordering::Relaxed) {
                            return sent;
                        }
                    }
                })
            })
            .collect();
        let (bench, has_stopped) = (&bench, &stop);
        let reader = scope.spawn(move || {
            while !has_stopped.load(Ordering::Relaxed) {
                bench.check_that_nothing_is_in_neither();
            }
        });
        for _ in 0..30 {
            bench.manager.rotate().unwrap();
            bench.manager.flush_and_read();
            let (out, _flows) = std::sync::mpsc::sync_channel(2);
            bench.manager.flush_and_send_flows(|_| true, &[], &out);
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap();
        cpus.into_iter().map(|cpu| cpu.join().unwrap()).sum::<u64>()
    });
    bench.manager.close(&[]).unwrap();
    let (first, second) = (bench.written("eth1"), bench.written("eth2"));
    assert!(first.0 > 0 && second.0 > 0);
    assert_eq!(first.0 + second.0 + first.1 + second.1, sent);
    assert_eq!(
        bench.manager.free_buffer_bytes(),
        size_limit_bytes,
        "buffers were given back"
    );
    let written = bench.written.lock();
    written
        .iter()
        .map(|interval| interval.ledger.loss(Loss::LocalBufferFull).packets)
        .sum()
}

#[test]
fn rotations_under_load_lose_nothing() {
    assert_eq!(rotate_under_load(64 << 20), 0);
}

#[test]
fn what_finds_no_room_in_a_buffer_is_counted_to_the_packet() {
    // Whether records come in just while a log is being rotated is up to the scheduler, so there
    // are several attempts. Each checks the sums.
    let mut attempts = (0..50).map(|_| rotate_under_load(1000));
    assert!(
        attempts.any(|lost| lost > 0),
        "room for 25 records cannot have been enough"
    );
}

/// A step of a script in which nothing runs by itself.
#[derive(Clone, Debug)]
enum Step {
    Packets { ifindex: u32, flows: Vec<u16> },
    Rotate,
    ReadStatus,
    ReadIntervals,
    Reconfigure(Hook),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..3_u32, prop::collection::vec(0..50_u16, 0..200))
            .prop_map(|(ifindex, flows)| Step::Packets { ifindex, flows }),
        2 => Just(Step::Rotate),
        2 => Just(Step::ReadStatus),
        2 => Just(Step::ReadIntervals),
        1 => prop_oneof![Just(Hook::Tc), Just(Hook::Xdp)].prop_map(Step::Reconfigure),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_order_of_packets_rotations_and_changes_gives_exact_sums(
        steps in prop::collection::vec(step(), 1..40),
        size_limit_bytes in prop_oneof![Just(0_usize), Just(4096), Just(1 << 20)],
    ) {
        let bench = Bench::new(size_limit_bytes);
        bench.want(&[(1, AUTO), (2, AUTO)]);
        let mut sent = [0; 3];
        for step in steps {
            match step {
                Step::Packets { ifindex, flows } => {
                    for flow in flows {
                        bench.kernel.packet(ifindex, flow);
                        sent[usize::try_from(ifindex).unwrap()] += u64::from(!flow.is_multiple_of(7));
                    }
                }
                Step::Rotate => {
                    bench.manager.rotate().unwrap();
                }
                Step::ReadStatus => drop(bench.manager.flush_and_read()),
                Step::ReadIntervals => {
                    for (iface, running) in bench.running() {
                        let (flows, lost) = bench.written(&iface);
                        let ifindex: usize = iface["eth".len()..].parse().unwrap();
                        let sum = flows + lost + accounted(&running);
                        prop_assert_eq!(sum, sent[ifindex]);
                    }
                }
                Step::Reconfigure(hook) => drop(bench.want(&[(1, AUTO), (2, hook)])),
            }
        }
        bench.manager.close(&[]).unwrap();
        for ifindex in [1, 2] {
            let (flows, lost) = bench.written(&format!("eth{ifindex}"));
            prop_assert_eq!(flows + lost, sent[usize::try_from(ifindex).unwrap()]);
        }
    }
}

#[test]
fn counters_of_the_box_keep_the_identity_that_the_ledger_relies_on() {
    let kernel = Kernel::default();
    kernel.0.attached.lock().insert(1);
    for flow in 0..50 {
        kernel.packet(1, flow);
    }
    let counters: Counters = kernel.0.counters.lock()[1][0][0];
    let losses = Identity::Programs.losses();
    let lost: u64 = losses.map(|loss| counters.loss(loss).packets).sum();
    assert_eq!(counters.seen.packets, counters.recorded.packets + lost);
}
