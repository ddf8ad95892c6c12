use std::{sync::Arc, thread};

use probe_common::{
    ephash::EpHash,
    record::{FLAG_LATER_FRAGMENT, INGRESS, IntoRecord, Record, RecordHead, origin_flags},
};
use proptest::prelude::*;

use super::{FlowBudget, MAX_CHUNK, SHARES};
use crate::{
    flow::FlowCounters,
    flow_log::{FlowLog, FlowLogOptions},
};

fn key<const N: usize>(flow: u16, src_port: u16) -> EpHash<N> {
    let [high, low] = flow.to_be_bytes();
    let mut src_addr = [0xfd; N];
    src_addr[N - 2..].copy_from_slice(&[high, low]);
    EpHash {
        src_addr,
        src_port: src_port.to_be_bytes(),
        dst_addr: [0xfd; N],
        dst_port: 7000_u16.to_be_bytes(),
        ip_protocol: 17,
    }
}

fn head() -> RecordHead {
    RecordHead {
        octets: 100,
        packets: 1,
        flags: origin_flags(INGRESS, 0),
        ..RecordHead::default()
    }
}

/// Counts a packet of each of these flows.
fn count(log: &mut FlowLog, flows: impl IntoIterator<Item = u16>) {
    for flow in flows {
        log.handle_record(Record::V4(&key::<4>(flow, 40000).into_record(head())));
    }
}

fn logs<const N: usize>(budget: &Arc<FlowBudget>) -> [FlowLog; N] {
    [(); N].map(|()| FlowLog::with_budget(FlowLogOptions::default(), budget.clone()))
}

fn count_v6(log: &mut FlowLog, flows: impl IntoIterator<Item = u16>) {
    for flow in flows {
        log.handle_record(Record::V6(&key::<16>(flow, 40000).into_record(head())));
    }
}

/// Flows and overflow flows that a rotation hands out.
fn rotate(log: &mut FlowLog) -> (usize, usize) {
    let rows = log.rotate().0.sorted_rows();
    let overflow = rows.iter().filter(|row| row.flow.is_overflow).count();
    (rows.len() - overflow, overflow)
}

#[test]
fn room_is_taken_in_chunks_for_new_flows_alone() {
    let budget = Arc::new(FlowBudget::new(4_000_000));
    let [mut log] = logs(&budget);
    assert_eq!(budget.taken(), 0);
    count(&mut log, 0..256);
    assert_eq!(budget.taken(), MAX_CHUNK);
    count(&mut log, 0..256);
    assert_eq!(budget.taken(), MAX_CHUNK, "these were known");
    count(&mut log, [256]);
    assert_eq!(budget.taken(), 2 * MAX_CHUNK);
    log.rotate();
    assert_eq!(budget.taken(), 257);
}

#[test]
fn the_first_logs_to_come_leave_room_for_others() {
    let budget = Arc::new(FlowBudget::new(2 * SHARES));
    let mut logs: Vec<_> = (0..SHARES).flat_map(|_| logs::<1>(&budget)).collect();
    for log in &mut logs {
        count(log, [1, 2]);
    }
    assert!(logs.iter_mut().all(|log| rotate(log) == (2, 0)));
}

#[test]
fn what_does_not_fit_is_folded_until_another_log_gives_back() {
    let budget = Arc::new(FlowBudget::new(10));
    let [mut busy, mut late] = logs(&budget);
    count(&mut busy, 0..7);
    count(&mut late, 0..7);
    assert_eq!((busy.len(), late.len()), (7, 3), "up to the last one");
    assert_eq!(rotate(&mut busy), (7, 0));
    assert_eq!(rotate(&mut late), (3, 1));
    count(&mut late, 0..7);
    assert_eq!(rotate(&mut late), (3, 1), "flows that may go on keep room");
    assert_eq!(rotate(&mut busy), (0, 0));
    count(&mut late, 0..7);
    assert_eq!(rotate(&mut late), (7, 0));
}

#[test]
fn both_ip_versions_share_the_room() {
    let budget = Arc::new(FlowBudget::new(4));
    let [mut log] = logs(&budget);
    count(&mut log, 0..3);
    count_v6(&mut log, 0..3);
    assert_eq!(log.len(), 4);
    assert_eq!(log.rotate().1.packets_rcvd, 6);
}

#[test]
fn a_limit_can_be_changed() {
    let budget = Arc::new(FlowBudget::new(5));
    let [mut log, mut other] = logs(&budget);
    count(&mut log, 0..10);
    assert_eq!(log.len(), 5);
    budget.set_limit(8);
    count(&mut log, 0..10);
    assert_eq!(log.len(), 8);
    budget.set_limit(2);
    count(&mut log, 0..10);
    count(&mut other, 0..10);
    assert_eq!((log.len(), other.len()), (8, 0), "more than the limit");
    log.rotate();
    log.rotate();
    count(&mut other, 0..10);
    assert_eq!((log.len(), other.len()), (0, 2));
}

#[test]
fn logs_in_several_threads_stay_within_the_limit() {
    let budget = Arc::new(FlowBudget::new(3 * SHARES));
    let mut logs: [_; 4] = logs(&budget);
    thread::scope(|scope| {
        for log in &mut logs {
            scope.spawn(|| {
                for round in 0..20 {
                    count(log, round * 100..round * 100 + 2000);
                    assert!(budget.taken() <= 3 * SHARES);
                    assert_eq!(log.rotate().1.packets_rcvd, 2000);
                }
            });
        }
    });
    let kept: usize = logs.iter().map(FlowLog::len).sum();
    assert_eq!(budget.taken(), kept);
    drop(logs);
    assert_eq!(budget.taken(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Packets {
        first: u16,
        flows: u16,
        is_v6: bool,
    },
    /// A fragment that waits for its first one, and gets a flow at the rotation.
    Fragment {
        flow: u16,
    },
    Rotate,
    /// The interface is no longer captured, and another one is.
    Replace,
}

fn step() -> impl Strategy<Value = Step> {
    let packets = (0..300_u16, 1..500_u16, any::<bool>());
    prop_oneof![
        4 => packets.prop_map(|(first, flows, is_v6)| Step::Packets { first, flows, is_v6 }),
        3 => (0..300_u16).prop_map(|flow| Step::Fragment { flow }),
        2 => Just(Step::Rotate),
        1 => Just(Step::Replace),
    ]
}

fn handle(log: &mut FlowLog, step: &Step) {
    match *step {
        Step::Packets {
            first,
            flows,
            is_v6,
        } if is_v6 => {
            for flow in first..first + flows {
                log.handle_record(Record::V6(&key::<16>(flow, 40000).into_record(head())));
            }
        }
        Step::Packets { first, flows, .. } => count(log, first..first + flows),
        Step::Fragment { flow } => {
            let head = RecordHead {
                last_or_fragment_id: u32::from(flow),
                flags: origin_flags(INGRESS, 0) | FLAG_LATER_FRAGMENT,
                ..head()
            };
            log.handle_record(Record::V4(&key::<4>(flow, 0).into_record(head)));
        }
        Step::Rotate | Step::Replace => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_interleaving_stays_within_the_limit_and_loses_nothing(
        steps in prop::collection::vec((0..4_usize, step()), 0..60),
        limit in prop_oneof![1..40_usize, 100..1000_usize, 2 * SHARES..4 * SHARES],
        max_flows in prop_oneof![1..40_usize, Just(1_000_000)],
    ) {
        let options = FlowLogOptions { max_flows, ..FlowLogOptions::default() };
        let budget = Arc::new(FlowBudget::new(limit));
        let new_log = || FlowLog::with_budget(options, budget.clone());
        let mut logs = [(); 4].map(|()| (new_log(), FlowCounters::default()));
        for (number, step) in &steps {
            let (log, handed_out) = &mut logs[*number];
            handle(log, step);
            if matches!(step, Step::Rotate | Step::Replace) {
                let (shown, shown_totals) = log.aggregate();
                let (flows, totals) = log.rotate();
                prop_assert_eq!(shown.sorted_rows(), flows.sorted_rows());
                prop_assert_eq!(shown_totals, totals);
                *handed_out += totals;
                prop_assert_eq!(*handed_out, log.totals());
            }
            if matches!(step, Step::Replace) {
                logs[*number] = (new_log(), FlowCounters::default());
            }
            let kept: usize = logs.iter().map(|(log, _)| log.len()).sum();
            prop_assert!(kept <= budget.taken() && budget.taken() <= limit);
            prop_assert!(logs.iter().all(|(log, _)| log.len() <= max_flows));
        }
        for (log, handed_out) in &mut logs {
            *handed_out += log.rotate().1;
            prop_assert_eq!(*handed_out, log.totals());
        }
        drop(logs);
        prop_assert_eq!(budget.taken(), 0);
    }
}
